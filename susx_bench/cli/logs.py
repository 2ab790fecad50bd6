"""The logs of a run: its file in the results folder, ``--verbose`` and ``--log``."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from rich.console import Console

from susx_bench.console import own_rank
from susx_bench.events import Event, Failed, Note
from susx_bench.logs.base import FOLDER, RunLog
from susx_bench.logs.lines import Lines, LogFile
from susx_bench.registry import LOGS


def logs_of(
    out: Path, names: Sequence[str] | None, notes: Console, *, verbose: bool
) -> list[RunLog]:
    """The logs of a run; none on ranks other than 0.

    Args:
        out: Folder of the results.
        names: Names of logs, from ``--log``.
        notes: Console for ``--verbose``.
        verbose: Whether ``--verbose`` is set.

    Raises:
        UnknownNameError: If no log has one of the names.
        PackageMissingError: If the package that a log needs is not installed.
    """
    if own_rank() != 0:
        return []
    folder = out / FOLDER
    # Runs that begin in the same second, also on several machines, get different files.
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
    head = f"susx-bench {version('susx-bench')}: {shlex.join(['susx-bench', *sys.argv[1:]])}"
    logs: list[RunLog] = [LogFile(folder, run, head)]
    if verbose:
        logs.append(_Verbose(folder, run, notes))
    return [*logs, *(LOGS.get(name)(folder, run) for name in names or ())]


class _Verbose(RunLog):
    """Prints all events that are not printed anyway."""

    name: ClassVar[str] = "verbose"

    def __init__(self, folder: Path, run: str, notes: Console) -> None:
        super().__init__(folder, run)
        self._lines, self._notes = Lines(), notes

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Note | Failed) and (line := self._lines.of(event)):
            self._notes.print(line)
