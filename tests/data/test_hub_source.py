"""Datasets from the loopback hub, by the real clients, each in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from susx_bench.data.facts.cifar10 import SPEC
from susx_bench.data.spec import Split, Where
from tests.data.made import opened, parquet, plain, turned, webdataset
from tests.hub import Hub

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

NAMES = ("night owl", "cat", "dog")
IMAGES = [plain(1), turned(), plain(3), plain(4)]
LABELS = [0, 2, 1, 0]
# The order of the toy's classes is cat, dog, night owl.
ROWS = [
    [f"test/{row}", label, sha256(image).hexdigest()]
    for row, (label, image) in enumerate(zip([2, 1, 0, 2], IMAGES, strict=True))
]
# A dataset of the user's has the copy's own order.
OWN_ROWS = [[key, label, image] for (key, _, image), label in zip(ROWS, LABELS, strict=True)]

CODE = """
import json, os, time
from hashlib import sha256

from susx_bench.data.spec import Where
from susx_bench.data.dataset import Dataset
from susx_bench.data.sources.hub import is_cached
from susx_bench.data.spec import DatasetSpec, Hub, Tables, Where
from susx_bench.data.custom import open_dataset
from susx_bench.errors import DatasetError

time.sleep = lambda seconds: None  # as the client does between its attempts

def toy(facts):
    hub = Hub(sizes={}, splits={}, protocol="susx", **facts) if facts else None
    return DatasetSpec(
        name="toy", title="Toys", classnames=("cat", "dog", "night owl"), sizes={},
        template="{}", licence="none", protocol="susx", bibtex_key="toy", layout=Tables(),
        hub=(hub,) if hub else (), fetch="Make them anew.",
    )

def read(job):
    try:
        where = Where(source=job.get("source", "auto"))
        dataset = Dataset(toy(job.get("hub")), where)
        if "dataset" in job:
            dataset = open_dataset(job["dataset"], where)
        data = dataset.split("test")
        found = {
            "where": data.dataset.origin,
            "protocol": data.dataset.protocol,
            "state": data.state(data.samples),
            "classes": data.classnames,
            "rows": [
                [key, label, sha256(data.content(sample)).hexdigest()]
                for sample in data.samples for key, label in [sample]
            ],
            "sizes": [data.image(sample).size for sample in data.samples],
        }
    except DatasetError as error:
        return str(error)
    if "hub" in job:
        found["cached"] = is_cached(data.spec.hub[0])
    return found

print(json.dumps([read(job) for job in json.loads(os.environ["JOBS"])]))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub
    assert hub.unknown == []


def ask(hub: Hub, home: Path, jobs: list[dict[str, Any]], **changes: str) -> list[Any]:
    found = hub.run(CODE, home, JOBS=json.dumps(jobs), **changes)
    assert isinstance(found, list)
    assert not any("\n" in answer for answer in found if isinstance(answer, str))
    return found


def table(images: list[bytes] = IMAGES) -> dict[str, bytes]:
    return {
        "data/test-00000-of-00001.parquet": parquet(images, LABELS[: len(images)], NAMES),
        ".gitattributes": b"*.parquet lfs",  # as every repository has; nobody downloads it
    }


def shards() -> dict[str, bytes]:
    return {
        "test/0.tar": webdataset(IMAGES[:2], LABELS[:2]),
        "test/1.tar": webdataset(IMAGES[2:], LABELS[2:]),
        "test/nshards.txt": b"2",
        "classnames.txt": "\n".join(NAMES).encode(),
    }


