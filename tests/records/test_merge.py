"""Results of several machines in one folder: all of them, or a reason and nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from susx_bench.errors import RecordError
from susx_bench.records.failures import failure_path
from susx_bench.records.merge import merge
from susx_bench.records.record import pack
from susx_bench.records.store import Predictions, predictions_path, read, record_path, write
from tests.conftest import Command
from tests.records.example import make_record


def put(
    folder: Path, cell: str = "ab", answers: tuple[int, ...] = (0, 0, 2), **changes: Any
) -> Path:
    """A record and its predictions in a folder."""
    predictions = Predictions(np.array(answers), np.ones(len(answers), dtype=np.float32))
    record = make_record(input_sha256=cell * 32, predictions_sha256=predictions.sha256, **changes)
    path = record_path(folder, record.dataset, record.encoder, record.method, record.input_sha256)
    write(path, record, predictions)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_records_of_two_machines_come_together(tmp_path: Path) -> None:
    one, two, into = (tmp_path / name for name in ("one", "two", "into"))
    put(one, "ab")
    put(one, "cd")
    put(two, "ef", dataset="other")

    done = merge([one, two], into)

    assert (done.records, done.written) == (3, 3)
    assert files(into) == files(one) | files(two)
    before = files(into)
    assert merge([one, two], into).written == 0
    assert files(into) == before


def test_of_identical_records_the_first_is_kept(tmp_path: Path) -> None:
    one, two, into = (tmp_path / name for name in ("one", "two", "into"))
    kept = put(one, device="here")
    put(two, device="there")

    assert merge([two, one], into).written == 1
    assert read(next(into.rglob("*.json"))).device == "there"
    assert merge([one], tmp_path / "else").records == 1
    put(into, device="mine")
    assert merge([one, two], into).written == 0
    assert read(next(into.rglob("*.json"))).device == "mine"
    assert kept.exists()


def test_predictions_come_from_whoever_has_them(tmp_path: Path) -> None:
    one, two, into = (tmp_path / name for name in ("one", "two", "into"))
    predictions_path(put(one)).unlink()
    put(two)

    assert not list((merge([one], into), into)[1].rglob("*.safetensors"))
    done = merge([one, two], into)

    assert (done.written, done.completed) == (0, 1)
    assert read(next(into.rglob("*.json"))).n_test == 3


@pytest.mark.parametrize(
    ("other", "key"),
    [
        ({"answers": (0, 1, 2)}, "predictions_sha256"),
        ({"right": pack(np.array([True, False, True]))}, "right"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_conflict_names_both_and_writes_nothing(
    other: dict[str, Any], key: str, there: bool, tmp_path: Path, command: Command
) -> None:
    one, two, into = (tmp_path / name for name in ("one", "two", "into"))
    first = put(into if there else one)
    put(two, "cd")
    second = put(two, **other)
    before = files(tmp_path)

    folders = [two] if there else [one, two]
    done = command("records", "merge", *folders, "--into", into)

    assert done.code == 2
    assert str(first) in done.err
    assert str(second) in done.err
    assert key in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (lambda text: text[:-30], "the file"),
        (lambda text: "[1, 2]", "the file"),
        (lambda text: text.replace('"schema": 5', '"schema": 2'), "schema"),
        (lambda text: json.dumps(json.loads(text) | {"accuracy": float("nan")}), "accuracy"),
        (lambda text: json.dumps(json.loads(text) | {"surprise": 1}), "surprise"),
        (lambda text: json.dumps(json.loads(text) | {"seed": 2}), "checksum"),
    ],
)
def test_what_is_no_record_is_named_with_its_key_and_nothing_written(
    content: Any, key: str, tmp_path: Path, command: Command
) -> None:
    one, two, into = (tmp_path / name for name in ("one", "two", "into"))
    put(one)
    bad = put(two, "cd")
    bad.write_text(content(bad.read_text()))

    done = command("records", "merge", one, two, "--into", into)

    assert done.code == 2
    assert f"{bad}" in done.err
    assert key in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not into.exists()


def test_predictions_of_another_record_are_noticed(tmp_path: Path) -> None:
    one, into = tmp_path / "one", tmp_path / "into"
    path, other = put(one), put(one, "cd", (1, 1, 1))
    predictions_path(path).write_bytes(predictions_path(other).read_bytes())

    with pytest.raises(RecordError, match="does not hold the predictions"):
        merge([one], into)
    assert not into.exists()


def test_a_merged_record_takes_the_place_of_a_mark(tmp_path: Path) -> None:
    one, into = tmp_path / "one", tmp_path / "into"
    path = put(one)
    mark = failure_path(into / path.relative_to(one))
    mark.parent.mkdir(parents=True)
    mark.write_text("no luck")

    merge([one], into)

    assert not mark.exists()


@pytest.mark.parametrize("there", [True, False])
def test_nothing_to_merge_is_one_line(there: bool, tmp_path: Path, command: Command) -> None:
    if there:
        (tmp_path / "one").mkdir()

    done = command("records", "merge", tmp_path / "one", "--into", tmp_path / "into")

    assert done.code == 2
    assert ("no records in" if there else "no such folder") in done.err
    assert not (tmp_path / "into").exists()
