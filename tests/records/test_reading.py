"""Records read by several processes: the same rows and errors, whatever befalls a worker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from susx_bench.errors import RecordError
from susx_bench.records import reading
from susx_bench.records.index import names_in, read_records
from susx_bench.records.reading import read_row, read_rows
from susx_bench.records.rows import Row
from tests.records.test_index import sealed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for place in range(7):
        path = tmp_path / "toy" / "RN50" / f"tipx-{place}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sealed(place).to_json())
    monkeypatch.setattr(reading, "cores", lambda: 2)
    return tmp_path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that this process reads itself."""
    names: list[str] = []

    def reading_here(root: str, name: str) -> Row:
        names.append(Path(name).name)
        return read_row(root, name)

    monkeypatch.setattr(reading, "read_row", reading_here)
    return names


def test_workers_read_what_one_process_reads(folder: Path, here: list[str]) -> None:
    names = names_in(folder)
    together = sorted(read_rows(folder, names, many=1))

    assert here == []
    assert together == sorted(read_rows(folder, names))
    assert len(here) == 7
    assert [row.name for row in together] == names


def test_the_first_bad_record_is_the_one_that_is_said(folder: Path, here: list[str]) -> None:
    for place in (5, 3, 4):
        (folder / f"toy/RN50/tipx-{place}.json").write_text("{")

    with pytest.raises(RecordError, match=r"tipx-3\.json"):
        list(read_rows(folder, names_in(folder), many=1))
    assert here == ["tipx-3.json"]


@pytest.mark.parametrize("program", ["false", "/nowhere/python"])
def test_what_workers_leave_is_read_here(
    folder: Path, here: list[str], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """As where they cannot be started, or are killed."""
    monkeypatch.setattr(sys, "executable", program)

    assert len(list(read_rows(folder, names_in(folder), many=1))) == 7
    assert len(here) == 7


def test_records_read_by_workers_are_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = read_records(folder)
    monkeypatch.setattr(reading, "MANY", 1)

    assert read_records(folder) == alone
