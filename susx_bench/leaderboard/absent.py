"""What a suite asks for and its records do not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

from susx_bench.console import counted, some
from susx_bench.data.names import names_one_of
from susx_bench.records.failures import SUFFIX
from susx_bench.records.paths import open_file
from susx_bench.records.record import Record
from susx_bench.runner.request import as_given
from susx_bench.runner.suite import Suite

_LONGEST = 2000  # bytes of a reason


def absent(suite: Suite, records: Iterable[Record]) -> str:
    """Name the datasets of a suite that no record is of, in a sentence; empty without such.

    A bundle is known by its name alone, which its records need not have: see `failures`.

    Args:
        suite: The suite.
        records: Its records.
    """
    measured = {name for r in records for name in (r.dataset, r.dataset_given)}
    requested = dict.fromkeys(name for run in suite.run for name in run.dataset or ())
    gone = [
        name
        for name in requested
        if not measured & {name, as_given(name), PurePath(name).name, name.removeprefix("hf:")}
    ]
    if not gone:
        return ""
    return (
        f"Not in the table for lack of records: {some(gone)}, {len(gone)} of the suite's "
        f"{counted(len(requested), 'dataset')}."
    )


def unnamed(suite: Suite, records: Mapping[str, Record]) -> list[str]:
    """The bundles of a suite after which no record is called: of these there may be none.

    Empty where records are of data that none of its files is called after.
    """
    names = {record.dataset for record in records.values() if record.protocol == "bundle"}
    files = dict.fromkeys(path for run in suite.run for path in run.features or ())
    strange = {n for n in names if not any(names_one_of(f.stem, {n}, names) for f in files)}
    if strange:
        return []
    return [f.name for f in files if not names_one_of(f.stem, names, names)]


def failures(root: Path) -> list[str]:
    """Why cells of a folder of records were not measured, or not listed, a line each."""
    return [_first_line(mark) for mark in sorted(root.rglob(f"*{SUFFIX}"))]


def _first_line(mark: Path) -> str:
    with open_file(mark) as file:
        return file.readline(_LONGEST).decode(errors="replace").strip()
