"""Name the data that a suite requests and its records lack."""

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
    """Name the datasets of a suite without a record, in a sentence; empty if there are none.

    Bundles are left out, since their records may have another name: see `failures`.

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
    """The bundles of a suite whose name no record has: they may have no records.

    Empty if records have a name that no file of the suite has.
    """
    names = {record.dataset for record in records.values() if record.protocol == "bundle"}
    files = dict.fromkeys(path for run in suite.run for path in run.features or ())
    strange = {n for n in names if not any(names_one_of(f.stem, {n}, names) for f in files)}
    if strange:
        return []
    return [f.name for f in files if not names_one_of(f.stem, names, names)]


def failures(root: Path) -> list[str]:
    """Why cells of a folder of records were not measured or not listed, one line each."""
    return [_first_line(mark) for mark in sorted(root.rglob(f"*{SUFFIX}"))]


def _first_line(mark: Path) -> str:
    with open_file(mark) as file:
        return file.readline(_LONGEST).decode(errors="replace").strip()
