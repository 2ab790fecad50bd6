"""A worker measures the cells of one task after another."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from susx_bench.errors import OptionError, OutputError
from susx_bench.events import Job, Listener, Note
from susx_bench.events import Measured as Told
from susx_bench.features.launch import Launch
from susx_bench.features.task import Task, TaskFeatures
from susx_bench.methods.base import UnfitError
from susx_bench.methods.ties import first_same
from susx_bench.program import unnamed
from susx_bench.records.failures import clear_failure, reason_of
from susx_bench.records.record import Record
from susx_bench.records.shared import Lock, portions
from susx_bench.records.store import Searched, write, write_predictions, write_search
from susx_bench.runner.cell import Cell
from susx_bench.runner.measure import Measured, Shared, measure
from susx_bench.runner.outcome import Outcome, Pairs, failed, kept, title
from susx_bench.runner.prepare import encode


class Worker:
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
        self.launch = launch
        self._seconds: dict[Task, float] = {}  # of encoding, not yet in a record
        self._listen = listen
        self._force = force
        self._keep_search = keep_search
        self._keep_going = keep_going
        self._wait = wait
        self._told: set[Path] = set()  # data files that no record follows

    def encode(self, pairs: Pairs) -> TaskFeatures | list[Outcome]:
        """Encode the features that cells of one task need.

        Args:
            pairs: The cells.

        Returns:
            The features; or, in a run that goes on, that each of the cells failed.
        """
        task = pairs[0][0].task
        self._job.say(f"encoding {task.called}")
        try:
            features = encode(task, [cell for cell, _ in pairs], self.launch, self._listen)
        except (OptionError, OutputError):
            raise  # the launch or the disk is at fault, which affects every cell
        except (Exception, SystemExit) as error:
            if not self._keep_going:
                raise
            together = self.launch.processes > 1
            mark = self.launch.is_main or together
            outcomes = [failed(cell, path, error, mark=mark) for cell, path in pairs]
            if together:
                # Perhaps only this rank has met an unreadable image, and the others wait for this
                # rank: all stop together.
                raise
            self._job.fail(f"{task.called} {task.encoder}: {reason_of(error)}", len(pairs))
            return outcomes
        self._seconds[task] = self._seconds.get(task, 0.0) + features.seconds
        return features

    def measure_all(self, pairs: Pairs) -> dict[int, Outcome]:
        """Encode the features that cells of one task need, and measure each cell.

        Args:
            pairs: The cells.

        Returns:
            The outcomes by the cells' places, without cells that another run is measuring.
        """
        task = pairs[0][0].task
        features = self.encode(pairs)
        if isinstance(features, list):
            return dict(enumerate(features))
        if self.launch.is_main:
            for line in filter(None, (task.cut, _same_texts(task, features.text))):
                self._listen(Note(line, "warning"))
        seconds = [self._seconds.pop(task)] + [0.0] * (len(pairs) - 1)  # encoding is counted once
        shared = Shared(self.launch)

        def measured(i: int) -> Outcome:
            return self._measure(*pairs[i], features, shared, seconds[i])

        if self._force or self.launch.processes > 1:
            # Ranks make the same predictions together.
            return {i: measured(i) for i in range(len(pairs))}
        done: dict[int, Outcome] = {}

        def is_made(i: int) -> bool:
            """Whether another process has measured a cell since this one began."""
            if earlier := kept(*pairs[i], self._listen, keep_search=self._keep_search):
                done[i] = earlier
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
            if self.launch.is_main:
                clear_failure(path)
            self._job.advance()
            return Outcome(cell, path, None, fresh=False, reason=reason)
        except OptionError:
            raise
        except (Exception, SystemExit) as error:
            if not self._keep_going:
                raise
            outcome = failed(cell, path, error, mark=self.launch.is_main)
            self._job.fail(outcome.reason)
            return outcome
        if cell.method_source and self.launch.is_main:
            for file in set(unnamed(cell.method)) - self._told:
                self._told.add(file)
                self._listen(Note(_not_followed(cell.method.name, file), "warning"))
        record = self._write(path, measured) if self.launch.is_main else measured.record
        if self.launch.is_main and record is not None:
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
