"""A board as HTML tables."""

from __future__ import annotations

import html

from susx_bench.console import printable
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.formats.sheet import Item, sheets


def html_tables(board: Board, *, titled: bool = False) -> str:
    """The board's tables as HTML without a page; if `titled`, below the board's title."""
    lines = [f"<p><strong>{_html(board.title)}</strong></p>"] if titled else []
    for sheet in sheets(board):
        names = len(sheet.head) - sheet.numbers
        lines.append("<table>")
        if sheet.title:
            lines.append(f"<caption>{_html(sheet.title)}</caption>")
        head = "".join(f'<th scope="col">{_html(name)}</th>' for name in sheet.head)
        lines += [f"<thead><tr>{head}</tr></thead>", "<tbody>"]
        for label, rows in sheet.sections:
            if label:
                span = f'colspan="{len(sheet.head)}" scope="rowgroup"'
                lines.append(f"<tr><th {span}>{_html(label)}</th></tr>")
            for row in rows:
                first = f'<th scope="row">{_html_item(row[0])}</th>'
                words = "".join(f"<td>{_html_item(item)}</td>" for item in row[1:names])
                values = "".join(
                    f'<td class="number">{_html_item(item)}</td>' for item in row[names:]
                )
                lines.append(f"<tr>{first}{words}{values}</tr>")
        lines += ["</tbody>", "</table>"]
    return "\n".join(lines) + "\n"


def _html(text: str) -> str:
    return html.escape(printable(text))


def _html_item(item: Item) -> str:
    text = _html(item.text)
    if item.place:
        text = f"<strong>{text}</strong>" if item.place == 1 else f"<u>{text}</u>"
    return text + _html(item.rest)
