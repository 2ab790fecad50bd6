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
    """What went wrong, in one line."""
    told = " ".join(str(error).split())
    if isinstance(error, BenchError):
        return told
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def write_failure(
    record: Path, facts: Mapping[str, object], error: BaseException, reason: str
) -> Path:
    """Write the mark: the reason in the first line, then the cell, then the traceback.

    Args:
        record: Where the record would lie.
        facts: What was tried, by name.
        error: What was raised.
        reason: What went wrong, in one line.

    Returns:
        Where the mark lies.
    """
    lines = [reason, "", *(f"{name}: {value}" for name, value in facts.items()), ""]
    told = printable_lines("".join(traceback.format_exception(error)))
    path = failure_path(record)
    write_atomic(path, "\n".join([*map(printable, lines), told]).encode())
    return path


def clear_failure(record: Path) -> None:
    """Remove the mark, where there is one: the cell has a record, or needs none."""
    failure_path(record).unlink(missing_ok=True)
