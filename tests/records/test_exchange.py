"""Records pushed to and pulled from the loopback hub, by the real client in its own processes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from susx_bench.errors import RecordError
from susx_bench.records.exchange import END, START
from susx_bench.records.public import public_form
from susx_bench.records.record import Record, Search
from susx_bench.records.store import predictions_path, read
from tests.hub import MEMBER, STRANGER, Hub
from tests.records.example import make_record
from tests.records.test_merge import files, put

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

REPO = "org/records"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub
    assert hub.unknown == []


Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def call(hub: Hub, tmp_path: Path) -> Call:
    """Run ``susx-bench records`` with these words as a client of the hub."""

    def run(*words: object, code: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
        start = f"{code}\nimport sys\nfrom susx_bench.cli import main\nmain()"
        changes = {"HF_TOKEN": MEMBER} | changes
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", start, "records", *map(str, words)],
            env=hub.env(tmp_path / "client", **changes),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


Each = Callable[..., list[tuple[int, str, str]]]
EACH = """
import json, os, sys
from pathlib import Path
from susx_bench.cli import main
import huggingface_hub, susx_bench.records.exchange, susx_bench.leaderboard.card

told = []
for words, token in json.loads(os.environ["JOBS"]):
    if not (child := os.fork()):
        os.environ["HF_TOKEN"] = token
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["susx-bench", "records", *words]
        main()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    told.append([code, Path("out").read_text(), Path("err").read_text()])
