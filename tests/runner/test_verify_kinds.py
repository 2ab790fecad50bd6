"""A record of every kind of data that a run accepts is measured again, with what it needs named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from susx_bench.data.custom import open_dataset
from susx_bench.encoders.layout import EMBEDDED
from susx_bench.support.home import home
from tests.conftest import Bundle, Command
from tests.data.made import encoded, parquet, photo, webdataset, write
from tests.hub import Hub

NAMES = ("cat", "dog", "owl")
FEW: tuple[object, ...] = (
    *("--setting", "few-shot", "--method", "tip-adapter", "--shots", 1, "--seed", 1),
    *("--tune", "fixed", "--views", 1, "--encoder", "demo"),
)
NAME_ONLY = ("--setting", "name-only", "--method", "zero-shot", "--encoder", "demo")
METHOD = """
from susx_bench.methods.zero_shot import ZeroShot

class Mine(ZeroShot):
    name = "{name}"
"""


class Kind(NamedTuple):
    """How a record is made, and what must be named to measure it again."""

    run: tuple[object, ...]
    named: tuple[object, ...] = ()
    asks: str = ""


def images(folder: Path, *splits: str) -> Path:
    for i, split in enumerate(splits):
        for j, name in enumerate(NAMES):
            for k in range(3):
                picture = encoded(photo(100 * i + 10 * j + k))
                write(folder / split / name / f"{split or 'all'}-{name}-{k}.png", picture)
    return folder


def split_folder(tmp: Path) -> Kind:
    mine = images(tmp / "pets", "train", "test")
    return Kind((*FEW, "--dataset", mine), ("--dataset", mine), "Name the place, --dataset")


def unsplit_folder(tmp: Path) -> Kind:
    mine = images(tmp / "pets", "")
    return Kind((*FEW, "--dataset", mine), ("--dataset", mine), "Name the place")


def without_support(tmp: Path) -> Kind:
    mine = images(tmp / "pets", "test")
    return Kind((*NAME_ONLY, "--dataset", mine), ("--dataset", mine), "Name the place")


def split_file(tmp: Path) -> Kind:
    mine = images(tmp / "pets", "")
    rows = [
        [f"{name}/all-{name}-{k}.png", label, name]
        for label, name in enumerate(NAMES)
        for k in range(3)
    ]
    table = {"train": rows[::3], "val": rows[1::3], "test": rows[2::3]}
    file = write(tmp / "split.json", json.dumps(table))
    named = ("--dataset", mine, "--split-file", file)
    return Kind((*FEW, *named), named, "Name the place")


def shots_file(tmp: Path) -> Kind:
    mine = images(tmp / "pets", "train", "test")
    file = write(tmp / "shots.json", json.dumps([0, 3, 6]))
    words = ("--setting", "few-shot", "--method", "tip-adapter", "--tune", "fixed", "--views", 1)
    named = ("--dataset", mine, "--shots-file", file)
    return Kind((*words, "--encoder", "demo", *named), named, "Name it")


def tables(tmp: Path) -> Kind:
    mine, labels = tmp / "pets", [k for k in range(3) for _ in range(3)]
    for i, split in enumerate(("train", "test")):
        rows = [encoded(photo(100 * i + k)) for k in range(9)]
        write(mine / f"{split}.parquet", parquet(rows, labels, NAMES))
    return Kind((*FEW, "--dataset", mine), ("--dataset", mine), "Name the place")


def shards(tmp: Path) -> Kind:
    mine, labels = tmp / "pets", [k for k in range(3) for _ in range(3)]
    write(mine / "classnames.txt", "\n".join(NAMES))
    for i, split in enumerate(("train", "test")):
        rows = [encoded(photo(100 * i + k)) for k in range(9)]
        write(mine / split / "0.tar", webdataset(rows, labels))
    return Kind((*FEW, "--dataset", mine), ("--dataset", mine), "Name the place")


def embedded(tmp: Path) -> Kind:
    return Kind((*NAME_ONLY, "--method", "tip-adapter", "--dataset", "digits"))


def own_method(tmp: Path) -> Kind:
    file = write(tmp / "mine.py", METHOD.format(name="mine"))
    named = ("--method", f"{file}:Mine")
    return Kind(
        ("--setting", "name-only", "--dataset", "digits", *named), named, "read from a file"
    )


def method_in_place_of_ours(tmp: Path) -> Kind:
    file = write(tmp / "mine.py", METHOD.format(name="zero-shot"))
    named = ("--method", f"{file}:Mine")
    words = ("--setting", "name-only", "--dataset", "digits", *named)
    return Kind(words, named, "method_source differs")


def encoder_folder(tmp: Path) -> Kind:
    shutil.copytree(EMBEDDED["demo"], tmp / "encoder")
    named = ("--encoder", f"local-dir:{tmp / 'encoder'}")
    return Kind((*NAME_ONLY, "--dataset", "digits", *named), named, "its encoder lies in a folder")


def imported_support(tmp: Path) -> Kind:
    mine, support = images(tmp / "pets", "test"), images(tmp / "support", "")
    build = ("support", "build", "--kind", "sus-lc", "--dataset", mine, "--import", support)
    words = ("--setting", "name-only", "--method", "tip-adapter", "--encoder", "demo")
    return Kind(
        (
            *build,
            "--per-class",
            2,
            "--no-test-check",
            "then",
            *words,
            "--dataset",
            mine,
            "--support",
            "sus-lc",
        ),
        ("--dataset", mine),
        "Name the place",
    )


def support_elsewhere(tmp: Path) -> Kind:
    mine, support = images(tmp / "pets", "test"), images(tmp / "support", "")
    build = ("support", "build", "--kind", "sus-lc", "--dataset", mine, "--import", support)
    place = tmp / "sets" / home(open_dataset(str(mine))) / "sus-lc-photo"
    words = ("--setting", "name-only", "--method", "tip-adapter", "--encoder", "demo")
    named = ("--dataset", mine, "--support", place)
    return Kind(
        (
            *build,
            "--per-class",
            2,
            "--no-test-check",
            "--root",
            tmp / "sets",
            "then",
            *words,
            *named,
        ),
        named,
        "Name the place",
    )


KINDS: list[Callable[[Path], Kind]] = [
    split_folder,
    unsplit_folder,
    without_support,
    split_file,
    shots_file,
    tables,
    shards,
    embedded,
    own_method,
    method_in_place_of_ours,
    encoder_folder,
    imported_support,
    support_elsewhere,
]


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_record_of_each_kind_is_measured_again(
    make: Callable[[Path], Kind], tmp_path: Path, command: Command
) -> None:
    kind = make(tmp_path)
    words = kind.run
    if "then" in words:
        built = command(*words[: words.index("then")])
        assert built.code == 0, built.err
        words = words[words.index("then") + 1 :]
    ran = command("run", *words, "--out", "out", "--json")
    assert ran.code == 0, ran.err

    unnamed = command("records", "verify", "out")
    named = command("records", "verify", "out", *kind.named)

    assert named.code == 0, named.err
    assert named.out.count(": same") == len(ran.records) > 0
    assert unnamed.code == (2 if kind.asks else 0), unnamed.err
    assert kind.asks in unnamed.err.replace("\n", " ")
    if kind.asks:
        assert len(unnamed.err.strip().splitlines()) == 1


def test_records_of_several_kinds_are_measured_again_at_once(
    bundle: Bundle, tmp_path: Path, command: Command
) -> None:
    """What is named for one of them is not in the way of the others."""
    pets, food = images(tmp_path / "pets", "test"), images(tmp_path / "food", "train", "test")
    file = write(tmp_path / "mine.py", METHOD.format(name="mine"))
    path = bundle()
    for words in (
        (*NAME_ONLY, "--dataset", f"{pets},{food},digits", "--method", f"zero-shot,{file}:Mine"),
        ("--setting", "few-shot", "--method", f"zero-shot,tipx,{file}:Mine", "--features", path),
    ):
        done = command("run", *words, "--out", "out")
        assert done.code == 0, done.err

    named = ("--features", path, "--method", f"{file}:Mine", "--dataset", food, "--dataset", pets)
    done = command("records", "verify", "out", *named)

    assert done.code == 0, done.err
    assert done.out.count(": same") == 11  # tip-adapter stands beside


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_copy_on_the_hub_is_fetched_only_when_that_is_asked_for(tmp_path: Path) -> None:
    labels = [k for k in range(3) for _ in range(3)]
    files = {
        f"data/{split}-00000-of-00001.parquet": parquet(
            [encoded(photo(100 * i + k)) for k in range(9)], labels, NAMES
        )
        for i, split in enumerate(("train", "test"))
    }
    run = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from susx_bench.cli import main

def call(*words):
    sys.argv = ["susx-bench", *words]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            main()
            code = 0
        except SystemExit as done:
            code = done.code or 0
    return [code, out.getvalue() + err.getvalue()]

print(json.dumps([call(*words) for words in WORDS]))
"""
    verify = ["records", "verify", str(tmp_path / "out")]
    measure = ["run", *map(str, NAME_ONLY), "--dataset", "hf:org/pets", "--out", verify[-1]]
    named = [*verify, "--dataset", "hf:org/pets"]
    with Hub() as hub:
        hub.add("dataset", "org/pets", files)

        def ask(home: str, *words: list[str]) -> list[tuple[int, str]]:
            cache = {"SUSX_BENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
            return [
                (code, said)
                for code, said in hub.run(
                    run.replace("WORDS", repr(words)), tmp_path / home, **cache
                )
            ]

        (measured,) = ask("first", measure)
        assert measured[0] == 0, measured[1]
        before = len(hub.requests)
        unnamed, unfetched = ask("second", verify, named)
        assert len(hub.requests) == before
        (fetched,) = ask("second", [*named, "--fetch"])
        (cached,) = ask("first", named)

    assert unnamed[0] == 2
    assert "was measured on images in hf:org/pets. Name the place" in unnamed[1]
    assert unfetched[0] == 2
    assert "nothing is downloaded without --fetch" in unfetched[1]
    assert (fetched[0], cached[0]) == (0, 0), (fetched, cached)
