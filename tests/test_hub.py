"""The hub of ``tests/hub.py``, asked by the real clients."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import susx_bench
from tests.hub import MEMBER, STRANGER, Hub

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

NAMES = ["cat", "dog"]
ENCODER = Path(susx_bench.__file__).parent / "demo" / "encoder"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub
    assert hub.unknown == []


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(file, "webp", lossless=True)
    return file.getvalue()


def parquet(images: list[bytes]) -> bytes:
    """A split as ``push_to_hub`` writes it."""
    column = pa.array(
        [{"bytes": image, "path": f"{i}.webp"} for i, image in enumerate(images)],
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    )
    table = pa.table({"image": column, "label": [i % 2 for i in range(len(images))]})
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": NAMES},
    }
    meta = json.dumps({"info": {"features": features}})
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"huggingface": meta}), sink)
    return bytes(sink.getvalue())


def webdataset(images: list[bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for i, image in enumerate(images):
            for suffix, content in ("webp", image), ("cls", str(i % 2).encode()):
                member = tarfile.TarInfo(f"s{i:07d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def checkpoint() -> dict[str, bytes]:
    """The demo's encoder, with the tokenizer named as in a repository of its own."""
    files = {path.name: path.read_bytes() for path in ENCODER.iterdir()}
    config = json.loads(files["open_clip_config.json"])
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "org/tiny"
    # Older versions of transformers want a config.json beside a tokenizer when they are offline.
    return files | {"open_clip_config.json": json.dumps(config).encode(), "config.json": b"{}"}


LOAD = """
import json, os
from hashlib import sha256
import datasets, open_clip, torch
from huggingface_hub import hf_hub_download, snapshot_download

TINY, WEB = os.environ["TINY"], os.environ["WEB"]

def load(name, revision, **more):
    return datasets.load_dataset(name, revision=revision, split="test", **more)

def snapshot(revision):
    return snapshot_download("org/tiny", repo_type="dataset", revision=revision)

def rows(table, image, label):
    plain = table.cast_column(image, datasets.Image(decode=False))
    return [[sha256(row[image]["bytes"]).hexdigest(), row[label]] for row in plain]

def encoder(source):
    model = open_clip.create_model_and_transforms(source, require_pretrained=True)[0]
    return model.state_dict(), open_clip.get_tokenizer(source)(["a photo of a dog."])

def attempt(call):
    try:
        return type(call()).__name__
    except Exception as error:
        return type(error).__name__

wrong = {
    "file": attempt(lambda: load("org/tiny", TINY, data_files="none.parquet")),
    "repo": attempt(lambda: load("org/none", TINY)),
    "revision": attempt(lambda: load("org/tiny", "f" * 40)),
    "snapshot": attempt(lambda: snapshot("f" * 40)),
    "model": attempt(lambda: encoder("hf-hub:org/none")),
    "weights": attempt(lambda: encoder("hf-hub:org/bare")),
    "lax": attempt(lambda: open_clip.create_model_and_transforms("hf-hub:org/bare")[0]),
}
tiny, web = load("org/tiny", TINY), load("org/web", WEB)
names = hf_hub_download("org/web", "classnames.txt", repo_type="dataset", revision=WEB)
folder = snapshot(TINY)
weights, tokens = encoder("hf-hub:org/tiny")
here, words = encoder("local-dir:" + os.environ["FOLDER"])
right = {
    "tiny": rows(tiny, "image", "label"),
    "names": tiny.features["label"].names,
    "path": tiny.cast_column("image", datasets.Image(decode=False))[1]["image"]["path"],
    "size": tiny[1]["image"].size,
    "web": rows(web, "webp", "cls"),
    "classnames": open(names).read().split(),
    "snapshot": rows(datasets.load_dataset(folder, split="test"), "image", "label"),
    "weights": weights.keys() == here.keys()
        and all(torch.equal(weights[key], here[key]) for key in here),
    "tokens": torch.equal(tokens, words),
}
print(json.dumps([right, wrong]))
"""


