"""Where words go: results to stdout, progress and notes to stderr, and only from rank 0."""

from __future__ import annotations

import os

from rich.console import Console, RenderableType
from rich.table import Table

_WIDE = 400  # columns where there is no terminal: a table is never cut or folded in a file
_ENDLESS = 100_000


def is_main_process() -> bool:
    """Whether this process prints and writes: rank 0, before and after the processes launch."""
    names = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def stdout() -> Console:
    """The console for results."""
    console = Console(quiet=not is_main_process(), highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def print_whole(console: Console, part: RenderableType) -> None:
    """Print something; a table too wide for the terminal wraps there, and is never cut."""
    width = console.width
    if isinstance(part, Table):
        endless = console.options.update(width=_ENDLESS)
        console.width = max(width, console.measure(part, options=endless).maximum)
    console.print(part)
    console.width = width


def stderr() -> Console:
    """The console for progress and notes."""
    return Console(
        stderr=True, quiet=not is_main_process(), highlight=False, emoji=False, soft_wrap=True
    )
