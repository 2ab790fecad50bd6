"""What a run is doing: a live view on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 30.0
"""Seconds between two plain lines."""


class View:
    """Counts the cells of a run and says how they are getting on.

    Args:
        notes: Console to say it on.
        total: Number of cells.
        there: How many of them were there already.
        lines: Whether to print plain lines where `notes` is no terminal; else it is silent there.
        clock: Seconds, for the time left.
    """

    def __init__(
        self,
        notes: Console,
        total: int,
        there: int,
        *,
        lines: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notes = notes
        self._total = total
        self._there = there
        self._lines = lines and not notes.is_terminal
        self._clock = clock
        self._done = there
        self._failed = 0
        self._running = ""
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}", markup=False),
            TimeRemainingColumn(),
            console=notes,
            transient=True,
            disable=not notes.is_terminal,
            speed_estimate_period=600,  # a cell may take minutes
        )
        self._cells = self._progress.add_task("cells", total=total, completed=there, speed="")

    def __enter__(self) -> View:
        self._started = self._clock()
        self._told = self._started - EVERY
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        if kind is None and self._lines:
            self._say()

    def encoding(self, dataset: str, missing: dict[str, int]) -> Callable[[str, int], None]:
        """Show bars for what is encoded now.

        Args:
            dataset: Whose.
            missing: How many of each unit are to be encoded.

        Returns:
            To be told the unit and how many of it were just encoded.
        """
        bars = {
            unit: self._progress.add_task(f"encoding {dataset}", total=total, speed=unit)
            for unit, total in missing.items()
            if total
        }
        if bars:
            self._tell(f"encoding {dataset}")
        left = {unit: missing[unit] for unit in bars}

        def advance(unit: str, count: int) -> None:
            bar = bars[unit]
            self._progress.advance(bar, count)
            speed = next(task.speed for task in self._progress.tasks if task.id == bar)
            self._progress.update(bar, speed=f"{speed:,.0f} {unit}/s" if speed else unit)
            left[unit] -= count
            if left[unit] <= 0:
                self._progress.update(bar, visible=False)

        return advance

    def running(self, what: str) -> None:
        """Say which cell is measured now."""
        self._tell(what)

    def done(self, count: int = 1) -> None:
        """Count cells that have a record, or need none."""
        self._done += count
        self._progress.update(self._cells, advance=count)

    def failed(self, what: str, count: int = 1) -> None:
        """Count cells that failed, and say why at once."""
        self._failed += count
        self._notes.print(f"failed: {what}", style="red", markup=False)
        self._progress.update(self._cells, advance=count, speed=f"{self._failed} failed")

    def _tell(self, what: str) -> None:
        self._running = what
        self._progress.update(self._cells, description=what)
        if self._lines and self._clock() - self._told >= EVERY:
            self._say()

    def _say(self) -> None:
        self._told = self._clock()
        over = self._done + self._failed
        left = self._total - over
        line = f"cells: {self._done} of {self._total} done, {self._failed} failed"
        measured = over - self._there
        if left and measured:
            seconds = (self._told - self._started) / measured * left
            line += f", about {timedelta(seconds=round(seconds))} left"
        if left and self._running:
            line += f"; now {self._running}"
        self._notes.print(line, markup=False)