def test_what_was_pushed_is_what_loads_now_and_offline(hub: Hub, tmp_path: Path) -> None:
    images = [picture(40 * i) for i in range(4)]
    tar = webdataset(images)
    tiny = hub.add("dataset", "org/tiny", {"data/test-00000-of-00001.parquet": parquet(images)})
    hub.add("dataset", "org/tiny", {"data/test-00000-of-00001.parquet": parquet(images[::-1])})
    web = hub.add("dataset", "org/web", {"test/0.tar": tar, "classnames.txt": b"cat\ndog\n"})
    files = checkpoint()
    hub.add("model", "org/tiny", files)
    hub.add("model", "org/bare", {"open_clip_config.json": files["open_clip_config.json"]})
    hub.cut_after("0.tar", 700)
    given = {"TINY": tiny, "WEB": web, "FOLDER": str(ENCODER)}

    right, wrong = hub.run(LOAD, tmp_path / "home", **given)

    expected = [[sha256(image).hexdigest(), i % 2] for i, image in enumerate(images)]
    assert right == {
        "tiny": expected,
        "names": NAMES,
        "path": "1.webp",
        "size": [8, 8],
        "web": expected,
        "classnames": NAMES,
        "snapshot": expected,
        "weights": True,
        "tokens": True,
    }
    assert wrong == {
        "file": "FileNotFoundError",
        "repo": "DatasetNotFoundError",
        "revision": "DatasetNotFoundError",
        "snapshot": "RevisionNotFoundError",
        "model": "RuntimeError",
        "weights": "RuntimeError",
        "lax": "CLIP",  # with random weights: hence require_pretrained
    }
    assert hub.requests.count(("GET", f"/lfs/{sha256(tar).hexdigest()}/test/0.tar")) == 2

    hub.stop()
    again, offline = hub.run(LOAD, tmp_path / "home", HF_HUB_OFFLINE="1", **given)

    assert again == right
    assert offline == wrong | {
        "file": "ValueError",
        "repo": "ConnectionError",
        "revision": "Dataset",  # what is in the cache, whatever revision is asked for
        "snapshot": "LocalEntryNotFoundError",
    }


FETCH = """
import json, os
from hashlib import sha256
from huggingface_hub import hf_hub_download

found = {}
for name in os.environ["FILES"].split():
    try:
        path = hf_hub_download("org/heavy", name)
        found[name] = sha256(open(path, "rb").read()).hexdigest()
    except Exception as error:
        found[name] = type(error).__name__
print(json.dumps(found))
"""


def heavy(hub: Hub) -> dict[str, str]:
    """Push a file of more than the 10 MiB that the client takes at a time, and a smaller one."""
    noise = random.Random(0)
    files = {"big.bin": noise.randbytes(11 << 20), "small.bin": noise.randbytes(200_000)}
    hub.add("model", "org/heavy", files)
    return {name: sha256(content).hexdigest() for name, content in files.items()}


def test_a_download_that_breaks_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    right = heavy(hub)
    hub.cut_after("big.bin", (10 << 20) + 5000)
    hub.cut_after("small.bin", 100_000)

    assert hub.run(FETCH, tmp_path / "home", FILES="big.bin small.bin") == right

    asked = [
        (path.rsplit("/", 1)[1], headers.get("range"))
        for (method, path), headers in zip(hub.requests, hub.headers, strict=True)
        if path.startswith("/lfs/")
    ]
    assert asked == [
        ("big.bin", None),
        ("big.bin", f"bytes={10 << 20}-"),
        ("small.bin", None),
        ("small.bin", None),
    ]


def test_a_hub_that_dies_midway_leaves_no_half_file(hub: Hub, tmp_path: Path) -> None:
    right = heavy(hub)
    hub.cut_after("big.bin", (10 << 20) + 5000, dies=True)
    home = tmp_path / "home"

    assert hub.run(FETCH, home, FILES="big.bin") == {"big.bin": "ConnectError"}
    assert not [path for path in home.rglob("*") if path.name in right]
    assert not [path for path in home.rglob("blobs/*")]
    offline = hub.run(FETCH, home, FILES="big.bin", HF_HUB_OFFLINE="1")
    assert offline == {"big.bin": "LocalEntryNotFoundError"}

    hub.start()
    assert hub.run(FETCH, home, FILES="big.bin") == {"big.bin": right["big.bin"]}
    hub.stop()
    assert hub.run(FETCH, home, FILES="big.bin", HF_HUB_OFFLINE="1") == {
        "big.bin": right["big.bin"]
    }


