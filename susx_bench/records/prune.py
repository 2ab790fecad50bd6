"""Remove records that no table shows: newer ones have replaced them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from susx_bench.errors import OutputError, RecordError
from susx_bench.records.cells import Replaced, current
from susx_bench.records.record import Record
from susx_bench.records.store import beside


def prune(folders: list[Path], *, dry_run: bool = False) -> tuple[list[Replaced], int]:
    """Remove replaced records, with what lies beside them.

    Records are compared only with records of the same OUT folder (``OUT/DATASET/ENCODER/FILE``):
    the tables of two suites are two tables.

    Args:
        folders: Where to look for records, at any depth.
        dry_run: Remove nothing.

    Returns:
        The replaced records by reason, and how many records are left.

    Raises:
        RecordError: If a folder is missing or has no records, or a record cannot be believed.
            Nothing is removed then.
        OutputError: If a file cannot be removed.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RecordError(f"{folder}: no such folder.")
    paths = {path.resolve(): path for folder in folders for path in sorted(folder.rglob("*.json"))}
    if not paths:
        raise RecordError(f"no records in {', '.join(map(str, folders))}.")
    outs: dict[Path, dict[str, Record]] = defaultdict(dict)
    for whole, path in paths.items():
        outs[whole.parent.parent.parent][str(path)] = Record.read(path)
    replaced = [entry for records in outs.values() for entry in current(records)[1]]
    gone = [Path(path) for entry in replaced for path in entry.paths]
    if not dry_run:
        for path in gone:
            try:
                # The record goes last: it vouches for the others, and a killed prune finds it.
                for file in (*beside(path), path):
                    file.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{path} cannot be removed: {error.strerror}.") from error
    return replaced, len(paths) - len(gone)
