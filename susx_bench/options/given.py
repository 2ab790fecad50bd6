"""Check the values of Python calls by the types of the options, before anything starts."""

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
    """Convert a value by an option's type.

    Args:
        name: Name of the argument, for messages.
        kind: The type.
        value: The value.
        error: Class of the error if the type refuses it.
    """
    if isinstance(value, str) and isinstance(kind, click.Choice | click.types.BoolParamType):
        value = shortened(value)  # click repeats the whole value in its message
    try:
        return kind.convert(value, None, None)
    except click.UsageError as refused:
        line = printable(refused.message.rstrip("."))
        raise error(f"{name}: {line}.") from refused
    except Exception as refused:  # a value that cannot come from a command line may raise anything
        raise error(f"{name}: {shown(value)} is no {kind.name}.") from refused


def several(value: Any) -> tuple[Any, ...]:
    """One value or several, as a tuple; a text or a path is one value."""
    if isinstance(value, str | bytes | PathLike) or not isinstance(value, Iterable):
        return (value,)
    try:
        return tuple(value)
    except TypeError:  # an array without dimensions
        return (value,)
