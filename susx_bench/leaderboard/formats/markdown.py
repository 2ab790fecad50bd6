"""A board as Markdown."""

from __future__ import annotations

import re

from susx_bench.console import printable
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.formats.notes import facts, notes
from susx_bench.leaderboard.formats.sheet import Item, sheets


def markdown(board: Board) -> str:
    """The board as Markdown; the introduction is not escaped, since the suite's author wrote it."""
    lines = [f"# {_md(board.title)}", ""]
    if board.text.strip():
        lines += [board.text.strip(), ""]
    lines += [f"{_md(facts(board))}.", ""]
    for sheet in sheets(board):
        if sheet.title:
            lines += [f"## {_md(sheet.title)}", ""]
        names = len(sheet.head) - sheet.numbers
        lines.append("| " + " | ".join(map(_md, sheet.head)) + " |")
        lines.append("|" + "---|" * names + "--:|" * sheet.numbers)
        for label, rows in sheet.sections:
            if label:
                blanks = [""] * (len(sheet.head) - 1)
                lines.append("| " + " | ".join([f"*{_md(label)}*", *blanks]) + " |")
            lines += ["| " + " | ".join(map(_md_item, row)) + " |" for row in rows]
        lines.append("")
    lines += [line for note in notes(board) for line in (_md(note), "")]
    return "\n".join(lines[:-1]) + "\n"


def _md(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]<>|#~&$])", r"\\\1", printable(text))
    return text.replace("://", r"\://")  # an address in a name becomes no link


def _md_item(item: Item) -> str:
    text = _md(item.text)
    if item.place:
        text = f"**{text}**" if item.place == 1 else f"<ins>{text}</ins>"
    return text + item.rest  # numbers and marks, no names
