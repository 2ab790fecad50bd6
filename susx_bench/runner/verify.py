"""A cell measured once more, and compared with its record bit by bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from susx_bench.errors import OptionError, RecordError
from susx_bench.records.command import METHOD, command, options
from susx_bench.records.record import Record, unpack
from susx_bench.records.store import predictions_path, read, read_predictions
from susx_bench.registry import METHODS
from susx_bench.runner.cell import Cell, measure
from susx_bench.runner.plan import Opened, Request, plan
from susx_bench.runner.run import need_of, unmet_need
from susx_bench.tuning.choose import TUNES

_LISTS = ("shots", "seed", "order", "batches")


@dataclass(frozen=True)
class Verdict:
    """What measuring a record's cell again gave.

    Attributes:
        path: The record.
        images: Number of test images.
        differ: How many are predicted to be another class; 0 where the hashes are equal.
    """

    path: Path
    images: int
    differ: int


def records_in(paths: Sequence[Path]) -> list[Path]:
    """The records that are named, or lie in folders that are named.

    Raises:
        RecordError: If there is no such file or folder, or no record in it.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise RecordError(f"{path}: no such file or folder.")
        inside = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise RecordError(f"{path} has no records.")
        found += inside
    return list(dict.fromkeys(found))


def verify(
    path: Path,
    given: Mapping[str, Any],
    bundles: Sequence[Path],
    notes: Console,
    opened: Opened | None = None,
) -> Verdict:
    """Measure a record's cell again. Nothing is written.

    Args:
        path: The record.
        given: Options of ``run`` that a record does not hold, such as where data lies.
        bundles: Feature bundles to look for the record's in.
        notes: Console for notes.
        opened: What was opened for other records.

    Raises:
        RecordError: If the record cannot be believed, or its inputs cannot be found again.
        BenchError: If what the record names cannot be had.
    """
    record = read(path) if predictions_path(path).exists() else Record.read(path)
    cell, request = _find(path, record, given, bundles, notes, opened or Opened())
    if reason := unmet_need(cell):
        raise RecordError(f"{path}: {reason}.")
    need = need_of([cell])
    features = cell.task.features(need, request.launch, lambda unit, count: None)
    again = measure(cell, features, request.launch, 0.0)
    assert again.record is not None  # the hashes of its inputs hold the test labels
    if again.record.predictions_sha256 == record.predictions_sha256:
        return Verdict(path, record.n_test, 0)
    if predictions_path(path).exists():
        differ = int((read_predictions(path).top1 != again.predictions.top1).sum())
    else:  # which were right is all that is known of the old answers
        before, after = (unpack(r.right, r.n_test) for r in (record, again.record))
        differ = int(np.count_nonzero(before != after))
    return Verdict(path, record.n_test, max(differ, 1))


def _find(
    path: Path,
    record: Record,
    given: Mapping[str, Any],
    bundles: Sequence[Path],
    notes: Console,
    opened: Opened,
) -> tuple[Cell, Request]:
    """The cell that has the record's inputs."""
    asked = options(record) | {name: value for name, value in given.items() if value is not None}
    if asked["method"] == METHOD:
        if record.method not in METHODS.names():
            raise RecordError(
                f"{path}: '{record.method}' was read from a file. Name it, --method FILE.py:CLASS."
            )
        asked["method"] = record.method
    if record.draw == "file" and given.get("shots_file") is None:
        raise RecordError(f"{path}: it was measured with a --shots-file. Name it.")
    # A split of nobody's may have come with the data; the hash of the inputs tells.
    asked["split_file"] = given.get("split_file")
    places: Sequence[Path | None] = (None,)
    if "features" in asked:
        if not bundles:
            raise RecordError(f"{path}: it was measured on a feature bundle. Name it, --features.")
        places = bundles
    nearest: tuple[str, ...] | None = None
    for place in places:
        # A method with nothing to choose on its support is on record as fixed, whoever was asked.
        tunes = (record.tuned_on, *TUNES) if record.tuned_on == "fixed" else (record.tuned_on,)
        for tune in dict.fromkeys(tunes):
            request = Request(
                **asked
                | {"method": (asked["method"],), "dataset": (asked["dataset"],)}
                | {"features": place, "tune": tune, "allow_test_tuning": True}
                | {name: (asked[name],) for name in _LISTS if name in asked}
            )
            try:
                cells = plan(request, (), record.dataset, (), (), notes, opened)
            except OptionError:
                if tune == record.tuned_on:
                    raise
                continue
            for cell in cells:
                if cell.input_sha256 == record.input_sha256:
                    return cell, request
                wrong = _differences(record, cell)
                if tune == record.tuned_on and (nearest is None or len(wrong) < len(nearest)):
                    nearest = wrong
    what = ", ".join(nearest or ()) or "its inputs"
    raise RecordError(
        f"{path}: the inputs cannot be found again: {what} differs from the record. It was "
        f"measured by `{command(record)}`."
    )


def _differences(record: Record, cell: Cell) -> tuple[str, ...]:
    """What of a cell's inputs is not as the record has it."""
    names = [name for name in cell.inputs if name in Record.model_fields]
    return tuple(name for name in names if getattr(record, name) != cell.inputs[name])


def fault_of(verdicts: Sequence[Verdict]) -> str:
    """What is wrong, in one line; empty where every record is as it was."""
    wrong = [verdict for verdict in verdicts if verdict.differ]
    if not wrong:
        return ""
    each = "; ".join(f"{v.path}: {v.differ} of {v.images} images differ" for v in wrong[:3])
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return f"{len(wrong)} of {len(verdicts)} records are not measured again: {each}{more}."
