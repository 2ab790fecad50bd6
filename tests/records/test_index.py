"""The index of a folder of records: what it saves, and what it is not believed of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from susx_bench.errors import RecordError
from susx_bench.records.cells import data_of
from susx_bench.records.index import INDEX, LightRecord, read_records
from susx_bench.records.record import Record, Search, pack
from tests.records.example import make_record


def sealed(place: int, **changes: Any) -> Record:
    search = Search(space="tipx", settings=9, images=3, score=70.0, ranges={"beta": (1.0, 2.5)})
    return make_record(seed=place, input_sha256=f"{place:064x}", search=search, **changes).sealed()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in range(4):
        path = tmp_path / "toy" / "RN50" / f"tipx-{place}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sealed(place).to_json())
    return tmp_path


def read(folder: Path, **how: Any) -> dict[str, Record]:
    found = read_records(folder, **{"fewest": 1} | how)
    assert list(found) == [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.json"))]
    return {Path(name).name: record for name, record in found.items()}


def said(records: dict[str, Record]) -> dict[str, Any]:
    """What records say without a look into their files."""
    fields = set(Record.model_fields) - {"classes", "confusions"}
    return {n: {f: getattr(r, f) for f in fields} for n, r in records.items()}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose content is read."""
    names: list[str] = []
    plain = Record.read.__func__  # type: ignore[attr-defined]

    def reading(cls: type[Record], path: Path) -> Record:
        names.append(path.name)
        record: Record = plain(cls, path)
        return record

    monkeypatch.setattr(Record, "read", classmethod(reading))
    return names


def test_a_light_record_says_what_the_record_says(folder: Path) -> None:
    blank = sealed(9, blank={"nll": "its scores are sums"}, top5=80.0, limit=3, given={"a": "b"})
    (folder / "toy/RN50/tipx-9.json").write_text(blank.to_json())
    for _ in range(2):
        found = read(folder)
        for name, record in found.items():
            plain = Record.read(folder / "toy/RN50" / name)
            assert isinstance(record, LightRecord)
            assert record.whole() == plain
            assert record.whole().to_json() == plain.to_json()
            for field in Record.model_fields:
                assert getattr(record, field) == getattr(plain, field)
            assert data_of(record) == data_of(plain)
            assert record.extras() == plain.extras()
        assert len(found) == 5


def test_files_that_have_not_changed_are_not_read_again(folder: Path, parsed: list[str]) -> None:
    first = read(folder)
    assert len(parsed) == 4
    again = read(folder)

    assert len(parsed) == 4
    assert said(again) == said(first)
    assert list(again) == list(first)


def test_a_file_that_was_written_anew_is_read_again(folder: Path, parsed: list[str]) -> None:
    """Also with the same size and the old time of modification."""
    read(folder)
    path = folder / "toy/RN50/tipx-2.json"
    before = path.stat()
    other = sealed(2, accuracy=100 / 3, correct=1, right=pack(np.array([True, False, False])),
                   classes=[("a", 1, 2), *sealed(2).classes[1:]])  # fmt: skip
    text = other.to_json().rstrip()
    path.write_text(text + " " * (before.st_size - len(text)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    parsed.clear()

    assert read(folder)["tipx-2.json"].correct == 1
    assert parsed == ["tipx-2.json"]
    assert path.stat().st_size == before.st_size
    parsed.clear()
    assert read(folder)["tipx-2.json"].correct == 1
    assert parsed == []


def test_records_come_and_go(folder: Path, parsed: list[str]) -> None:
    read(folder)
    (folder / "toy/RN50/tipx-0.json").unlink()
    (folder / "toy/RN50/tipx-7.json").write_text(sealed(7).to_json())
    parsed.clear()

    assert list(read(folder)) == ["tipx-1.json", "tipx-2.json", "tipx-3.json", "tipx-7.json"]
    assert parsed == ["tipx-7.json"]
    assert pq.read_table(folder / INDEX).num_rows == 4


def test_a_damaged_record_is_noticed_and_the_old_index_stays(folder: Path) -> None:
    read(folder)
    index = (folder / INDEX).read_bytes()
    path = folder / "toy/RN50/tipx-1.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))

    with pytest.raises(RecordError, match="was changed after it was written"):
        read(folder)
    assert (folder / INDEX).read_bytes() == index
    assert [path.name for path in folder.iterdir() if path.name != INDEX] == ["toy"]


def forge(folder: Path) -> None:
    """Let the index say other numbers of files that have not changed."""
    table = pq.read_table(folder / INDEX)
    seeds = [5 if seed == 1 else seed for seed in table["seed"].to_pylist()]
    place = table.schema.get_field_index("seed")
    pq.write_table(table.set_column(place, table.schema.field(place), [seeds]), folder / INDEX)


def test_content_is_read_where_the_index_is_not_to_be_believed(folder: Path) -> None:
    read(folder)
    forge(folder)

    assert read(folder)["tipx-1.json"].seed == 5
    assert read(folder, index=False)["tipx-1.json"].seed == 1


def test_an_index_that_came_with_other_files_is_not_believed(folder: Path, tmp_path: Path) -> None:
    """As one that somebody committed: a copy of a record is another file."""
    read(folder)
    forge(folder)
    copy = tmp_path / "copy"
    shutil.copytree(folder / "toy", copy / "toy")
    shutil.copy2(folder / INDEX, copy / INDEX)

    assert read(copy)["tipx-1.json"].seed == 1


@pytest.mark.parametrize("place", [0, 100, 0.25, 0.5, 0.75, -20, -5])
def test_a_damaged_index_is_made_again(folder: Path, place: float) -> None:
    wanted = said(read(folder))
    content = bytearray((folder / INDEX).read_bytes())
    content[int(place * len(content)) if isinstance(place, float) else place] ^= 0x10
    (folder / INDEX).write_bytes(bytes(content))

    assert said(read(folder)) == wanted


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 5000, None])
def test_what_is_no_index_is_none(folder: Path, content: bytes | None) -> None:
    if content is None:
        pq.write_table(pa.table({"path": ["toy/RN50/tipx-1.json"]}), folder / INDEX)
    else:
        (folder / INDEX).write_bytes(content)

    assert len(read(folder)) == 4
    assert pq.read_table(folder / INDEX).num_rows == 4


def test_a_pipe_in_the_place_of_the_index_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / INDEX)

    assert len(read(folder)) == 4


def test_few_records_have_none(folder: Path) -> None:
    assert len(read(folder, fewest=1000)) == 4
    assert not (folder / INDEX).exists()


def test_a_light_record_may_be_changed_in_a_copy(folder: Path) -> None:
    """As tables do that tell datasets of one name apart."""
    record = read(folder)["tipx-1.json"]
    copy = record.model_copy(update={"dataset": "a/toy"})

    assert copy.dataset == "a/toy"
    assert copy.classes == record.classes
    assert record.dataset == "toy"


def test_a_file_that_changed_meanwhile_is_noticed(folder: Path) -> None:
    record = read(folder)["tipx-1.json"]
    (folder / "toy/RN50/tipx-1.json").write_text(sealed(2).to_json())

    with pytest.raises(RecordError, match="was changed while it was read"):
        _ = record.classes