def test_what_is_read_once_is_read_again_without_a_connection(hub: Hub, tmp_path: Path) -> None:
    first = hub.add("dataset", "org/table", table())
    newer = hub.add("dataset", "org/table", table(IMAGES[:3]))
    web = hub.add("dataset", "org/web", shards())
    hub.add("dataset", "org/own", table())
    species = parquet(IMAGES, LABELS, NAMES, label="species")
    odd = hub.add("dataset", "org/odd", {"test.parquet": species})
    secret = hub.add("dataset", "org/secret", table(), gated=True)
    hub.add("dataset", "org/text", {"notes.txt": b"no table"})
    right: list[dict[str, Any]] = [
        {"hub": {"repo": "org/table", "revision": first}},
        {"hub": {"repo": "org/web", "revision": web, "image": "png", "label": "cls"}},
        {"source": f"hf:org/table@{first}"},
        {"source": f"hf:org/web@{web}"},
        {"source": "hf:org/table"},
        {"dataset": f"hf:org/table@{first}"},
        {"dataset": "hf:org/own"},
        {"dataset": "hf:org/web"},
        # Columns as in the facts, at another commit.
        {
            "hub": {"repo": "org/odd", "revision": "f" * 40, "label": "species"},
            "source": f"hf:org/odd@{odd}",
        },
    ]
    wrong: list[dict[str, Any]] = [
        {"hub": {"repo": "org/table", "revision": "f" * 40}},
        {"hub": {"repo": "org/none", "revision": "f" * 40}},
        {"hub": {"repo": "org/secret", "revision": secret}},
        {"source": "hf:org/table@nowhere"},
        {"source": "hf:org/text"},
        {"dataset": "hf:org/none"},
        {"dataset": "hf:no such name"},
        {"dataset": "hf:org/secret"},
    ]
    home = tmp_path / "home"

    found = ask(hub, home, right + wrong)

    answers, errors = found[: len(right)], found[len(right) :]
    wholes = [answer for place, answer in enumerate(answers) if place != 4]
    assert [answer["rows"] for answer in wholes] == [ROWS] * 4 + [OWN_ROWS] * 3 + [ROWS]
    assert all(answer["sizes"] == [[8, 8], [16, 8], [8, 8], [8, 8]] for answer in wholes)
    assert answers[4]["rows"] == ROWS[:3]  # the newest, as no commit was asked for
    places = [(first, "table"), (web, "web"), (first, "table"), (web, "web"), (newer, "table")]
    for answer, (commit, name) in zip(answers, places, strict=False):
        assert answer["where"] == f"hf:org/{name}@{commit[:12]}"
        assert answer["state"] == f"org/{name}@{commit}"
    assert [answer["protocol"] for answer in answers] == ["susx"] * 2 + ["hub-official"] * 7
    assert [answer["cached"] for answer in answers if "cached" in answer] == [True, True, False]
    assert errors[0] == f"toy: org/table has no revision {'f' * 40}."
    assert errors[1].startswith("toy: the hub has no dataset org/none, or it is private")
    assert errors[1].endswith("Make them anew.")
    assert errors[2].startswith("toy: org/secret asks for consent. Accept its terms")
    assert errors[3] == "toy: org/table has no revision nowhere."
    assert errors[4].startswith("toy: hf:org/text@")
    assert errors[4].endswith(" has neither Parquet files nor webdataset shards.")
    assert errors[5].startswith("org/none: the hub has no dataset org/none, or it is private")
    assert errors[6].startswith("'hf:no such name' names no dataset on the hub: write hf:ORG/NAME")
    assert errors[7].startswith("org/secret: org/secret asks for consent.")

    hub.stop()
    again = ask(hub, home, right + wrong, HF_HUB_OFFLINE="1")

    assert again[: len(right)] == answers
    for place, error in enumerate(again[len(right) :]):
        if place != 6:
            assert "is not in the hub's cache, or not all of it, and HF_HUB_OFFLINE is set" in error


def many() -> dict[str, bytes]:
    """Two configurations, which the card tells apart; and what a stranger's card might name."""
    files = {
        f"data/{name}-test.parquet": parquet(images, LABELS[: len(images)], NAMES)
        for name, images in (("big", IMAGES), ("small", IMAGES[:3]))
    }
    heads = "".join(
        f"- config_name: {name}\n  data_files: [{{split: test, path: data/{name}-*}}]\n"
        for name in ("big", "small")
    )
    return files | {"README.md": f"---\nconfigs:\n{heads}---\n".encode()}