print(json.dumps(told))
"""


@pytest.fixture
def each(hub: Hub, tmp_path: Path) -> Each:
    """Run several such commands, each in a fork of one process, which has imported it all."""

    def run(jobs: list[list[str]], tokens: list[str] | None = None) -> list[tuple[int, str, str]]:
        given = list(zip(jobs, tokens or [MEMBER] * len(jobs), strict=True))
        found = hub.run(EACH, tmp_path / "client", JOBS=json.dumps(given))
        return [(code, out, err) for code, out, err in found]

    return run


def push(call: Call, folder: Path, **how: Any) -> subprocess.CompletedProcess[str]:
    return call("push", REPO, "--from", folder, **how)


def test_two_folders_are_pushed_and_pulled_twice(hub: Hub, call: Call, tmp_path: Path) -> None:
    one, two, into = (tmp_path / name for name in ("one", "two", "into"))
    put(one, "ab")
    put(one, "cd")
    put(two, "cd", device="there")
    put(two, "ef", dataset="other")

    first = push(call, one)
    again = push(call, one)
    second = push(call, two)
    pulled, once_more = (call("pull", REPO, "--to", into) for _ in range(2))

    assert first.stdout.startswith(
        f"pushed 2 new records, 0 there of {one} to {REPO}, which is new"
    )
    assert again.stdout.startswith(f"{REPO} has all 2 records of {one}: nothing to do")
    assert second.stdout.startswith(f"pushed 1 new record, 1 there of {two} to {REPO} (commit ")
    assert hub.messages == ["Add 2 records", "Add 1 record"]
    assert hub.private == {REPO: True}
    there = hub.files(REPO)
    commit = second.stdout.rstrip().removesuffix(")").rpartition(" ")[2]
    assert there == hub.files(REPO, commit)
    assert pulled.stdout == f"pulled 3 new records, 0 there of {REPO}@{commit} into {into}\n"
    assert once_more.stdout == f"{into} has all records of {REPO}@{commit}: nothing to do\n"
    mine = {f"records/{path}": content for path, content in files(into).items()}
    assert mine == {path: there[path] for path in there if path.startswith("records/")}
    assert files(one).items() <= files(into).items()
    table = pq.read_table(io.BytesIO(there["records.parquet"]))
    assert sorted(table["path"].to_pylist()) == sorted(p for p in mine if p.endswith(".json"))
    assert table["accuracy"].to_pylist() == [make_record().accuracy] * 3
    assert all(done.stderr == "" for done in (again, pulled, once_more))


@pytest.mark.parametrize("changed", ["", "a record", "the table"])
def test_a_push_reads_the_records_that_are_there_in_one_file(
    hub: Hub, call: Call, tmp_path: Path, changed: str
) -> None:
    """From another machine; only a record that is not as the table has it comes alone."""
    one, two = tmp_path / "one", tmp_path / "two"
    for inputs in ("ab", "cd", "ef"):
        put(one, inputs)
    put(two, "01")
    push(call, one)
    there = hub.files(REPO)
    places = sorted(path for path in there if path.endswith(".json"))
    alone = {"": [], "a record": places[1:2], "the table": places}[changed]
    if changed:
        path = places[1] if changed == "a record" else "records.parquet"
        content = there[path] + b"\n" if changed == "a record" else b"no table"
        hub.add("dataset", REPO, there | {path: content})
    hub.requests.clear()

    done = push(call, two, HF_HOME=str(tmp_path / "elsewhere"))

    assert done.returncode == 0, done.stderr
    asked = {path.split("/resolve/")[-1].partition("/")[2] for _, path in hub.requests}
    assert sorted(path for path in asked if path.endswith(".json")) == alone
    assert len(pq.read_table(io.BytesIO(hub.files(REPO)["records.parquet"]))) == 4


def test_the_card_has_what_the_hub_reads_and_a_table(hub: Hub, call: Call, tmp_path: Path) -> None:
    put(tmp_path / "one")
    push(call, tmp_path / "one")
    card = hub.files(REPO)["README.md"].decode()

    said = yaml.safe_load(card.split("---\n")[1])
    assert said["configs"] == [{"config_name": "default", "data_files": "records.parquet"}]
    assert "| tipx |" in card[card.index(START) : card.index(END)]
    assert "66.7" in card

    load = f"import datasets, json; print(json.dumps(datasets.load_dataset('{REPO}').num_rows))"
    assert hub.run(load, tmp_path / "other", HF_TOKEN=MEMBER) == {"train": 1}

    mine = card.replace(START, f"Our licence is ours.\n\n{START}") + "\nAsk us.\n"
    hub.add("dataset", REPO, hub.files(REPO) | {"README.md": mine.encode()})
    put(tmp_path / "one", "cd", method="gda")
    push(call, tmp_path / "one")
    later = hub.files(REPO)["README.md"].decode()

    assert later[: later.index(START)] == mine[: mine.index(START)]
    assert later.endswith("\nAsk us.\n")
    assert "| gda |" in later


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_a_conflict_is_named_as_merge_names_it(
    verb: str, hub: Hub, call: Call, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    put(one)
    other = put(two, answers=(0, 1, 2))
    put(two, "cd")
    push(call, one)
    before = hub.files(REPO), files(two)

    done = call(verb, REPO, "--from" if verb == "push" else "--to", two)

    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(other) in done.stderr
    assert "have the same inputs and other results: predictions_sha256 is " in done.stderr
    assert (hub.files(REPO), files(two)) == before


def test_predictions_complete_what_is_there(hub: Hub, call: Call, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    predictions_path(put(one)).unlink()
    put(two)
    push(call, one)
    done = push(call, two)

    assert "pushed 0 new records, 1 there, 1 of them now with their predictions" in done.stdout
    assert sum(path.endswith(".safetensors") for path in hub.files(REPO)) == 1
    assert call("pull", REPO, "--to", one).stdout.startswith("pulled 0 new records, 1 there, 1 of")
    assert read(next(one.rglob("*.json"))).n_test == 3


def test_nothing_of_whoever_measured_it_is_pushed(hub: Hub, call: Call, tmp_path: Path) -> None:
    home = tmp_path / "somebody"
    home.mkdir()
    given = {"classnames": "private/names.txt", "source": "hf:org/pets:all@abc", "x": "~/a/b.json"}
    put(
        tmp_path / "one",
        dataset_given=f"{home}/secret/pets",
        encoder=f"local-dir:{home}/enc",
        given=given,
        skipped=[f"test/{home}/a.png", "test/b/c.png"],
    )
    names = {"HOME": str(home), "USER": "somebody", "HOSTNAME": "anybody-host"}

    done = push(call, tmp_path / "one", **names)

    assert done.returncode == 0, done.stderr
    there = hub.files(REPO)
    for word in ("somebody", "anybody-host", str(tmp_path), MEMBER, "private/", "secret"):
        assert not [path for path, content in there.items() if word.encode() in content]
    assert push(call, tmp_path / "one", **names).stdout.count("nothing to do") == 1
    call("pull", REPO, "--to", tmp_path / "into")
    record = read(next((tmp_path / "into").rglob("*.json")))
    assert (record.dataset_given, record.encoder) == ("./pets", "local-dir:./enc")
    assert record.given == {
        "classnames": "./names.txt",
        "source": "hf:org/pets:all@abc",
        "x": "./b.json",
    }
    assert record.skipped == ["test/./a.png", "test/b/c.png"]


@pytest.mark.parametrize("what", ["home", "token"])
def test_what_stands_elsewhere_is_refused(what: str, hub: Hub, call: Call, tmp_path: Path) -> None:
    word = {"home": f"{tmp_path}/x", "token": MEMBER}[what]
    path = put(tmp_path / "one", search=Search(note=f"see {word}"))

    done = push(call, tmp_path / "one", HOME=str(tmp_path))

    assert done.returncode == 2
    assert f"{path} holds the " in done.stderr
    assert MEMBER not in done.stderr
    assert not hub.private


def test_a_record_without_paths_is_pushed_as_it_is() -> None:
    record = make_record(dataset_given="hf:org/pets").sealed()

    assert public_form(record, Path("x.json")) is record


def test_a_push_goes_on_after_another_was_faster(hub: Hub, call: Call, tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    put(one)
    put(two, "cd")
    put(three)
    put(three, "ef")
    push(call, one)
    call("push", "org/other", "--from", three)
    faster = hub.files("org/other")
    hub.before_commit.append(lambda: hub.add("dataset", REPO, faster))

    done = push(call, two)

    assert done.stdout.startswith("pushed 1 new record, 0 there"), done.stderr
    assert len(pq.read_table(io.BytesIO(hub.files(REPO)["records.parquet"]))) == 3


def test_a_killed_push_is_completed_by_the_next(hub: Hub, call: Call, tmp_path: Path) -> None:
    for cell in ("ab", "cd", "ef"):
        put(tmp_path / "one", cell)
    small = "import susx_bench.records.exchange as e; e.BATCH = 1"
    killed = (
        f"{small}\nimport os\nsend = e._send\nsent = []\n"
        "def dies(*words):\n"
        "    if sent: os._exit(9)\n"
        "    sent.append(1)\n"
        "    return send(*words)\n"
        "e._send = dies"
    )

    assert push(call, tmp_path / "one", code=killed).returncode == 9
    assert len(pq.read_table(io.BytesIO(hub.files(REPO)["records.parquet"]))) == 1
    done = push(call, tmp_path / "one", code=small)

    assert done.stdout.startswith("pushed 2 new records, 1 there")
    assert hub.messages == ["Add 1 record"] * 3
    assert len(pq.read_table(io.BytesIO(hub.files(REPO)["records.parquet"]))) == 3


def test_a_pull_that_was_broken_off_is_completed(hub: Hub, call: Call, tmp_path: Path) -> None:
    for cell in ("ab", "cd"):
        put(tmp_path / "one", cell)
    push(call, tmp_path / "one")
    into = tmp_path / "into"
    dies = (
        "import os, susx_bench.records.merge as m\nwrite = m.write_atomic\nn = []\n"
        "def dies(*words):\n"
        "    if len(n) == 3: os._exit(9)\n"
        "    n.append(1)\n"
        "    write(*words)\n"
        "m.write_atomic = dies"
    )

    assert call("pull", REPO, "--to", into, code=dies).returncode == 9
    assert len(files(into)) == 3
    assert call("pull", REPO, "--to", into).returncode == 0
    assert files(into) == files(tmp_path / "one")


STRANGE = {
    "a": ("records/a/b/../../../x.json", b"{}", "is no place of a record"),
    "b": ("records/x.json", b"{}", "is no place of a record"),
    "c": ("records/.a/b/x.json", b"{}", "is no place of a record"),
    "d": ("records/a/b/x.json", b" " * ((16 << 20) + 1), "at most 16,777,216 are taken"),
    "e": ("records/a/b/x.json", b'{"schema": 5}', "Field required"),
    "f": ("other/x.json", b"{}", "holds no records"),
}


def test_what_strangers_put_there_is_not_taken(hub: Hub, each: Each, tmp_path: Path) -> None:
    for name, (path, content, _) in STRANGE.items():
        hub.add("dataset", f"org/{name}", {path: content})

    found = each([["pull", f"org/{name}", "--to", "into"] for name in STRANGE])

    for (code, _, err), (*_, told) in zip(found, STRANGE.values(), strict=True):
        assert code == 2, err
        assert told in err
        assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "into").exists()


def test_a_flipped_digit_on_the_hub_is_noticed(hub: Hub, call: Call, tmp_path: Path) -> None:
    put(tmp_path / "one")
    push(call, tmp_path / "one")
    there = hub.files(REPO)
    path = next(path for path in there if path.endswith(".json"))
    there[path] = json.dumps(json.loads(there[path]) | {"seed": 2}).encode()
    hub.add("dataset", REPO, there)

    done = call("pull", REPO, "--to", tmp_path / "into")

    assert done.returncode == 2
    assert "checksum" in done.stderr
    assert not (tmp_path / "into").exists()


def test_without_a_connection_it_is_the_copy_that_was_pulled(
    hub: Hub, call: Call, tmp_path: Path
) -> None:
    put(tmp_path / "one")
    offline = {"HF_HUB_OFFLINE": "1"}
    refused = push(call, tmp_path / "one", **offline)
    push(call, tmp_path / "one")
    missing = call("pull", REPO, "--to", tmp_path / "a", HF_HOME=str(tmp_path / "x"), **offline)
    call("pull", REPO, "--to", tmp_path / "b")
    asked = len(hub.requests)
    done = call("pull", REPO, "--to", tmp_path / "c", **offline)

    assert refused.returncode == missing.returncode == 2
    assert "a push needs the hub, and HF_HUB_OFFLINE is set" in refused.stderr
    assert "not in the hub's cache" in missing.stderr
    assert done.returncode == 0, done.stderr
    assert len(hub.requests) == asked
    assert files(tmp_path / "c") == files(tmp_path / "one")


REFUSED = [
    ("push records", MEMBER, "names no repository"),
    ("push org/../x", MEMBER, "names no repository"),
    ("push org/records@v1", MEMBER, "a push adds to the main branch"),
    ("push org/new", STRANGER, "a token that may write there"),
    ("push org/new", "", "a token that may write there"),
    ("push org/foreign", MEMBER, "holds something else"),
    ("push org/new --from none", MEMBER, "no such folder"),
    ("push org/new --from empty", MEMBER, "no records in empty"),
    ("pull org/none", MEMBER, "the hub has no dataset org/none"),
    ("pull org/foreign@v9", MEMBER, "no such branch, tag or commit"),
    ("pull org/secret", STRANGER, "asks for consent"),
]


def test_what_cannot_be_done_is_one_line(hub: Hub, each: Each, tmp_path: Path) -> None:
    put(tmp_path / "results")
    (tmp_path / "empty").mkdir()
    hub.add("dataset", "org/foreign", {"README.md": b"# Pictures of my cat\n"})
    hub.add("dataset", "org/secret", {"records/a/b/x.json": b"{}"}, gated=True)

    found = each([words.split() for words, *_ in REFUSED], [token for _, token, _ in REFUSED])

    for (code, _, err), (words, _, told) in zip(found, REFUSED, strict=True):
        assert code == 2, (words, err)
        assert told in err, words
        assert len(err.strip().splitlines()) == 1
    assert "org/new" not in hub.private


def test_home_is_told_from_names_that_begin_like_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    path = Path("x.json")
    for word in ("/home/menagerie", "at home/me"):
        assert isinstance(public_form(make_record(protocol=word), path), Record)
    with pytest.raises(RecordError, match="home folder"):
        public_form(make_record(protocol="see /home/me/x"), path)
