"""The mark of a cell that failed, in the place of its record until it succeeds."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path

from susx_bench.console import printable, printable_lines
from susx_bench.errors import BenchError
from susx_bench.records.files import write_atomic

SUFFIX = ".failed.txt"


def failure_path(record: Path) -> Path:
    """Where the mark of a failed cell lies: ``METHOD-<input hash>.failed.txt``."""
    return record.with_suffix(SUFFIX)


def reason_of(error: BaseException) -> str:
    """The reason of an error, in one line."""
    message = " ".join(str(error).split())
    if isinstance(error, BenchError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def write_failure(
    record: Path, facts: Mapping[str, object], error: BaseException, reason: str
) -> Path:
    """Write the mark: the reason in the first line, then the cell, then the traceback.

    Args:
        record: Path at which the record would lie.
        facts: The inputs of the cell, by name.
        error: The exception.
        reason: Its reason, in one line.

    Returns:
        The path of the mark.
    """
    lines = [reason, "", *(f"{name}: {value}" for name, value in facts.items()), ""]
    trace = printable_lines("".join(traceback.format_exception(error)))
    path = failure_path(record)
    write_atomic(path, "\n".join([*map(printable, lines), trace]).encode())
    return path


def clear_failure(record: Path) -> None:
    """Remove the mark, if any: the cell has a record, or needs none."""
    failure_path(record).unlink(missing_ok=True)