def test_a_configuration_is_named_or_asked_for(hub: Hub, tmp_path: Path) -> None:
    commit = hub.add("dataset", "org/many", many())
    folders = {f"{name}/test.parquet": table()["data/test-00000-of-00001.parquet"] for name in "ab"}
    hub.add("dataset", "org/folders", folders)
    lured = b"---\nconfigs: [{config_name: x, data_files: 'http://127.0.0.1:9/x.parquet'}]\n---\n"
    hub.add("dataset", "org/lured", {**table(), "README.md": lured})
    jobs = [
        {"dataset": f"hf:org/many:small@{commit}"},
        {"dataset": "hf:org/many:big"},
        {"source": "hf:org/many:small"},
        {"dataset": "hf:org/folders:b"},
        {"dataset": "hf:org/many"},
        {"dataset": "hf:org/many:none"},
        {"dataset": "hf:org/folders"},
        {"dataset": "hf:org/lured"},
    ]

    *right, several, none, folder, lure = ask(hub, tmp_path / "home", jobs)

    assert [answer["rows"] for answer in right] == [OWN_ROWS[:3], OWN_ROWS, ROWS[:3], OWN_ROWS]
    assert right[0]["where"] == f"hf:org/many:small@{commit[:12]}"
    assert right[0]["state"] == f"org/many:small@{commit}"
    assert "has 2 configurations: 'big', 'small'. Name one, as in hf:ORG/NAME:CONFIG" in several
    assert "has no configuration 'none'; it has 'big', 'small'" in none
    assert "has 2 configurations: 'a', 'b'" in folder
    assert "names 'http://127.0.0.1:9/x.parquet', which is outside the folder" in lure


def test_half_a_download_is_never_believed(hub: Hub, tmp_path: Path) -> None:
    files = shards()
    renamed = {"test/0.tar": "test/2.tar", "test/1.tar": "test/3.tar"}
    more = {renamed.get(path, path): content for path, content in files.items()}
    cut, dead = hub.add("dataset", "org/cut", files), hub.add("dataset", "org/dead", more)
    hub.cut_after("1.tar", 300, times=6)  # as often as the client tries
    hub.cut_after("3.tar", 300, dies=True)
    facts = {"image": "png", "label": "cls"}
    jobs = [
        {"hub": {"repo": "org/cut", "revision": cut} | facts},
        {"hub": {"repo": "org/dead", "revision": dead} | facts},
    ]
    home = tmp_path / "home"

    broken, died, gone, half = ask(hub, home, [*jobs, *jobs[::-1]])

    for error, name in (broken, f"org/cut@{cut[:12]}"), (died, f"org/dead@{dead[:12]}"):
        assert error.startswith(f"toy: downloading {name} failed: ")
        assert error.endswith("What was downloaded is kept; run again to go on.")
    for error, name in (gone, f"org/dead@{dead[:12]}"), (half, f"org/cut@{cut[:12]}"):
        assert error.startswith(f"toy: {name} is not in the hub's cache, or not all of it, and")
        assert f"{hub.url} cannot be reached. Run once with a connection, or get" in error
        assert error.endswith("Make them anew.")

    hub.start()
    found = ask(hub, home, jobs)

    assert [answer["rows"] for answer in found] == [ROWS, ROWS]
    assert [answer["cached"] for answer in found] == [True, True]
    fetched = [path.rsplit("/", 1)[1] for _, path in hub.requests if path.startswith("/lfs/")]
    assert fetched.count("0.tar") == 1  # what was whole was kept
    assert fetched.count("1.tar") == 7


@pytest.mark.real
def test_real_cifar10(real: Path) -> None:
    sizes: dict[Split, int] = {"train": 2000, "test": 1000}

    small = replace(SPEC, sizes=sizes, hub=())
    assert small.classnames[1] == "car"
    where = Where(real)
    assert opened(small, where).splits == ("train", "test")
    for split, size in sizes.items():
        data = opened(small, where).split(split)
        path = real / "cifar10/plain_text" / f"{split}-00000-of-00001.parquet"
        table = pq.read_table(path)
        meta = json.loads(table.schema.metadata[b"huggingface"])
        names = meta["info"]["features"]["label"]["names"]
        there = [names[label] for label in table["label"].to_pylist()]
        ours = {"airplane": "airplane", "automobile": "car"}
        assert "automobile" in names
        assert len(data.samples) == size
        assert [data.classnames[label] for label in data.labels.tolist()] == [
            ours.get(name, name) for name in there
        ]
        assert data.content(data.samples[7]) == table["img"][7]["bytes"].as_py()
        assert np.asarray(data.image(data.samples[0])).shape == (32, 32, 3)
