"""Show events on the command line: bars on a terminal, a line every half minute in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TimeRemainingColumn
from rich.progress import Progress as Live

from susx_bench.console import one_line, stderr
from susx_bench.events import Advanced, Changed, Event, Failed, Finished, Job, Note, Started

if TYPE_CHECKING:
    from rich.text import Text

EVERY = 30.0
"""Seconds between two lines of a log."""


class Bar:
    """One bar: a count of work.

    Attributes:
        what: Label: the current work.
        unit: Name of the counted units.
        total: Number of units; None while it is unknown.
        done: Number of units done, parts of one included.
        note: Text beside the count.
    """

    def __init__(
        self, live: Live, clock: Callable[[], float], what: str, unit: str, total: float | None
    ) -> None:
        self._live = live
        self._clock = clock
        self.what = what
        self.unit = unit
        self.note = ""
        self._task = live.add_task(what, total=None, unit=unit, note="")
        self.begin(total)

    def begin(self, total: float | None, done: float = 0) -> None:
        """Restart the count with this total, of which some units are done already."""
        self.total = total
        self.done = self._first = done
        self._started = self._clock()
        self._live.reset(self._task, total=total)
        self._live.update(self._task, completed=done)

    def advance(self, count: float = 1) -> None:
        """Count more units as done."""
        self.done += count
        self._live.advance(self._task, count)

    def say(self, *, what: str | None = None, note: str | None = None) -> None:
        """Change the label, or the text beside the count."""
        self.what = self.what if what is None else what
        self.note = self.note if note is None else note
        self._live.update(self._task, description=self.what, note=self.note)

    def hide(self) -> None:
        """Remove the bar from the terminal."""
        self._live.update(self._task, visible=False)

    @property
    def full(self) -> bool:
        """Whether all units are done."""
        return self.total is not None and self.done >= self.total

    @property
    def left(self) -> str:
        """The estimated time left; empty if it is unknown."""
        counted = self.done - self._first
        if self.total is None or self.full or counted <= 0:
            return ""
        seconds = (self._clock() - self._started) / counted * (self.total - self.done)
        return f"about {timedelta(seconds=round(seconds))} left"

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total:,.0f}"
        count = f"{self.what}: {self.done:,.0f}{of} {self.unit}"
        return ", ".join(part for part in (count, self.note, self.left) if part)


class Progress:
    """Shows bars on a terminal; elsewhere prints a line every half minute.

    Args:
        notes: Console to show them on.
        line: Makes that line; None for the bars as text.
        clock: Returns the time in seconds, for the time left.
    """

    def __init__(
        self,
        notes: Console,
        *,
        line: Callable[[], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notes = notes
        self._line = line or self.line
        self._clock = clock
        self._bars: list[Bar] = []
        self._live = Live(
            _What(),
            BarColumn(),
            _Count(),
            TimeRemainingColumn(),
            console=notes,
            transient=True,
            disable=not notes.is_terminal,
            speed_estimate_period=600,  # one step may take minutes
        )
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        self._live.start()
        if not self._notes.is_terminal and not self._notes.quiet:
            self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self._live.stop()

    def bar(self, what: str, total: float | None, unit: str) -> Bar:
        """Add a bar.

        Args:
            what: Label: the current work.
            total: Number of units; None while it is unknown.
            unit: Name of the counted units, in the plural.
        """
        bar = Bar(self._live, self._clock, what, unit, total)
        self._bars.append(bar)
        return bar

    def line(self) -> str:
        """The unfinished bars in one line; if all are finished, the last one."""
        open_bars = [bar for bar in self._bars if not bar.full]
        return "; ".join(str(bar) for bar in open_bars or self._bars[-1:])

    def _tick(self) -> None:
        while not self._ended.wait(EVERY):
            if line := self._line():
                self._notes.print(line)


class Reporter:
    """The listener of the command line: shows notes as lines and jobs as bars.

    Bars are shown while the outermost job runs. In a log that job gets a line every half minute.

    Args:
        notes: Console to show them on.
        summary: Whether a log ends with a line for a job that counts cells, however short it is.
        clock: Returns the time in seconds, for the time left.
    """

    def __init__(
        self,
        notes: Console,
        *,
        summary: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notes = notes
        self._summary = summary and not notes.is_terminal
        self._clock = clock
        self._progress: Progress | None = None
        self._bars: dict[Job, Bar] = {}
        self._failed = 0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Note(text, level):
                if level == "warning":
                    self._warn(text, "yellow")
                else:
                    self._notes.print(text)
            case Started(job):
                self._begin(job)
            case Advanced(job, count):
                bar = self._bars[job]
                bar.advance(count)
                if bar.full and job is not self._outermost:
                    bar.hide()
            case Changed(job):
                self._bars[job].say(what=job.what)
            case Failed(job, reason, count):
                self._failed += count
                self._warn(f"failed: {reason}", "red")
                self._bars[job].say(note=f"{self._failed} failed")
                self._bars[job].advance(count)
            case Finished(job, complete):
                self._end(job, complete=complete)

    def _warn(self, text: str, style: str) -> None:
        """Print a line above the bars, even if notes are switched off."""
        console = stderr(warnings=True) if self._notes.quiet else self._notes
        console.print(text, style=style)

    @property
    def _outermost(self) -> Job | None:
        return next(iter(self._bars), None)

    def _begin(self, job: Job) -> None:
        first = self._progress is None
        if self._progress is None:
            self._failed = 0
            self._progress = Progress(self._notes, line=self.line, clock=self._clock)
        if job not in self._bars:
            self._bars[job] = self._progress.bar(job.what, job.total, job.unit)
        self._bars[job].begin(job.total, job.done)
        if first:
            self._progress.__enter__()

    def _end(self, job: Job, *, complete: bool) -> None:
        if job is not self._outermost:
            self._bars.pop(job).hide()
            return
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
        if complete and self._summary and job.unit == "cells":
            self._notes.print(self.line())
        self._progress = None
        self._bars.clear()

    def line(self) -> str:
        """The progress of all jobs, in one line."""
        outermost, *inner = list(self._bars.values())  # at once: another thread may add one
        if outermost.unit != "cells":
            bars = [bar for bar in (outermost, *inner) if not bar.full] or [outermost]
            return "; ".join(map(str, bars))
        done = round(outermost.done) - self._failed
        line = f"cells: {done} of {outermost.total:.0f} done, {self._failed} failed"
        if outermost.left:
            line += f", {outermost.left}"
        now = "; ".join(str(bar) for bar in inner if not bar.full)
        if not now and outermost.what != outermost.unit:
            now = outermost.what
        return f"{line}; now {now}" if now and not outermost.full else line


class _What(ProgressColumn):
    """The label of a bar."""

    def render(self, task: Task) -> Text:
        return one_line(task.description)


class _Count(ProgressColumn):
    """The count, the total, the unit, the speed and the note of a bar."""

    def render(self, task: Task) -> Text:
        of = "" if task.total is None else f"/{task.total:,.0f}"
        parts = [f"{task.completed:,.0f}{of} {task.fields['unit']}", task.fields["note"]]
        if task.speed and task.speed >= 0.1:  # of what takes longer, the time left says more
            parts.append(f"{task.speed:,.{0 if task.speed >= 10 else 1}f}/s")
        return one_line((" ".join(part for part in parts if part), "progress.download"))
