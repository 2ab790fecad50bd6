"""A board for a terminal: best first, and 80 columns hold five columns of numbers."""

from __future__ import annotations

from collections import Counter
from typing import Final

from rich import box
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table as RichTable

from susx_bench.console import one_line, several_lines
from susx_bench.leaderboard.board import TOLD, UNRANKED, Board
from susx_bench.leaderboard.formats.notes import facts, notes
from susx_bench.leaderboard.formats.sheet import Item, Rows, Sheet, number, sheets

MOST: Final = 400
"""Columns that a terminal shows. Of more nobody reads the tables there, and to lay them out takes
longer than all else."""


def terminal(board: Board) -> list[RenderableType]:
    """The board for a terminal: heading, tables and notes; without tables where they are many."""
    heading = several_lines([one_line((board.title, "bold")), facts(board)])
    if (count := len(board.columns)) > MOST:
        line = f"{count:,} columns, more than are shown here: the files and the page have them."
        return [heading, one_line(line), several_lines(notes(board))]
    return [heading, *tables(board), several_lines(notes(board))]


def tables(board: Board) -> list[RenderableType]:
    """The tables of a board, without heading and notes."""
    parts: list[RenderableType] = []
    for sheet in sheets(board, short=True):
        if sheet.title:
            parts.append(one_line((sheet.title, "bold")))
        parts += _sections(sheet)
    return parts


def repeated(board: Board) -> list[str]:
    """The intervals that `tables` leaves out: of rows that have one number in all columns."""
    return [
        f"{row.method} {''.join(number(cell, board.metric.digits))}"
        for row in board.rows
        if row.repeats
        and (cell := next(cell for cell in row.cells if cell)).spread is None
        and cell.low is not None
    ]


def _sections(sheet: Sheet) -> list[RenderableType]:
    """One table per section; their columns are aligned."""
    named: list[tuple[str, Rows]] = []
    for label, rows in sheet.sections:
        if sheet.head[1] != "tuned on":
            named.append((label, rows))
            continue
        tunings = Counter(row[1].text for row in rows if row[1].text != "–")
        usual = max(tunings, key=tunings.__getitem__, default="")
        heading = label
        if usual and not label.endswith(TOLD.get(usual, usual)):
            heading = " · ".join(part for part in (label, TOLD.get(usual, usual)) if part)
        named.append((heading, [_joined(row, usual) for row in rows]))
    head = [sheet.head[0], *sheet.head[2:]] if sheet.head[1] == "tuned on" else sheet.head
    first = len(head) - sheet.numbers
    marks = [
        max(cell_len(row[place].rest) for _, rows in named for row in rows)
        for place in range(len(head))
    ]
    padded = [
        (label, [[_padded(item, marks[i]) if i >= first else item for i, item in enumerate(row)]
                 for row in rows])
        for label, rows in named
    ]  # fmt: skip
    widths = [
        max(cell_len(row[place].text + row[place].rest) for _, rows in padded for row in rows)
        for place in range(len(head))
    ]
    parts: list[RenderableType] = []
    for label, rows in padded:
        parts.append(several_lines(["", *([one_line((label, "italic"))] if label else [])]))
        table = RichTable(
            box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False
        )
        for place, (name, width) in enumerate(zip(head, widths, strict=True)):
            numbers = place >= first
            table.add_column(
                name,
                justify="right" if numbers else "left",
                no_wrap=numbers,
                min_width=width if numbers or width <= 24 else None,
            )
        for row in rows:
            table.add_row(*map(_rich_item, row))
        parts.append(table)
    return parts


def _joined(row: list[Item], usual: str) -> list[Item]:
    """A row with its tuning in its name, if the heading does not name it."""
    name, tuning, *rest = row
    marks = name.rest.strip() + "".join(mark for mark in tuning.rest if mark in UNRANKED)
    text = name.text if tuning.text in ("–", usual) else f"{name.text} · {tuning.text}"
    return [Item(text, f" {marks}" if marks else ""), *rest]


def _padded(item: Item, width: int) -> Item:
    """Pad a number with blanks in place of marks, so that digits are aligned."""
    return item._replace(rest=item.rest + " " * (width - cell_len(item.rest)))


def _rich_item(item: Item) -> RenderableType:
    style = ("", "bold", "underline")[item.place]
    return one_line((item.text, style), item.rest)
