"""Cells to records: what is there stays, what is missing is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from susx_bench.console import is_main_process
from susx_bench.errors import RecordError
from susx_bench.features.predict import Launch
from susx_bench.features.task import Features, Need, Task, part_key
from susx_bench.records.files import make_folder
from susx_bench.records.record import Record
from susx_bench.records.store import read, record_path, search_path, write, write_search
from susx_bench.runner.cell import Cell, measure


@dataclass(frozen=True)
class Outcome:
    """A cell after the run.

    Attributes:
        cell: The cell.
        path: Where its record lies.
        record: Its record, or None where the method's needs are not met.
        fresh: Whether it was measured just now.
        reason: Why there is no record.
    """

    cell: Cell
    path: Path
    record: Record | None
    fresh: bool
    reason: str = ""


def run(
    cells: Sequence[Cell],
    out: Path,
    launch: Launch,
    notes: Console,
    *,
    force: bool = False,
    keep_search: bool = False,
) -> list[Outcome]:
    """Measure the cells that have no record yet.

    Every rank decides what is missing before the first launch, from the same files, so all make
    the same predictions together. Rank 0 alone writes; each record is whole or not there, so a
    killed run loses at most the cell it was in.

    Args:
        cells: What is wanted.
        out: Folder of the records.
        launch: Where to predict.
        notes: Console for progress and notes.
        force: Measure also what has a record.
        keep_search: Keep the accuracy of every searched setting, for a heat map.

    Returns:
        One outcome a cell, in the order of `cells`.
    """
    paths = [
        record_path(out, c.task.dataset, c.task.encoder, c.method.name, c.input_sha256)
        for c in cells
    ]
    found: dict[int, Outcome] = {}
    for i, (cell, path) in enumerate(zip(cells, paths, strict=True)):
        if reason := unmet_need(cell):
            found[i] = Outcome(cell, path, None, fresh=False, reason=reason)
        elif path.exists() and not force:
            try:
                record = read(path)
                if record.input_sha256 != cell.input_sha256:
                    raise RecordError(f"{path} is the record of another cell.")
                if keep_search and record.search.near and not search_path(path).exists():
                    continue
                found[i] = Outcome(cell, path, record, fresh=False)
            except RecordError as error:
                notes.print(f"{error} It is measured again.", style="yellow", markup=False)
    todo = [i for i in range(len(cells)) if i not in found]
    if todo and is_main_process():
        make_folder(out)

    tasks = list(dict.fromkeys(cells[i].task for i in todo))
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=not notes.is_terminal,
    ) as progress:
        needs = {task: _need([cells[i] for i in todo if cells[i].task is task]) for task in tasks}
        features = {task: _encode(task, needs[task], launch, progress) for task in tasks}
        encode_seconds = {task: made.seconds for task, made in features.items()}
        bar = progress.add_task("cells", total=len(todo), speed="")
        for i in todo:
            cell = cells[i]
            progress.update(bar, description=f"{cell.method.name} {cell.task.dataset}")
            measured = measure(
                cell, features[cell.task], launch, encode_seconds.pop(cell.task, 0.0)
            )
            record, choice = measured.record, measured.choice
            if is_main_process():
                if keep_search and choice.accuracies is not None:
                    grid = choice.accuracies.float().numpy()
                    write_search(paths[i], grid, dict(choice.axes))
                record = write(paths[i], record, measured.predictions)
            found[i] = Outcome(cell, paths[i], record, fresh=True)
            progress.advance(bar)
    return [found[i] for i in range(len(cells))]


def _need(cells: Sequence[Cell]) -> Need:
    """What a task's cells need together, every list of images once."""
    parts = {part_key(part): part for cell in cells for part in cell.parts}
    return Need(list(parts.values()), any(cell.sees_val for cell in cells))


def _encode(task: Task, need: Need, launch: Launch, progress: Progress) -> Features:
    bars = {
        unit: progress.add_task(f"encoding {task.dataset}", total=total, speed=unit)
        for unit, total in task.missing(need).items()
        if total
    }

    def advance(unit: str, count: int) -> None:
        bar = bars[unit]
        progress.advance(bar, count)
        speed = progress.tasks[progress.task_ids.index(bar)].speed
        progress.update(bar, speed=f"{speed:,.0f} {unit}/s" if speed else unit)

    features = task.features(need, launch, advance)
    for bar in bars.values():
        progress.remove_task(bar)
    return features


def unmet_need(cell: Cell) -> str:
    """Why a method cannot run on a task; empty where it can."""
    has = {"text"}
    if len(cell.task.pool_labels):
        has.add("support")
    if cell.task.val_labels is not None and cell.sees_val:
        has.add("val")
    missing = sorted(cell.method.needs - has)
    if missing:
        return f"{cell.method.name} needs {', '.join(missing)}, which {cell.task.dataset} lacks"
    method = cell.method()
    if cell.tune == "published" and method.tunable and not method.published(cell.task.dataset):
        return f"{method.name} has no published constants for {cell.task.dataset}"
    if cell.setting not in cell.method.settings:
        return f"{cell.method.name} is not for the {cell.setting} setting"
    return ""
