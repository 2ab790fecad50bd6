"""Records of several machines in one folder, or none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from susx_bench.errors import RecordError
from susx_bench.records.failures import clear_failure
from susx_bench.records.files import make_folder, write_atomic
from susx_bench.records.paths import read_bytes
from susx_bench.records.record import Record
from susx_bench.records.store import predictions_path, read, record_path, search_path


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        records: Number of cells in the folder and those merged into it.
        written: Records that were new to it.
        completed: Records that were there without their predictions, and have them now.
    """

    records: int
    written: int
    completed: int


@dataclass(frozen=True)
class Found:
    """A record, and where it lies."""

    path: Path
    record: Record


def gather(folders: Sequence[Path], into: Path | None) -> dict[str, list[Found]]:
    """The records of some folders and of the one that they are to come into, by cell.

    Args:
        folders: Where to look for records, at any depth.
        into: Where they go; may hold records already, or not be there; None for nowhere yet.

    Returns:
        By the hash of a cell's inputs, all records of the cell: those in `into` first, the others
        in the order of the folders.

    Raises:
        RecordError: If a folder is missing, a JSON file in one is no record that can be believed,
            one is a quick look,
            or two records of the same inputs have other predictions or scores.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RecordError(f"{folder}: no such folder.")
    cells: dict[str, list[Found]] = {}
    places: dict[Path, str] = {}
    for folder in dict.fromkeys([*([into] if into else []), *folders]):
        for path in sorted(folder.rglob("*.json")):
            record = read(path) if predictions_path(path).exists() else Record.read(path)
            if flags := record.quick_flags():
                raise RecordError(
                    f"{path} was measured with {' '.join(flags)}: a quick look, which is not "
                    "merged with whole runs. Move it away."
                )
            cell = record.input_sha256
            same = cells.setdefault(cell, [])
            if same:
                _check_same(same[0], Found(path, record))
            same.append(Found(path, record))
            if places.setdefault(place_in(into or Path(), record), cell) != cell:
                other = cells[places[place_in(into or Path(), record)]][0].path
                raise RecordError(f"{other} and {path} are other cells with one name.")
    if not cells:
        raise RecordError(f"no records in {', '.join(map(str, folders))}.")
    return cells


def merge(folders: Sequence[Path], into: Path) -> Merged:
    """Copy the records of some folders, and what lies beside them, into one.

    Everything is checked before anything is written. Where several have the same cell, the first
    one's record is kept, `into` before the others; predictions and searches come from the first
    that has them.

    Args:
        folders: Where to look for records, at any depth.
        into: Where they go, each to the place its fields say; may hold records already.

    Raises:
        RecordError: As `gather`.
        OutputError: If `into` cannot be written.
    """
    cells = gather(folders, into)
    make_folder(into)
    written = completed = 0
    for same in cells.values():
        there = next((f.path for f in same if f.path.is_relative_to(into)), None)
        place, new = there or place_in(into, same[0].record), there is None
        for beside in (predictions_path, search_path):
            source = next((beside(f.path) for f in same if beside(f.path).exists()), None)
            if source and not beside(place).exists():
                write_atomic(beside(place), read_bytes(source))
                completed += beside is predictions_path and not new
        if new:
            write_atomic(place, read_bytes(same[0].path))
            clear_failure(place)
            written += 1
    return Merged(len(cells), written, completed)


def place_in(into: Path, record: Record) -> Path:
    """Where a record lies in a folder of records."""
    return record_path(into, record.dataset, record.encoder, record.method, record.input_sha256)


def _check_same(first: Found, other: Found) -> None:
    """Check that two records of the same inputs say the same.

    Raises:
        RecordError: If they do not.
    """
    for name in ("predictions_sha256", "right"):
        ours, theirs = (getattr(found.record, name) for found in (first, other))
        if ours != theirs:
            raise RecordError(
                f"{first.path} and {other.path} have the same inputs and other results: "
                f"{name} is {str(ours)[:24]} and {str(theirs)[:24]}. `susx-bench records verify` "
                "tells which of them is measured again; move the other away."
            )
