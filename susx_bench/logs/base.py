"""What is told of a run beside the terminal: a file in the results folder, and logs of plugins."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from susx_bench.events import Event, Listener, Note

FOLDER = "logs"
"""Folder of the logs, in that of the results."""


class RunLog(ABC):
    """A log of one run: hears every event, see `susx_bench.events`.

    A log that raises is left out from there on, and the run goes on.

    Args:
        folder: Where its files go, if it has any; made when the first is written.
        run: Name of the run, fit for a file: the time of its start, and what tells it from others.

    Attributes:
        name: What ``--log`` calls it.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder
        self.run = run

    @abstractmethod
    def __call__(self, event: Event) -> None:
        """Take an event. `susx_bench.events.Measured` has a record, as soon as it is written."""

    def close(self) -> None:  # noqa: B027 - nothing to do is the usual case
        """End, after the last event; also where an error ended the run."""


class Logged:
    """A listener and some logs, heard together: a context manager, which closes the logs.

    Args:
        report: Hears everything, and why a log was left out.
        logs: Hear everything too.
    """

    def __init__(self, report: Listener, logs: Sequence[RunLog]) -> None:
        self._report = report
        self._logs = list(logs)
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        self._report(event)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        with self._lock:  # threads tell of progress
            for log in list(self._logs):
                try:
                    log(event)
                except Exception as error:
                    self._leave_out(log, error)

    def _leave_out(self, log: RunLog, error: Exception) -> None:
        self._logs.remove(log)
        self._report(Note(f"log {log.name} is left out from here on: {error!r}.", "warning"))

    def __enter__(self) -> Logged:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._tell(Note(f"ended by {type(error).__name__}: {error}".rstrip(": "), "warning"))
        for log in list(self._logs):
            try:
                log.close()
            except Exception as fault:
                self._leave_out(log, fault)
