"""What a run is doing: cells and what is encoded for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console

from susx_bench.progress import Bar, Progress


class View:
    """Counts the cells of a run and says how they are getting on.

    Args:
        notes: Console to say it on.
        total: Number of cells.
        there: How many of them were there already.
        lines: Whether a log ends with a line, however short the run.
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
        self._lines = lines and not notes.is_terminal
        self._failed = 0
        self._running = ""
        self._progress = Progress(notes, line=self.line, clock=clock)
        self._cells = self._progress.bar("cells", total, "cells")
        self._cells.begin(total, there)
        self._encoding: list[Bar] = []

    def __enter__(self) -> View:
        self._progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.__exit__(kind, error, trace)
        if kind is None and self._lines:
            self._notes.print(self.line())

    def encoding(self, dataset: str, missing: dict[str, int]) -> Callable[[str, int], None]:
        """Show bars for what is encoded now.

        Args:
            dataset: Whose.
            missing: How many of each unit are to be encoded.

        Returns:
            To be told the unit and how many of it were just encoded.
        """
        what = f"encoding {dataset}"
        bars = {
            unit: self._progress.bar(what, total, unit) for unit, total in missing.items() if total
        }
        self._encoding = list(bars.values())
        if bars:
            self.running(what)

        def advance(unit: str, count: int) -> None:
            bars[unit].advance(count)
            if bars[unit].full:
                bars[unit].hide()

        return advance

    def running(self, what: str) -> None:
        """Say which cell is measured now."""
        self._running = what
        self._cells.say(what=what)

    def done(self, count: int = 1) -> None:
        """Count cells that have a record, or need none."""
        self._cells.advance(count)

    def failed(self, what: str, count: int = 1) -> None:
        """Count cells that failed, and say why at once."""
        self._failed += count
        self._notes.print(f"failed: {what}", style="red")
        self._cells.say(note=f"{self._failed} failed")
        self._cells.advance(count)

    def line(self) -> str:
        """How the run is getting on, in one line."""
        cells = self._cells
        done = round(cells.done) - self._failed
        line = f"cells: {done} of {self._total} done, {self._failed} failed"
        if cells.left:
            line += f", {cells.left}"
        encoding = "; ".join(str(bar) for bar in self._encoding if not bar.full)
        now = encoding or self._running
        return f"{line}; now {now}" if now and not cells.full else line
