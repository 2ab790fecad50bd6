"""Cells to records: what is there stays, what is missing is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from susx_bench.errors import OptionError, OutputError, RecordError
from susx_bench.features.launch import Launch
from susx_bench.features.task import Features, Need, Task, part_key
from susx_bench.methods.base import UnfitError
from susx_bench.methods.ties import first_same
from susx_bench.records.failures import clear_failure, reason_of, write_failure
from susx_bench.records.files import make_folder
from susx_bench.records.record import Record
from susx_bench.records.store import (
    Searched,
    folder_name,
    predictions_path,
    read,
    read_predictions,
    read_search,
    record_path,
    search_path,
    write,
    write_predictions,
    write_search,
)
from susx_bench.runner.cell import Cell, measure
from susx_bench.runner.plan import Part
from susx_bench.runner.view import View


@dataclass(frozen=True)
class Outcome:
    """A cell after the run.

    Attributes:
        cell: The cell.
        path: Where its record lies.
        record: Its record, or None where the method's needs are not met, it is not defined, or
            no test labels are known.
        fresh: Whether it was measured just now.
        reason: Why nothing was measured.
        failed: Whether that is because measuring it failed.
    """

    cell: Cell
    path: Path
    record: Record | None
    fresh: bool
    reason: str = ""
    failed: bool = False

    @property
    def unscored(self) -> bool:
        """Whether there are predictions, and no labels to score them by."""
        return self.record is None and not self.reason


def run(
    cells: Sequence[Cell],
    out: Path,
    launch: Launch,
    notes: Console,
    *,
    force: bool = False,
    keep_search: bool = False,
    keep_going: bool = False,
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
        keep_going: Mark a cell that fails and go on with the next one; else its error is raised.

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
        elif cell.task.test_labels is None and predictions_path(path).exists() and not force:
            try:
                read_predictions(path)
                found[i] = Outcome(cell, path, None, fresh=False)
            except RecordError as error:
                notes.print(f"{error} They are made again.", style="yellow")
        elif path.exists() and not force:
            try:
                record = read(path)
                if record.input_sha256 != cell.input_sha256:
                    raise RecordError(f"{path} is the record of another cell.")
                if keep_search and record.search.near:
                    if not search_path(path).exists():
                        continue
                    read_search(path)
                found[i] = Outcome(cell, path, record, fresh=False)
            except RecordError as error:
                notes.print(f"{error} It is measured again.", style="yellow")
    todo = [i for i in range(len(cells)) if i not in found]
    if launch.is_main:
        if todo:
            make_folder(out)
        for i in found:
            clear_failure(paths[i])

    tasks = list(dict.fromkeys(cells[i].task for i in todo))
    with View(notes, len(cells), len(found), lines=keep_going) as view:
        for task in tasks:
            mine = [i for i in todo if cells[i].task is task]
            try:
                features = _encode(task, need_of([cells[i] for i in mine]), launch, view)
            except (OptionError, OutputError):
                raise  # about the launch or the disk, so about every cell
            except (Exception, SystemExit) as error:
                if not keep_going:
                    raise
                together = launch.processes > 1
                for i in mine:
                    found[i] = _fail(cells[i], paths[i], error, mark=launch.is_main or together)
                if together:
                    # Only this rank may have met the image that cannot be read, and the others
                    # wait for it: all stop together.
                    raise
                view.failed(f"{task.called} {task.encoder}: {reason_of(error)}", len(mine))
                continue
            encode_seconds = features.seconds
            if launch.is_main:
                for line in filter(None, (task.cut, _same_texts(task, features.text))):
                    notes.print(line, style="yellow")
            for i in mine:
                cell = cells[i]
                view.running(_title(cell))
                try:
                    measured = measure(cell, features, launch, encode_seconds)
                except UnfitError as error:
                    reason = f"{cell.method.name} on {cell.task.called}: {error}"
                    found[i] = Outcome(cell, paths[i], None, fresh=False, reason=reason)
                    if launch.is_main:
                        clear_failure(paths[i])
                    view.done()
                    continue
                except OptionError:
                    raise
                except (Exception, SystemExit) as error:
                    if not keep_going:
                        raise
                    found[i] = _fail(cell, paths[i], error, mark=launch.is_main)
                    view.failed(found[i].reason)
                    continue
                encode_seconds = 0.0  # counted once
                made, choice = measured.record, measured.choice
                if launch.is_main:
                    if keep_search and choice.accuracies is not None:
                        grid = choice.accuracies.float().numpy()
                        write_search(paths[i], Searched(grid, dict(choice.axes)))
                    if made is None:
                        write_predictions(paths[i], measured.predictions)
                    else:
                        made = write(paths[i], made, measured.predictions)
                    clear_failure(paths[i])
                found[i] = Outcome(cell, paths[i], made, fresh=True)
                view.done()
    return [found[i] for i in range(len(cells))]


def _title(cell: Cell) -> str:
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


def _fail(cell: Cell, path: Path, error: BaseException, *, mark: bool) -> Outcome:
    """Tell of a cell that failed, and `mark` it in the place of its record."""
    reason = f"{_title(cell)}: {reason_of(error)}"
    if mark:
        short = {name: said for name, said in cell.inputs.items() if not isinstance(said, list)}
        write_failure(path, short | {"input_sha256": cell.input_sha256}, error, reason)
    return Outcome(cell, path, None, fresh=False, reason=reason, failed=True)


def mark_parts(parts: Sequence[Part], out: Path, launch: Launch) -> list[str]:
    """Mark the cells of a suite whose data cannot be had, under the name ``cells``.

    Args:
        parts: The suite's data; the marks of what can be had are removed.
        out: Folder of the records.
        launch: Of it only rank 0 writes.

    Returns:
        For each part that cannot be had why, in one line.
    """
    reasons = []
    for part in parts:
        folder = out / folder_name(part.dataset) / folder_name(part.encoder)
        path = folder / f"cells-{part.sha256[:12]}.json"
        if part.error is None:
            if launch.is_main:
                clear_failure(path)
            continue
        reasons.append(f"{part.dataset} {part.encoder}: {reason_of(part.error)}")
        if launch.is_main:
            facts = {"dataset": part.dataset, "encoder": part.encoder}
            write_failure(path, facts, part.error, reasons[-1])
    return reasons


def need_of(cells: Sequence[Cell]) -> Need:
    """What a task's cells need together, every list of images once."""
    parts = {part_key(part): part for cell in cells for part in cell.parts}
    patches = frozenset(split for cell in cells for split in cell.patches)
    return Need(list(parts.values()), any(cell.sees_val for cell in cells), patches)