TALK = """
import json, os
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download

api, data = HfApi(), {"repo_id": "org/data", "repo_type": "dataset"}
first, member, paths = os.environ["FIRST"], os.environ["MEMBER"], os.environ["PATHS"].split()

def attempt(call):
    try:
        return call()
    except Exception as error:
        response = getattr(error, "response", None)
        return [type(error).__name__, response.status_code if response is not None else None]

def read(name, repo="org/data", kind="dataset", **more):
    return attempt(lambda: open(hf_hub_download(repo, name, repo_type=kind, **more)).read())

def tree(**more):
    return [entry.path for entry in api.list_repo_tree(**data, **more)]

files = HfFileSystem()
folder = snapshot_download(**data, revision=first)
with files.open(f"datasets/org/data@{first}/test/0.tar", "rb", block_size=4) as stream:
    stream.seek(3)
    span = stream.read(5).decode()
print(json.dumps({
    "main": read("a.txt"),
    "first": read("a.txt", revision=first),
    "short": read("a.txt", revision=first[:8]),
    "tag": read("a.txt", revision="v1"),
    "branch": read("a.txt", revision="refs/pr/1"),
    "wrong revision": read("a.txt", revision="f" * 40),
    "wrong branch": read("a.txt", revision="nowhere"),
    "wrong file": read("b.txt", revision=first),
    "wrong repo": read("a.txt", repo="org/none"),
    "wrong kind": read("a.txt", kind="model"),
    "wrong token": read("a.txt", repo="org/none", token="hf_made_up"),
    "gated": read("s.bin", repo="org/secret", kind="model"),
    "stranger": read("s.bin", repo="org/secret", kind="model", token=os.environ["STRANGER"]),
    "member": read("s.bin", repo="org/secret", kind="model", token=member),
    "gated info": api.model_info("org/secret").gated,
    "whoami": [api.whoami(token=member)["name"], attempt(lambda: api.whoami(token="hf_made_up"))],
    "sha": api.dataset_info("org/data").sha,
    "sizes": [each.size for each in api.dataset_info("org/data", files_metadata=True).siblings],
    "tree": tree(revision=first),
    "all": tree(revision=first, recursive=True),
    "below": tree(revision=first, path_in_repo="test/deep"),
    "no folder": attempt(lambda: tree(path_in_repo="none")),
    "paths": [[each.path, getattr(each, "size", None), each.last_commit.oid == first]
              for each in api.get_paths_info(**data, paths=paths, expand=True)],
    "commits": [each.commit_id for each in api.list_repo_commits(**data)],
    "refs": [[each.name for each in group]
             for group in (lambda refs: (refs.branches, refs.tags))(api.list_repo_refs(**data))],
    "exists": [api.file_exists(filename=name, **data) for name in ("a.txt", "b.txt")],
    "snapshot": sorted(os.path.relpath(os.path.join(where, name), folder)
                       for where, _, names in os.walk(folder) for name in names),
    "span": span,
    "glob": files.glob(f"datasets/org/data@{first}/**/*.tar"),
}))
"""


