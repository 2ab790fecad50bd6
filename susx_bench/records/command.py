"""The command that measures a cell again, from its record alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from susx_bench.options.run import RunOptions
from susx_bench.records.record import Record


def options(record: Record) -> dict[str, Any]:
    """The options of ``susx-bench run`` that ask for a record's cell, by their Python names.

    A record holds no path of a feature bundle or of a method's file: placeholders of
    `susx_bench.options.run` stand for them.
    """
    return RunOptions.asked(record)


def command(record: Record) -> str:
    """The command line that measures a record's cell again."""
    return command_line(options(record))


def command_line(asked: Mapping[str, Any]) -> str:
    """``susx-bench run`` with these options, quoted for a shell."""
    return " ".join(["susx-bench run", *(_words(*option) for option in asked.items())])


@lru_cache(10_000, typed=True)  # thousands of commands share most of their options
def _words(name: str, value: Any) -> str:
    spelling = RunOptions.declared()[name].spelling(name)
    return shlex.join([spelling] if value is True else [spelling, str(value)])
