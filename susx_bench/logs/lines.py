"""Events as lines of text, for the log file of a run and for ``--verbose``."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import ClassVar

from susx_bench.console import printable
from susx_bench.events import Advanced, Event, Failed, Finished, Job, Measured, Note, Started
from susx_bench.logs.base import RunLog
from susx_bench.records.files import make_folder

_EVERY = 30.0  # seconds between two lines about progress


class Lines:
    """Turns events into lines; progress gives one every half minute.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: dict[Job, float] = {}
        self._reported: dict[Job, float] = {}

    def of(self, event: Event) -> str:
        """The line of an event; empty for an event without one."""
        now = self._clock()
        match event:
            case Note(text, level):
                return f"{level}: {text}"
            case Started(job):
                begun = self._began.setdefault(job, now)
                self._reported[job] = now
                return f"{'started' if begun == now else 'counting'} {_counted(job)}"
            case Advanced(job) if now - self._reported.get(job, now) >= _EVERY:
                self._reported[job] = now
                return _counted(job)
            case Measured(path, record):
                return f"measured {record.method} on {record.dataset}: {record.accuracy:.2f} {path}"
            case Failed(job, reason):
                return f"failed: {reason}"
            case Finished(job, complete):
                seconds = now - self._began.pop(job, now)
                self._reported.pop(job, None)
                ended = "finished" if complete else "broken off"
                return f"{ended} {_counted(job)} in {seconds:.1f} s"
        return ""


def _counted(job: Job) -> str:
    of = "" if job.total is None else f" of {job.total:,.0f}"
    return f"{job.what}: {job.done:,.0f}{of} {job.unit}"


class LogFile(RunLog):
    """A file of lines with their times; it is begun by the first work of the run.

    Args:
        folder: As in the base.
        run: As in the base.
        head: The first line.
    """

    name: ClassVar[str] = "file"

    def __init__(self, folder: Path, run: str, head: str) -> None:
        super().__init__(folder, run)
        self._lines = Lines()
        self._waiting = [self._timed(head)]
        self._file: TextIOWrapper | None = None

    @property
    def path(self) -> Path:
        """The file, which exists only if the run had work to do."""
        return self.folder / f"{self.run}.log"

    def __call__(self, event: Event) -> None:
        if line := self._lines.of(event):
            self._waiting.append(self._timed(line))
        if self._file is None:
            if isinstance(event, Note | Started | Finished):
                return  # a run without work leaves no file
            make_folder(self.folder)
            self._file = self.path.open("x", encoding="utf-8", errors="backslashreplace")
        self._flush(self._file)

    def close(self) -> None:
        if self._file is not None:
            self._flush(self._file)
            self._file.close()

    def _flush(self, file: TextIOWrapper) -> None:
        file.writelines(self._waiting)
        file.flush()
        self._waiting.clear()

    @staticmethod
    def _timed(line: str) -> str:
        return f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {printable(line)}\n"