def test_the_hub_says_what_it_has_and_refuses_the_rest(hub: Hub, tmp_path: Path) -> None:
    files = {"a.txt": b"one", "test/0.tar": b"0123456789", "test/deep/x y.txt": b"x"}
    first = hub.add("dataset", "org/data", files)
    second = hub.add("dataset", "org/data", files | {"a.txt": b"two"})
    hub.add("dataset", "org/data", {"a.txt": b"three"}, branch="refs/pr/1")
    hub.tag("dataset", "org/data", "v1", first)
    hub.add("model", "org/secret", {"s.bin": b"secret"}, gated=True)
    hub.page = 2

    given = {"MEMBER": MEMBER, "STRANGER": STRANGER, "PATHS": "test/0.tar a.txt test b.txt"}
    found: dict[str, Any] = hub.run(TALK, tmp_path / "home", FIRST=first, **given)

    assert found == {
        "main": "two",
        "first": "one",
        "short": "one",
        "tag": "one",
        "branch": "three",
        "wrong revision": ["RevisionNotFoundError", 404],
        "wrong branch": ["RevisionNotFoundError", 404],
        "wrong file": ["RemoteEntryNotFoundError", 404],
        "wrong repo": ["RepositoryNotFoundError", 401],
        "wrong kind": ["RepositoryNotFoundError", 401],
        "wrong token": ["HfHubHTTPError", 401],
        "gated": ["GatedRepoError", 401],
        "stranger": ["GatedRepoError", 403],
        "member": "secret",
        "gated info": "auto",
        "whoami": ["member", ["HfHubHTTPError", 401]],
        "sha": second,
        "sizes": [3, 10, 1],
        "tree": ["a.txt", "test"],
        "all": ["a.txt", "test", "test/0.tar", "test/deep", "test/deep/x y.txt"],
        "below": ["test/deep/x y.txt"],
        "no folder": ["RemoteEntryNotFoundError", 404],
        "paths": [["test/0.tar", 10, True], ["a.txt", 3, False], ["test", None, True]],
        "commits": [second, first],
        "refs": [["main", "refs/pr/1"], ["v1"]],
        "exists": [True, False],
        "snapshot": ["a.txt", "test/0.tar", "test/deep/x y.txt"],
        "span": "34567",
        "glob": [f"datasets/org/data@{first}/test/0.tar"],
    }
    stored = [
        headers
        for (_, path), headers in zip(hub.requests, hub.headers, strict=True)
        if path.endswith("/s.bin") and path.startswith("/lfs/")
    ]
    assert len(stored) == 1
    assert "authorization" not in stored[0]


def ask(client: HTTPConnection, path: str, **headers: str) -> tuple[int, bytes]:
    client.request("GET", path, headers=headers)
    answer = client.getresponse()
    return answer.status, answer.read()


def clients(hub: Hub, stack: ExitStack) -> Iterator[HTTPConnection]:
    """Connections to the hub, each new and closed in the end."""
    while True:
        client = HTTPConnection("127.0.0.1", int(hub.url.rsplit(":", 1)[1]), timeout=10)
        stack.callback(client.close)
        yield client


def test_a_stopped_hub_answers_nobody_until_it_starts_again() -> None:
    with Hub() as hub, ExitStack() as stack:
        new = clients(hub, stack)
        client = next(new)
        assert ask(client, "/api/whoami")[0] == 401
        client.auto_open = 0  # it stays on the connection that it has
        hub.stop()
        with pytest.raises((ConnectionError, HTTPException)):
            ask(client, "/api/agent-harnesses")
        with pytest.raises(ConnectionRefusedError):
            ask(next(new), "/api/agent-harnesses")
        hub.start()
        assert ask(next(new), "/api/nonsense")[0] == 404
        hub.stop()
        hub.stop()
    assert hub.requests == [("GET", "/api/whoami"), ("GET", "/api/nonsense")]
    assert hub.unknown == [("GET", "/api/nonsense")]


@pytest.mark.parametrize(
    ("span", "status", "body"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-99", 206, b"0123456789"),
        ("bytes=10-", 416, b""),
        ("bytes=1-2,4-5", 200, b"0123456789"),
    ],
)
def test_a_range_is_what_was_asked_for(hub: Hub, span: str, status: int, body: bytes) -> None:
    hub.add("model", "org/tiny", {"digits.txt": b"0123456789"})
    with ExitStack() as stack:
        client = next(clients(hub, stack))
        assert ask(client, "/org/tiny/resolve/main/digits.txt", Range=span) == (status, body)


def test_commits_depend_on_what_they_hold() -> None:
    one, other = Hub(), Hub()
    files = {"a": b"1", "b": b"2"}
    first = one.add("model", "org/tiny", files)
    assert other.add("model", "org/tiny", dict(reversed(files.items()))) == first
    second = one.add("model", "org/tiny", files | {"a": b"3"})
    again = one.add("model", "org/tiny", files)
    assert len({first, second, again}) == 3
    assert all(len(each) == 40 and int(each, 16) for each in (first, second, again))
