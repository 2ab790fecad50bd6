"""Where words go: results to stdout, progress and notes to stderr, and only from rank 0.

Names come from files that others made. Whatever is in them, they are printed as one line of text:
`PlainConsole` sees to it for all that is printed, and `printable` is what it does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

_WIDE = 400  # columns where there is no terminal: a table is never cut or folded in a file
_ENDLESS = 100_000


_JOINERS = "\u200c\u200d"  # invisible, and part of words in Persian or Hindi

_rank = 0
"""This process's place among those that the command asked for; see `speak_as`."""
_quiet = False
"""Whether progress and notes are left out; see `be_quiet`."""


def speak_as(rank: int) -> None:
    """Let this process print its results and notes if it is rank 0, and else its errors alone."""
    global _rank
    _rank = rank


def be_quiet(*, quiet: bool) -> None:
    """Let this process print results, warnings and errors, and no progress and notes."""
    global _quiet
    _quiet = quiet


def own_rank() -> int:
    """The rank that `speak_as` was told."""
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
"""Things that `some` names."""


def some(things: Sequence[object]) -> str:
    """The first of some things, and how many more there are."""
    more = f" and {len(things) - SHOWN:,} more" if len(things) > SHOWN else ""
    return ", ".join(map(str, things[:SHOWN])) + more


FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with; the last four are the wide letters of Japanese keyboards."""


def printable(text: str) -> str:
    r"""A text as one line that a terminal shows and does not obey.

    What has no glyph is written as in Python: ``\x1b`` for an escape, ``\n`` for a line's end,
    ``\u202e`` for a mark that turns the direction of writing, ``\udcff`` for a byte of a file name
    that is no UTF-8.
    """
    return text if text.isprintable() else "".join(map(_glyph, text))


def printable_lines(text: str) -> str:
    """The same for each line of a text of several."""
    return "\n".join(map(printable, text.split("\n")))


def _glyph(c: str) -> str:
    if c.isprintable() or c in _JOINERS or unicodedata.category(c) == "Zs":
        return c
    return c.encode("unicode_escape").decode()


def one_line(*parts: str | tuple[str, str]) -> Text:
    """One line for a terminal, of texts and of pairs of a text and its style."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((printable(text), style) for text, style in pairs))


def several_lines(parts: Iterable[str | Text]) -> Text:
    """Several lines for a terminal."""
    return Text("\n").join(one_line(p) if isinstance(p, str) else p for p in parts)


class PlainConsole(Console):
    """A console for texts that others wrote: nothing in them is markup, or moves the cursor.

    A string is one line, whatever is in it, also in the cell of a table.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"highlight": False, "emoji": False} | options))

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as it is: without markup, emoji and highlights."""
        plain = {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(printable(text), **(options | plain))

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """All that is printed, also what was no string, passes here."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)

    def status(self, status: RenderableType, **options: Any) -> Status:
        """Show what is going on; a string is one line here, too."""
        return super().status(one_line(status) if isinstance(status, str) else status, **options)


def stdout() -> Console:
    """The console for results."""
    console = PlainConsole(quiet=_rank != 0)
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
    """Columns of a terminal that a table takes without cutting or folding a word."""
    slack = 0
    for column in part.columns:
        if not column.no_wrap:
            each = [_width(console, cell) for cell in [column.header, *column.cells]]
            slack += max(m.maximum for m in each) - max(m.minimum for m in each)
    return _width(console, part).maximum - slack


def _width(console: Console, part: RenderableType) -> Measurement:
    return console.measure(part, options=console.options.update(width=_ENDLESS))


def print_error(message: str) -> None:
    """Print the one line of an error, whatever this process's rank.

    A terminal gets it broken between words, and a command between backticks stays whole, so that
    it can be pasted. A file or a pipe gets one line.
    """
    console = PlainConsole(stderr=True, soft_wrap=True)
    lines = broken(message, console.width) if console.is_terminal else [message]
    for line in lines:
        console.print(line, style="red")


def broken(message: str, width: int) -> list[str]:
    """A message as lines no longer than a width, but for words and commands that are longer."""
    whole = re.sub("`[^`]+`", lambda found: found[0].replace(" ", "\0"), printable(message))
    lines = wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def stderr(*, warnings: bool = False) -> Console:
    """The console for progress and notes.

    Args:
        warnings: Whether what is printed on it changes how a result is read, and is printed also
            where nothing else is, see `be_quiet`.
    """
    return PlainConsole(stderr=True, quiet=_rank != 0 or (_quiet and not warnings), soft_wrap=True)
