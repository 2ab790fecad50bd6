"""A board for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table as RichTable

from susx_bench.console import one_line, several_lines
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.formats.notes import facts, notes
from susx_bench.leaderboard.formats.sheet import Item, sheets


def terminal(board: Board) -> list[RenderableType]:
    """The board for a terminal: heading, tables and notes."""
    heading = several_lines([one_line((board.title, "bold")), facts(board)])
    parts: list[RenderableType] = [heading]
    for sheet in sheets(board):
        if sheet.title:
            parts.append(one_line((sheet.title, "bold")))
        for label, rows in sheet.sections:
            if label:
                parts.append(one_line((label, "italic")))
            table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
            names = len(sheet.head) - sheet.numbers
            for place, name in enumerate(sheet.head):
                numbers = place >= names
                table.add_column(name, justify="right" if numbers else "left", no_wrap=numbers)
            for row in rows:
                table.add_row(*map(_rich_item, row))
            parts.append(table)
    return [*parts, several_lines(notes(board))]


def _rich_item(item: Item) -> RenderableType:
    style = ("", "bold", "underline")[item.place]
    return one_line((item.text, style), item.rest)
