"""The tables of a board, independent of a format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from susx_bench.leaderboard.board import (
    UNRANKED,
    Board,
    Cell,
    Column,
    Compared,
    Group,
    Ranks,
    Row,
)
from susx_bench.leaderboard.formats.notes import LEVEL
from susx_bench.leaderboard.metrics import ACCURACY
from susx_bench.leaderboard.robustness import drops

_WIDE = 12  # columns of numbers after which the next group starts a new table


class Item(NamedTuple):
    """One entry of a table, not yet escaped.

    Attributes:
        text: The part that may be bold or underlined.
        rest: The part after it.
        place: 1 for bold, 2 for underlined, 0 for neither.
    """

    text: str
    rest: str = ""
    place: int = 0


Rows = list[list[Item]]
"""Rows of entries, one entry per column."""


class Sheet(NamedTuple):
    """A table, independent of a format.

    Attributes:
        title: Text above it; may be empty.
        head: Names of the columns.
        sections: Pairs of a section's label and its rows; the label of an only section is empty.
        numbers: Number of columns, from the right, that hold numbers.
    """

    title: str
    head: list[str]
    sections: list[tuple[str, Rows]]
    numbers: int


def sheets(board: Board, *, short: bool = False) -> list[Sheet]:
    """The tables of a board: the numbers, then ranks and published figures, if any.

    Args:
        board: The leaderboard.
        short: Whether to keep columns narrow: without the interval of a row that has one number
            in all columns, and without the blank before an arrow.
    """
    parts = _parts(board)
    tables = [_numbers(board, part, titled=len(parts) > 1, short=short) for part in parts]
    if fallen := drops(board):
        tables += [_robustness(board, group, fallen) for group in board.groups]
        tables = [sheet for sheet in tables if sheet.numbers]
    if ranked := [ranks for ranks in board.ranks if ranks.ranking.datasets > 1]:
        tables.append(_ranks(board, ranked))
    if any(cell.published for row in board.rows for cell in row.cells if cell):
        tables.append(_published(board))
    return tables


def _parts(board: Board) -> list[list[int]]:
    """The groups of each table: as many as fit side by side, at least one."""
    parts: list[list[int]] = []
    width = 0
    for place, group in enumerate(board.groups):
        size = len(group.columns)
        if not parts or width + size > _WIDE:
            parts.append([])
            width = 0
        parts[-1].append(place)
        width += size
    return parts


def _numbers(board: Board, part: Sequence[int], *, titled: bool, short: bool) -> Sheet:
    head: list[str] = []
    rows: Rows = [_name(row) for row in board.rows]
    groups = [board.groups[place] for place in part]
    for place, group in zip(part, groups, strict=True):
        for column in group.columns:
            head.append(board.columns[column].label + board.columns[column].marks)
            for items, row in zip(rows, board.rows, strict=True):
                items.append(_item(row.cells[column], row, short, board.metric.digits))
        if len(board.columns) == 1 and _classes_differ(board):
            head.append("mean over classes")
            for items, row in zip(rows, board.rows, strict=True):
                value = row.cells[0].numbers["mean_per_class"] if row.cells[0] else None
                items.append(Item("" if value is None else f"{value:.1f}"))
        if len(group.columns) > 1:
            head.append("mean" + (f", {group.label}" if group.label else ""))
            for items, row in zip(rows, board.rows, strict=True):
                average = row.averages[place]
                shown = "" if average is None else f"{average:.{board.metric.digits}f}"
                items.append(Item(shown))
    labels = [group.label for group in groups]
    title = " · ".join(label for label in labels if label) if titled else ""
    zero = board.zero_shot
    sections = []
    for section in board.sections:
        section_rows = [rows[i] for i in section.rows]
        if zero is not None and zero not in section.rows:
            section_rows.append([item._replace(place=0) for item in rows[zero]])
        sections.append((section.label, section_rows))
    if len(sections) == 1:
        sections = [("", rows)]
    return Sheet(title, ["method", "tuned on", *head], sections, len(head))


def _robustness(board: Board, group: Group, fallen: list[list[float | None]]) -> Sheet:
    """The robustness sets of a group, with the differences from their clean test sets."""
    columns = [c for c in group.columns if any(row[c] is not None for row in fallen)]
    head = ["method", "tuned on"]
    for c in columns:
        column, clean = board.columns[c], board.columns[board.columns[c].clean or 0]
        head += [f"{column.label}{column.marks}", f"below {clean.task.dataset}{clean.marks}"]
    digits, sections = board.metric.digits, []
    for section in board.sections:
        rows: Rows = []
        for i in section.rows:
            if all(fallen[i][c] is None for c in columns):
                continue
            items = _name(board.rows[i])
            for c in columns:
                points = fallen[i][c]
                items.append(_item(board.rows[i].cells[c], board.rows[i], True, digits))
                items.append(Item("" if points is None else f"{points:.{digits}f}"))
            rows.append(items)
        if rows:
            sections.append((section.label if len(board.sections) > 1 else "", rows))
    title = " · ".join(part for part in ("Robustness", group.label) if part)
    return Sheet(title, head, sections, 2 * len(columns))


def _classes_differ(board: Board) -> bool:
    """Whether the board shows the accuracy, and the mean over classes differs from it."""
    if board.metric is not ACCURACY:
        return False
    cells = [cell for row in board.rows for cell in row.cells if cell]
    means = [(cell.numbers["mean_per_class"], cell.mean) for cell in cells]
    return any(one is not None and abs(one - other) > 1e-9 for one, other in means)


def _name(row: Row) -> list[Item]:
    """A row's first entries: the name with the regime's marks, the tuning with its own marks."""
    tuning = "".join(mark for mark in row.marks if mark in UNRANKED)
    regime = "".join(mark for mark in row.marks if mark not in UNRANKED)
    return [Item(row.label, regime), Item(row.tuning, tuning and f" {tuning}")]


def number(cell: Cell, digits: int = 1) -> tuple[str, str]:
    """A cell's mean, and its spread over several runs or its interval for one run, if any."""
    mean = f"{cell.mean:.{digits}f}"
    if cell.spread is not None:
        return mean, f" ±{cell.spread:.{digits}f}"
    if cell.low is None or cell.high is None:
        return mean, ""
    return mean, f" [{cell.low:.{digits}f}, {cell.high:.{digits}f}]"


