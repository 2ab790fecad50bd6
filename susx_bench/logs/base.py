"""Logs of a run besides the terminal: a file in the results folder, and logs of plugins."""

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
    """A log of one run: receives every event, see `susx_bench.events`.

    A log that raises is dropped, and the run continues.

    Args:
        folder: Folder of its files, if it has any; made when the first is written.
        run: Name of the run, valid as a file name: the time of its start, and a unique suffix.

    Attributes:
        name: Its name for ``--log``.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder
        self.run = run

    @abstractmethod
    def __call__(self, event: Event) -> None:
        """Receive an event. `susx_bench.events.Measured` has a record, as soon as it is written."""

    def close(self) -> None:  # noqa: B027 - nothing to do is the usual case
        """Close the log after the last event, also if an error ended the run."""


class Logged:
    """Passes events to a listener and to logs: a context manager that closes the logs.

    Args:
        report: Receives every event, and the reason if a log is dropped.
        logs: Receive every event.
    """

    def __init__(self, report: Listener, logs: Sequence[RunLog]) -> None:
        self._report = report
        self._logs = list(logs)
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        self._report(event)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        with self._lock:  # several threads report progress
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
