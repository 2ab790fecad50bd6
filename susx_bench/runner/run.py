"""Turn cells into records: existing records stay, missing ones are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from susx_bench.errors import OptionError, OutputError, RecordError
from susx_bench.events import Job, Listener, Note, ignore
from susx_bench.events import Measured as Told
from susx_bench.features.launch import Launch
from susx_bench.features.task import Task, TaskFeatures
from susx_bench.methods.base import UnfitError
from susx_bench.methods.ties import first_same
from susx_bench.program import unnamed
from susx_bench.ranks import starts_others
from susx_bench.records.failures import clear_failure, reason_of, write_failure
from susx_bench.records.files import make_folder
from susx_bench.records.record import Record
from susx_bench.records.shared import Lock, portions
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
from susx_bench.runner.cell import Cell
from susx_bench.runner.measure import Measured, Shared, measure
from susx_bench.runner.needs import unmet_need
from susx_bench.runner.plan import Part
from susx_bench.runner.prepare import encode, need_of

_ONE = (
    "nothing is left to encode, and one process, with a thread on each core, measures faster on "
    "this machine's CPUs than several do: one is started."
)


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


def run(
    cells: Sequence[Cell],
    out: Path,
    launch: Launch,
    listen: Listener = ignore,
    *,
    force: bool = False,
    keep_search: bool = False,
    keep_going: bool = False,
    wait: bool = True,
) -> list[Outcome]:
    """Measure the cells that have no record yet.

    Before the first launch every rank decides from the same files which cells are missing, so that
    all ranks make the same predictions together. Only rank 0 writes. A record is written whole or
    not at all, so that a killed run loses at most its current cell. Several runs may share one
    folder: each measures cells that no other run is measuring.

    Args:
        cells: The cells.
        out: Folder of the records.
        launch: The devices to predict on.
        listen: Told of notes and progress.
        force: Measure also cells with a record.
        keep_search: Keep the accuracy of every searched setting, for a heat map.
        keep_going: Mark a cell that fails and go on with the next one; else its error is raised.
        wait: Wait for cells that another run is measuring; else they are left out.

    Returns:
        One outcome per cell, in the order of `cells`.
    """
    paths = [path_of(cell, out) for cell in cells]
    outcomes = settled_outcomes(cells, out, listen, force=force, keep_search=keep_search)
    todo = [i for i in range(len(cells)) if i not in outcomes]
    if todo and launch.accelerator != "auto":
        from susx_bench.features.predict import trainer  # Lightning, which takes seconds to import

        trainer(launch)  # refuses a missing device before anything is encoded
    if not force and _is_for_one([cells[i] for i in todo], launch):
        listen(Note(f"--devices {launch.devices}: {_ONE}"))
        launch = replace(launch, devices=1)
    if launch.is_main:
        if todo:
            make_folder(out)
        for i in outcomes:
            clear_failure(paths[i])
    with Job(listen, "cells", "cells", len(cells), len(outcomes)) as job:
        worker = _Worker(
            job,
            launch,
            listen,
            force=force,
            keep_search=keep_search,
            keep_going=keep_going,
            wait=wait,
        )
        for task in dict.fromkeys(cells[i].task for i in todo):
            places = [i for i in todo if cells[i].task is task]
            done = worker.measure_all([(cells[i], paths[i]) for i in places])
            outcomes |= {places[place]: outcome for place, outcome in done.items()}
    return [outcomes[i] for i in range(len(cells)) if i in outcomes]


def _is_for_one(cells: Sequence[Cell], launch: Launch) -> bool:
    """Whether one process is faster: with features that are all there, and processes on CPUs.

    Every process chooses hyper-parameters by itself, and predictions from features take less time
    than the start of a process. Processes that exist already are used, as one of them alone would
    leave the others waiting.
    """
    if not cells or not launch.on_cpu or not starts_others(launch.devices, launch.num_nodes):
        return False
    return all(
        task.is_encoded(need_of([cell for cell in cells if cell.task is task]))
        for task in dict.fromkeys(cell.task for cell in cells)
    )


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
        elif not force and (outcome := _kept(cell, path, listen, keep_search=keep_search)):
            outcomes[i] = outcome
    return outcomes


def _kept(cell: Cell, path: Path, listen: Listener, *, keep_search: bool) -> Outcome | None:
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


class _Worker:
    """Measures the cells of one task after another.

    Args:
        job: Counts the cells.
        launch: The devices to predict on.
        listen: Told of notes and progress.
        force: As in `run`.
        keep_search: As in `run`.
        keep_going: As in `run`.
        wait: As in `run`.
    """

    def __init__(
        self,
        job: Job,
        launch: Launch,
        listen: Listener,
        *,
        force: bool,
        keep_search: bool,
        keep_going: bool,
        wait: bool,
    ) -> None:
        self._job = job
        self._launch = launch
        self._listen = listen
        self._force = force
        self._keep_search = keep_search
        self._keep_going = keep_going
        self._wait = wait
        self._told: set[Path] = set()  # data files that no record follows

    def measure_all(self, pairs: Sequence[tuple[Cell, Path]]) -> dict[int, Outcome]:
        """Encode the features that cells of one task need, and measure each cell.

        Args:
            pairs: The cells, each with the path of its record.

        Returns:
            The outcomes by the cells' places, without cells that another run is measuring.
        """
        task = pairs[0][0].task
        self._job.say(f"encoding {task.called}")
        try:
            features = encode(task, [cell for cell, _ in pairs], self._launch, self._listen)
        except (OptionError, OutputError):
            raise  # the launch or the disk is at fault, which affects every cell
        except (Exception, SystemExit) as error:
            if not self._keep_going:
                raise
            together = self._launch.processes > 1
            mark = self._launch.is_main or together
            failed = [_fail(cell, path, error, mark=mark) for cell, path in pairs]
            if together:
                # Perhaps only this rank has met an unreadable image, and the others wait for this
                # rank: all stop together.
                raise
            self._job.fail(f"{task.called} {task.encoder}: {reason_of(error)}", len(pairs))
            return dict(enumerate(failed))
        if self._launch.is_main:
            for line in filter(None, (task.cut, _same_texts(task, features.text))):
                self._listen(Note(line, "warning"))
        seconds = [features.seconds] + [0.0] * (len(pairs) - 1)  # encoding is counted once
        shared = Shared(self._launch)

        def measured(i: int) -> Outcome:
            return self._measure(*pairs[i], features, shared, seconds[i])

        if self._force or self._launch.processes > 1:
            # Ranks make the same predictions together.
            return {i: measured(i) for i in range(len(pairs))}
        done: dict[int, Outcome] = {}

        def is_made(i: int) -> bool:
            """Whether another process has measured a cell since this one began."""
            if kept := _kept(*pairs[i], self._listen, keep_search=self._keep_search):
                done[i] = kept
                self._job.advance()
            return i in done

        numbers = range(len(pairs))
        free = portions(numbers, 1, lambda i: Lock(pairs[i][1]), is_made, wait=self._wait)
        for portion in free:
            for i in portion:
                done[i] = measured(i)
        return done

    def _measure(
        self, cell: Cell, path: Path, features: TaskFeatures, shared: Shared, encoding: float
    ) -> Outcome:
        self._job.say(title(cell))
        try:
            measured = measure(cell, features, shared, encoding)
        except UnfitError as error:
            reason = f"{cell.method.name} on {cell.task.called}: {error}"
            if self._launch.is_main:
                clear_failure(path)
            self._job.advance()
            return Outcome(cell, path, None, fresh=False, reason=reason)
        except OptionError:
            raise
        except (Exception, SystemExit) as error:
            if not self._keep_going:
                raise
            outcome = _fail(cell, path, error, mark=self._launch.is_main)
            self._job.fail(outcome.reason)
            return outcome
        if cell.method_source and self._launch.is_main:
            for file in set(unnamed(cell.method)) - self._told:
                self._told.add(file)
                self._listen(Note(_not_followed(cell.method.name, file), "warning"))
        record = self._write(path, measured) if self._launch.is_main else measured.record
        if self._launch.is_main and record is not None:
            self._listen(Told(path, record))
        self._job.advance()
        return Outcome(cell, path, record, fresh=True)

    def _write(self, path: Path, measured: Measured) -> Record | None:
        """Write the measured record and its predictions: whole, or not at all."""
        record, choice = measured.record, measured.choice
        if self._keep_search and choice.accuracies is not None:
            grid = choice.accuracies.float().numpy()
            write_search(path, Searched(grid, dict(choice.axes)))
        if record is None:
            write_predictions(path, measured.predictions)
        else:
            record = write(path, record, measured.predictions)
        clear_failure(path)
        return record


def _not_followed(method: str, file: Path) -> str:
    """A line about a data file that no record follows."""
    return (
        f"method '{method}' read {file}, which its program does not name, so its records stay what "
        f'they are when that file changes. Name it there as a text, "{file.name}", with the file '
        "beside the program or in the working directory; or give --force."
    )


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


def _fail(cell: Cell, path: Path, error: BaseException, *, mark: bool) -> Outcome:
    """Make the outcome of a cell that failed; with `mark`, write a mark at its record's path."""
    reason = f"{title(cell)}: {reason_of(error)}"
    if mark:
        short = {name: value for name, value in cell.inputs.items() if not isinstance(value, list)}
        write_failure(path, short | {"input_sha256": cell.input_sha256}, error, reason)
    return Outcome(cell, path, None, fresh=False, reason=reason, failed=True)


def mark_parts(parts: Sequence[Part], out: Path, launch: Launch) -> list[Part]:
    """Mark the missing data of a suite, under the name ``cells``.

    Args:
        parts: The suite's data; marks of available data are removed.
        out: Folder of the records.
        launch: The devices of the run; only rank 0 writes.

    Returns:
        The missing parts.
    """
    lost = []
    for part in parts:
        folder = out / folder_name(part.dataset) / folder_name(part.encoder)
        path = folder / f"cells-{part.sha256[:12]}.json"
        if part.error is None:
            if launch.is_main:
                clear_failure(path)
            continue
        lost.append(part)
        if launch.is_main:
            facts = {"dataset": part.dataset, "encoder": part.encoder}
            write_failure(path, facts, part.error, part.lost)
    return lost


def _same_texts(task: Task, text: Tensor) -> str:
    """A warning about classes with equal text features; empty if all texts differ."""
    if not len(text):
        return ""
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
