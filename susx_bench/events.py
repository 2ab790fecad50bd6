"""What the library tells while it works, for whoever listens. Nothing here prints.

A listener is a function that takes an `Event`. The default one, `ignore`, does nothing; that of the
command line shows bars and lines, see `susx_bench.progress`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from susx_bench.records.record import Record


@dataclass(frozen=True)
class Note:
    """A line for whoever runs the library.

    Attributes:
        text: The line, not escaped: names in it come from files.
        level: ``warning`` for what may change how a result is read, else ``note``.
    """

    text: str
    level: Literal["note", "warning"] = "note"


@dataclass(frozen=True)
class Started:
    """Counting begins: `Job.total` units are to be done, `Job.done` of them are done already.

    It may begin anew for the same job, where the total was not known before.
    """

    job: Job


@dataclass(frozen=True)
class Advanced:
    """`count` more units are done; parts of one count too."""

    job: Job
    count: float


@dataclass(frozen=True)
class Changed:
    """The job is called otherwise now."""

    job: Job


@dataclass(frozen=True)
class Failed:
    """`count` units failed, for a reason in one line. They are counted as done."""

    job: Job
    reason: str
    count: int = 1


@dataclass(frozen=True)
class Finished:
    """Counting ended.

    Attributes:
        job: The job.
        complete: Whether it came to its end; else an error ended it.
    """

    job: Job
    complete: bool


@dataclass(frozen=True)
class Measured:
    """A cell was measured, and its record is written.

    Attributes:
        path: Where the record lies.
        record: The record.
    """

    path: Path
    record: Record


Event = Measured | Note | Started | Advanced | Changed | Failed | Finished
Listener = Callable[[Event], object]


def ignore(event: Event) -> None:
    """Listen, and do nothing."""


class Job:
    """Something that is counted while it is done: a context manager that tells a listener.

    Args:
        listen: The listener.
        what: What is being done, such as ``encoding digits``.
        unit: What is counted, in the plural.
        total: How many there are; None while nobody knows.
        done: How many of them are done already.

    Attributes:
        what: See above; `say` changes it.
        unit: See above.
        total: See above; `begin` changes it.
        done: How many are done by now.
    """

    def __init__(
        self,
        listen: Listener,
        what: str,
        unit: str,
        total: float | None = None,
        done: float = 0,
    ) -> None:
        self._listen = listen
        self.what = what
        self.unit = unit
        self.total = total
        self.done = done

    def __enter__(self) -> Job:
        self._listen(Started(self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listen(Finished(self, complete=kind is None))

    def begin(self, total: float | None, done: float = 0) -> None:
        """Count anew: there are so many, and some are done already."""
        self.total, self.done = total, done
        self._listen(Started(self))

    def advance(self, count: float = 1) -> None:
        """Count some more."""
        self.done += count
        self._listen(Advanced(self, count))

    def say(self, what: str) -> None:
        """Call the job otherwise: what is being done now."""
        self.what = what
        self._listen(Changed(self))

    def fail(self, reason: str, count: int = 1) -> None:
        """Count some that failed."""
        self.done += count
        self._listen(Failed(self, reason, count))