def arrow(cell: Cell) -> str:
    """``▲`` or ``▼`` for a cell that is better or worse than the baseline's, else nothing."""
    if cell.p_holm is None or cell.gain is None or cell.p_holm >= LEVEL:
        return ""
    return "▲" if cell.gain > 0 else "▼"


def _item(cell: Cell | None, row: Row, short: bool, digits: int) -> Item:
    if cell is None:
        return Item("")
    mean, rest = number(cell, digits)
    if short and row.repeats and cell.spread is None:
        rest = ""
    marks = "".join(mark for mark in cell.marks if mark not in row.marks) + arrow(cell)
    if short:
        return Item(mean, rest + marks, cell.place)
    return Item(mean, rest + (f" {marks}" if marks else ""), cell.place)


def _ranks(board: Board, ranked: Sequence[Ranks]) -> Sheet:
    sections = []
    for ranks in ranked:
        order = sorted(zip(ranks.ranking.ranks, ranks.rows, strict=True))
        rows = [[*_name(board.rows[i]), Item(f"{rank:.2f}")] for rank, i in order]
        sections.append((ranks.label if len(board.sections) > 1 else "", rows))
    return Sheet("Average ranks", ["method", "tuned on", "rank"], sections, 1)


def _published(board: Board) -> Sheet:
    rows = []
    for row in board.rows:
        seen = set()
        for column, cell in zip(board.columns, row.cells, strict=True):
            if cell is None or cell.records in seen:
                continue  # a method without support has one number for all columns
            seen.add(cell.records)
            rows += [_beside(row, column, cell, compared) for compared in cell.published]
    head = [*("method", "tuned on", "task", "source"), *("ours", "published", "difference", "")]
    return Sheet("Beside published figures", head, [("", rows)], 4)


def _beside(row: Row, column: Column, cell: Cell, compared: Compared) -> list[Item]:
    figure = compared.figure
    source = figure.source if figure.primary else f"{figure.source} (a copy)"
    return [
        *_name(row),
        Item(column.whole),
        Item(source + (f"; {figure.note}" if figure.note else "")),
        Item(*number(cell.changed(spread=None))),
        Item(f"{figure.accuracy:.2f}"),
        Item(f"{compared.difference:+.1f}"),
        Item("inside" if compared.inside else "outside"),
    ]
