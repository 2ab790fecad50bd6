"""Events that the library sends to a listener while it works. Nothing here prints.

A listener is a function that takes an `Event`. The default one, `ignore`, does nothing; the command
line's shows bars and lines, see `susx_bench.progress`.
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
    """A line for the user.

    Attributes:
        text: The line, not escaped: names in it come from files.
        level: ``warning`` if the line may change how a result is read, else ``note``.
    """

    text: str
    level: Literal["note", "warning"] = "note"


@dataclass(frozen=True)
class Started:
    """Counting begins: `Job.total` units are to be done, `Job.done` of them are done already.

    It may begin again for the same job, if the total was not known before.
    """

    job: Job


@dataclass(frozen=True)
class Advanced:
    """`count` more units are done; parts of one count too."""

    job: Job
    count: float


@dataclass(frozen=True)
class Changed:
    """The job has a new name."""

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
        complete: Whether the job finished; else an error ended it.
    """

    job: Job
    complete: bool


@dataclass(frozen=True)
class Measured:
    """A cell was measured, and its record is written.

    Attributes:
        path: Path of the record.
        record: The record.
    """

    path: Path
    record: Record


Event = Measured | Note | Started | Advanced | Changed | Failed | Finished
Listener = Callable[[Event], object]


def ignore(event: Event) -> None:
    """Listen and do nothing."""


class Job:
    """Work that is counted: a context manager that reports its progress to a listener.

    Args:
        listen: The listener.
        what: Name of the work, such as ``encoding digits``.
        unit: Name of the counted units, in the plural.
        total: Number of units; None while it is unknown.
        done: Number of units that are done already.

    Attributes:
        what: See above; `say` changes it.
        unit: See above.
        total: See above; `begin` changes it.
        done: Number of units done so far.
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
        """Restart the count with this total, of which some units are done already."""
        self.total, self.done = total, done
        self._listen(Started(self))

    def advance(self, count: float = 1) -> None:
        """Count more units as done."""
        self.done += count
        self._listen(Advanced(self, count))

    def say(self, what: str) -> None:
        """Rename the job after its current work."""
        self.what = what
        self._listen(Changed(self))

    def fail(self, reason: str, count: int = 1) -> None:
        """Count failed units as done."""
        self.done += count
        self._listen(Failed(self, reason, count))