def _encode(task: Task, need: Need, launch: Launch, view: View) -> Features:
    return task.features(need, launch, view.encoding(task.called, task.missing(need)))


def _same_texts(task: Task, text: Tensor) -> str:
    """Which classes have one text; empty where each has its own."""
    first = first_same(text)
    later = (first != torch.arange(len(first))).nonzero().flatten().tolist()
    if not later:
        return ""
    pairs = [
        f"{int(first[k])} ('{task.classnames[int(first[k])]}') and {k} ('{task.classnames[k]}')"
        for k in later[:3]
    ]
    more = f" and {len(later) - 3} more" if len(later) > 3 else ""
    return (
        f"{task.called}: {len(later)} {'pair' if len(later) == 1 else 'pairs'} of classes have "
        f"one text: {', '.join(pairs)}{more}. Where no support image tells two apart, the first is "
        "the answer."
    )


def unmet_need(cell: Cell) -> str:
    """Why a method cannot run on a task; empty where it can."""
    if cell.wordless:
        return f"{cell.method.name}: {cell.wordless}"
    has = {"text", *cell.task.gives}
    if len(cell.task.pool_labels):
        has.add("support")
    if cell.task.val_labels is not None and cell.sees_val:
        has.add("val")
    missing = sorted(cell.method.needs - has)
    if missing == ["val"] and cell.task.val_labels is not None:
        return f"{cell.method.name} looks at val, which --tune {cell.tune} does not"
    if missing:
        return f"{cell.method.name} needs {', '.join(missing)}, which {cell.task.called} lacks"
    if unpatched := sorted(cell.patches - cell.task.patched):
        return (
            f"{cell.method.name} looks at the patches of {', '.join(unpatched)}, which "
            f"{cell.task.called} lacks"
        )
    method = cell.method()
    if cell.tune == "published" and method.tunable and not method.published(cell.task.dataset):
        return f"{method.name} has no published constants for {cell.task.called}"
    if cell.setting not in cell.method.settings:
        return f"{cell.method.name} is not for the {cell.setting} setting"
    return ""
