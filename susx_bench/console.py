"""Consoles: results to stdout, progress and notes to stderr, and only from rank 0.

Names come from files that others made. Whatever they contain, they are printed as one line of
text: `PlainConsole` applies `printable` to everything that it prints.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

_WIDE = 400  # columns without a terminal: a table in a file is never cut or folded
_ENDLESS = 100_000


_JOINERS = "\u200c\u200d"  # invisible, and part of words in Persian or Hindi

_rank = 0
"""Rank of this process among the requested ones; see `speak_as`."""
_quiet = False
"""Whether progress and notes are left out; see `be_quiet`."""


def speak_as(rank: int) -> None:
    """Let this process print its results and notes if it is rank 0, else only errors."""
    global _rank
    _rank = rank


def be_quiet(*, quiet: bool) -> None:
    """Let this process print results, warnings and errors, but no progress and no notes."""
    global _quiet
    _quiet = quiet


def own_rank() -> int:
    """The rank that `speak_as` has set."""
    return _rank


def counted(n: int, noun: str) -> str:
    """A number and a noun: ``1 record``, ``1,200 records``, ``2 classes``, ``2 replies``."""
    if n == 1:
        return f"1 {noun}"
    several = (
        f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}{'es' * noun.endswith('s') or 's'}"
    )
    return f"{n:,} {several}"


SHOWN = 5
"""Number of things that `some` lists."""


def some(things: Sequence[object]) -> str:
    """List the first of some things, and the number of the others."""
    more = f" and {len(things) - SHOWN:,} more" if len(things) > SHOWN else ""
    return ", ".join(map(str, things[:SHOWN])) + more


FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that begin a formula; the last four are the wide ones of Japanese keyboards."""


def printable(text: str) -> str:
    r"""Escape a text into one line without control characters, safe to print on a terminal.

    A character without a glyph is written as in Python: ``\x1b`` for an escape, ``\n`` for a line
    end, ``\u202e`` for a mark that turns the direction of writing, ``\udcff`` for a byte of a file
    name that is not UTF-8.
    """
    return text if text.isprintable() else "".join(map(_glyph, text))


def printable_lines(text: str) -> str:
    """Escape each line of a text, as `printable` does."""
    return "\n".join(map(printable, text.split("\n")))


def _glyph(c: str) -> str:
    if c.isprintable() or c in _JOINERS or unicodedata.category(c) == "Zs":
        return c
    return c.encode("unicode_escape").decode()


def one_line(*parts: str | tuple[str, str]) -> Text:
    """Make one line for a terminal from texts and pairs of a text and its style."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((printable(text), style) for text, style in pairs))


def several_lines(parts: Iterable[str | Text]) -> Text:
    """Make several lines for a terminal."""
    return Text("\n").join(one_line(p) if isinstance(p, str) else p for p in parts)


class PlainConsole(Console):
    """A console for untrusted texts: nothing in them is markup or moves the cursor.

    A string is printed as one line, whatever it contains, also in a cell of a table.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"highlight": False, "emoji": False} | options))

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a string as it is: without markup, emoji and highlights."""
        plain = {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(printable(text), **(options | plain))

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Escape the segments of everything that is printed, strings or not."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)

    @property  # type: ignore[misc] # read-only here
    def size(self) -> ConsoleDimensions:
        """Never of no width, at which nothing would be printed: ``COLUMNS`` may be 0."""
        width, height = super().size
        return ConsoleDimensions(width or _WIDE, height)

    def status(self, status: RenderableType, **options: Any) -> Status:
        """Show a status; a string is one line here too."""
        return super().status(one_line(status) if isinstance(status, str) else status, **options)


def stdout() -> Console:
    """The console for results."""
    console = PlainConsole(quiet=_rank != 0)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def print_whole(console: Console, part: RenderableType) -> None:
    """Print a renderable; a table too wide for the terminal is split, and no name is cut."""
    if isinstance(part, Group):
        for renderable in part.renderables:
            print_whole(console, renderable)
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
    """Split a table into tables that are no wider than the terminal.

    Names wrap between their words. Columns that do not fit go into further tables, which begin
    with the same names.
    """
    width, columns = console.width, table.columns
    if _width(console, table).maximum <= width:
        return [table]
    right = [i for i, column in enumerate(columns) if column.justify == "right"]
    names = list(range(right[0] if right and right[0] else 1))
    # A single column of names is not wrapped, unless it leaves no room for another column.
    wrap = len(names) > 1 or _width(console, _part(table, [], [0], False)).maximum > width - 16
    parts: list[list[int]] = [[]]
    for i in range(len(names), len(columns)):
        if parts[-1] and _needs(console, _part(table, names, [*parts[-1], i], wrap)) > width:
            parts.append([])
        parts[-1].append(i)
    fitting = [_part(table, names, part, wrap) for part in parts]
    fitting[0].title, fitting[-1].caption = table.title, table.caption
    return fitting


def _part(table: Table, names: Sequence[int], others: Sequence[int], wrap: bool) -> Table:
    """Some columns of a table; `names` may `wrap`, another column only if it fills the line."""
    part = Table(
        box=table.box,
        pad_edge=table.pad_edge,
        collapse_padding=table.collapse_padding,
        show_edge=table.show_edge,
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
    """Terminal columns that a table needs if no word is cut or folded."""
    slack = 0
    for column in part.columns:
        if not column.no_wrap:
            measures = [_width(console, cell) for cell in [column.header, *column.cells]]
            slack += max(m.maximum for m in measures) - max(m.minimum for m in measures)
    return _width(console, part).maximum - slack


def _width(console: Console, part: RenderableType) -> Measurement:
    return console.measure(part, options=console.options.update(width=_ENDLESS))


def print_error(message: str) -> None:
    """Print the one line of an error, whatever this process's rank.

    On a terminal the line breaks between words, and a command between backticks stays whole, so
    that it can be pasted. In a file or a pipe it is one line.
    """
    console = PlainConsole(stderr=True, soft_wrap=True)
    lines = broken(message, console.width) if console.is_terminal else [message]
    for line in lines:
        console.print(line, style="red")


def broken(message: str, width: int) -> list[str]:
    """Wrap a message to a width; longer words and commands stay whole."""
    whole = re.sub("`[^`]+`", lambda found: found[0].replace(" ", "\0"), printable(message))
    lines = wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def stderr(*, warnings: bool = False) -> Console:
    """The console for progress and notes.

    Args:
        warnings: Whether it is for warnings, which change how a result is read and are printed
            even after `be_quiet`.
    """
    return PlainConsole(stderr=True, quiet=_rank != 0 or (_quiet and not warnings), soft_wrap=True)
