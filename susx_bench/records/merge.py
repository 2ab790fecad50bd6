"""Merge the records of several machines into one folder: all of them, or none."""

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
    """The result of a merge.

    Attributes:
        records: Number of cells in the folder and those merged into it.
        written: Records that were new to it.
        completed: Records of the folder that lacked their predictions and have them now.
    """

    records: int
    written: int
    completed: int


@dataclass(frozen=True)
class Found:
    """A record and its path."""

    path: Path
    record: Record


def gather(folders: Sequence[Path], into: Path | None) -> dict[str, list[Found]]:
    """Read the records of some folders and of the folder to merge them into, by cell.

    Args:
        folders: Where to look for records, at any depth.
        into: Folder to merge into, which may hold records or not exist yet; None for none.

    Returns:
        All records of each cell, by the hash of its inputs: those in `into` first, the others in
        the order of the folders.

    Raises:
        RecordError: If a folder is missing, a JSON file in one is no record that can be believed,
            a record is of a quick look, or two records with the same inputs have other predictions
            or scores.
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
            copies = cells.setdefault(cell, [])
            if copies:
                _check_same(copies[0], Found(path, record))
            copies.append(Found(path, record))
            if places.setdefault(place_in(into or Path(), record), cell) != cell:
                taken = cells[places[place_in(into or Path(), record)]][0].path
                raise RecordError(f"{taken} and {path} are other cells with one name.")
    if not cells:
        raise RecordError(f"no records in {', '.join(map(str, folders))}.")
    return cells


def merge(folders: Sequence[Path], into: Path) -> Merged:
    """Copy the records of some folders, with the files beside them, into one.

    Everything is checked before anything is written. Of several records of one cell the first is
    kept, `into` before the others; predictions and searches come from the first that has them.

    Args:
        folders: Where to look for records, at any depth.
        into: Folder to merge into, which may hold records already. Fields of a record give its
            path in the folder.

    Raises:
        RecordError: As `gather`.
        OutputError: If `into` cannot be written.
    """
    cells = gather(folders, into)
    make_folder(into)
    written = completed = 0
    for copies in cells.values():
        present = next((f.path for f in copies if f.path.is_relative_to(into)), None)
        place, new = present or place_in(into, copies[0].record), present is None
        for beside in (predictions_path, search_path):
            source = next((beside(f.path) for f in copies if beside(f.path).exists()), None)
            if source and not beside(place).exists():
                write_atomic(beside(place), read_bytes(source))
                completed += beside is predictions_path and not new
        if new:
            write_atomic(place, read_bytes(copies[0].path))
            clear_failure(place)
            written += 1
    return Merged(len(cells), written, completed)


def place_in(into: Path, record: Record) -> Path:
    """The path of a record in a folder of records."""
    return record_path(into, record.dataset, record.encoder, record.method, record.input_sha256)


def _check_same(first: Found, other: Found) -> None:
    """Check that two records of the same inputs have the same results.

    Raises:
        RecordError: If they do not.
    """
    for name in ("predictions_sha256", "right"):
        first_value, other_value = (getattr(found.record, name) for found in (first, other))
        if first_value != other_value:
            raise RecordError(
                f"{first.path} and {other.path} have the same inputs and other results: "
                f"{name} is {str(first_value)[:24]} and {str(other_value)[:24]}. "
                "`susx-bench records verify` tells which of them is measured again; move the other "
                "away."
            )
