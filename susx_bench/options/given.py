"""Values of Python calls: checked by the types of the options, before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import Any

import click

from susx_bench.console import printable
from susx_bench.errors import BenchError, OptionError
from susx_bench.options import shortened, shown


def checked(
    name: str, kind: click.ParamType[Any], value: Any, error: type[BenchError] = OptionError
) -> Any:
    """A value as an option's type has it.

    Args:
        name: What the argument is called, for messages.
        kind: The type.
        value: What was given.
        error: What is raised where the type refuses it.
    """
    if isinstance(value, str) and isinstance(kind, click.Choice | click.types.BoolParamType):
        value = shortened(value)  # click repeats the whole of it
    try:
        return kind.convert(value, None, None)
    except click.UsageError as refused:
        line = printable(refused.message.rstrip("."))
        raise error(f"{name}: {line}.") from refused
    except Exception as refused:  # a value that no command line can have may raise anything
        raise error(f"{name}: {shown(value)} is no {kind.name}.") from refused


def several(value: Any) -> tuple[Any, ...]:
    """One value or several, as a tuple; a text and a path are one."""
    if isinstance(value, str | bytes | PathLike) or not isinstance(value, Iterable):
        return (value,)
    try:
        return tuple(value)
    except TypeError:  # an array without dimensions
        return (value,)
