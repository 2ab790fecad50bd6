"""The outcomes of cells: what a record, an unmet need or an error makes of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from susx_bench.errors import RecordError
from susx_bench.events import Listener, Note, ignore
from susx_bench.records.failures import reason_of, write_failure
from susx_bench.records.record import Record
from susx_bench.records.store import (
    predictions_path,
    read,
    read_predictions,
    read_search,
    record_path,
    search_path,
)
from susx_bench.runner.cell import Cell
from susx_bench.runner.needs import unmet_need

Pairs = Sequence[tuple[Cell, Path]]
"""Cells of one task, each with the path of its record."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a cell.

    Attributes:
        cell: The cell.
        path: Path of its record.
        record: Its record; None if the method's needs are not met, its result is undefined, or
            there are no test labels.
        fresh: Whether it was measured in this run.
        reason: Why nothing was measured; else empty.
        failed: Whether the reason is that measuring failed.
    """

    cell: Cell
    path: Path
    record: Record | None
    fresh: bool
    reason: str = ""
    failed: bool = False

    @property
    def unscored(self) -> bool:
        """Whether it has predictions, but no labels to score them."""
        return self.record is None and not self.reason


def path_of(cell: Cell, out: Path) -> Path:
    """The path of a cell's record in a folder of records."""
    task = cell.task
    return record_path(out, task.dataset, task.encoder, cell.method.name, cell.input_sha256)


def settled_outcomes(
    cells: Sequence[Cell],
    out: Path,
    listen: Listener = ignore,
    *,
    force: bool = False,
    keep_search: bool = False,
) -> dict[int, Outcome]:
    """Outcomes of cells with nothing to do, by their place: they have a record, or cannot have one.

    Args:
        cells: The cells.
        out: Folder of the records.
        listen: Told of damaged records.
        force: Ignore existing records.
        keep_search: Ignore existing records that lack the accuracy of every searched setting.
    """
    outcomes: dict[int, Outcome] = {}
    for i, cell in enumerate(cells):
        path = path_of(cell, out)
        if reason := unmet_need(cell):
            outcomes[i] = Outcome(cell, path, None, fresh=False, reason=reason)
        elif not force and (outcome := kept(cell, path, listen, keep_search=keep_search)):
            outcomes[i] = outcome
    return outcomes


def kept(cell: Cell, path: Path, listen: Listener, *, keep_search: bool) -> Outcome | None:
    """The outcome of an earlier run; None if it has no record, or one that cannot be believed."""
    unscored = cell.task.test_labels is None
    if not (predictions_path(path) if unscored else path).exists():
        return None
    try:
        if unscored:
            read_predictions(path)
            return Outcome(cell, path, None, fresh=False)
        record = read(path)
        if record.input_sha256 != cell.input_sha256:
            raise RecordError(f"{path} is the record of another cell.")
        if keep_search and record.search.near:
            if not search_path(path).exists():
                return None
            read_search(path)
    except RecordError as error:
        again = "They are made again." if unscored else "It is measured again."
        listen(Note(f"{error} {again}", "warning"))
        return None
    return Outcome(cell, path, record, fresh=False)


def title(cell: Cell) -> str:
    """A cell in a few words."""
    words = [
        cell.method.name,
        cell.task.called,
        cell.task.encoder,
        cell.setting,
    ]
    if cell.draw_shots:
        words.append(f"S = {cell.draw_shots} seed {cell.seed}")
    if cell.batches:
        words.append(f"batches {cell.batches}")
    return " ".join([*words, cell.tune])


def failed(cell: Cell, path: Path, error: BaseException, *, mark: bool) -> Outcome:
    """Make the outcome of a cell that failed; with `mark`, write a mark at its record's path."""
    reason = f"{title(cell)}: {reason_of(error)}"
    if mark:
        short = {name: value for name, value in cell.inputs.items() if not isinstance(value, list)}
        write_failure(path, short | {"input_sha256": cell.input_sha256}, error, reason)
    return Outcome(cell, path, None, fresh=False, reason=reason, failed=True)


def as_json(outcomes: Iterable[Outcome]) -> str:
    """Outcomes with their records, for another process."""
    return json.dumps(
        {
            o.cell.input_sha256: [o.record and o.record.to_json(), o.fresh, o.reason, o.failed]
            for o in outcomes
        }
    )


def from_json(text: str, cells: Sequence[Cell], paths: Sequence[Path]) -> dict[int, Outcome]:
    """Read `as_json`.

    Args:
        text: The outcomes.
        cells: The cells of this process.
        paths: Paths of their records.

    Returns:
        The outcomes by the cells' places, without cells that have none.
    """
    told, outcomes = json.loads(text), {}
    for i, (cell, path) in enumerate(zip(cells, paths, strict=True)):
        if cell.input_sha256 in told:
            content, fresh, reason, failing = told[cell.input_sha256]
            record = content and Record.model_validate_json(content)
            outcomes[i] = Outcome(cell, path, record, fresh, reason, failing)
    return outcomes
