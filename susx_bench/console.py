"""Where words go: results to stdout, progress and notes to stderr, and only from rank 0."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table

_WIDE = 400  # columns where there is no terminal: a table is never cut or folded in a file
_ENDLESS = 100_000


def is_main_process() -> bool:
    """Whether this process prints and writes: rank 0, before and after the processes launch."""
    names = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def counted(n: int, noun: str) -> str:
    """``1 record``, ``1,200 records``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def stdout() -> Console:
    """The console for results."""
    console = Console(quiet=not is_main_process(), highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def print_whole(console: Console, part: RenderableType) -> None:
    """Print something; a table too wide for the terminal goes on below, and no name is cut."""
    if isinstance(part, Group):
        for each in part.renderables:
            print_whole(console, each)
    elif not isinstance(part, Table):
        console.print(part)
    elif console.is_terminal:
        for table in fitted(console, part):
            console.print(table)
    else:
        width = console.width
        console.width = max(width, _width(console, part).maximum)
        console.print(part)
        console.width = width


def fitted(console: Console, table: Table) -> list[Table]:
    """A table as one or more that are no wider than a terminal.

    Names wrap between their words. Columns that do not fit stand in further tables, which begin
    with the same names.
    """
    width, columns = console.width, table.columns
    if _width(console, table).maximum <= width:
        return [table]
    right = [i for i, column in enumerate(columns) if column.justify == "right"]
    names = list(range(right[0] if right and right[0] else 1))
    # One name stays whole, unless that leaves no room for anything beside it.
    wrap = len(names) > 1 or _width(console, _part(table, [], [0], False)).maximum > width - 16
    parts: list[list[int]] = [[]]
    for i in range(len(names), len(columns)):
        if parts[-1] and _needs(console, _part(table, names, [*parts[-1], i], wrap)) > width:
            parts.append([])
        parts[-1].append(i)
    found = [_part(table, names, part, wrap) for part in parts]
    found[0].title, found[-1].caption = table.title, table.caption
    return found


def _part(table: Table, names: Sequence[int], others: Sequence[int], wrap: bool) -> Table:
    """Some columns of a table; `names` may `wrap`, the others only where one fills the line."""
    part = Table(
        box=table.box,
        pad_edge=table.pad_edge,
        collapse_padding=table.collapse_padding,
        title_justify=table.title_justify,
        caption_justify=table.caption_justify,
    )
    cells = []
    for i in [*names, *others]:
        column = table.columns[i]
        wraps = wrap if i in names else len(others) < 2 and bool(names)
        part.add_column(column.header, justify=column.justify, no_wrap=not wraps, overflow="fold")
        cells.append(list(column.cells))
    for row in zip(*cells, strict=True):
        part.add_row(*row)
    return part


def _needs(console: Console, part: Table) -> int:
    """Columns of a terminal that a table takes without cutting or folding a word."""
    slack = 0
    for column in part.columns:
        if not column.no_wrap:
            each = [_width(console, cell) for cell in [column.header, *column.cells]]
            slack += max(m.maximum for m in each) - max(m.minimum for m in each)
    return _width(console, part).maximum - slack


def _width(console: Console, part: RenderableType) -> Measurement:
    return console.measure(part, options=console.options.update(width=_ENDLESS))


def stderr() -> Console:
    """The console for progress and notes."""
    return Console(
        stderr=True, quiet=not is_main_process(), highlight=False, emoji=False, soft_wrap=True
    )
