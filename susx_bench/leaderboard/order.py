"""Order the rows of each section of a table: the best first."""

from __future__ import annotations

import math
from dataclasses import replace

from susx_bench.leaderboard.board import Board, Section


def best_first(board: Board) -> Board:
    """Put the rows of each section of a board into the order of a table: the best first.

    A row's merit is the share of the section's other rows that are better, averaged over its ranked
    cells. Rows that are ranked on less than half of the columns come next, then rows that are
    ranked on none, by their mean, then rows without numbers. Equal rows keep their order.
    """
    order = order_of(board)
    place = {old: new for new, old in enumerate(order)}
    moved = [board.rows[i] for i in order]
    return replace(
        board,
        rows=tuple(
            replace(row, baseline=None if row.baseline is None else place[row.baseline])
            for row in moved
        ),
        sections=tuple(
            replace(section, rows=tuple(sorted(place[i] for i in section.rows)))
            for section in board.sections
        ),
        ranks=tuple(
            replace(ranks, rows=tuple(place[i] for i in ranks.rows)) for ranks in board.ranks
        ),
    )


def order_of(board: Board) -> list[int]:
    """The places of a board's rows in the order of `best_first`."""
    places = []
    for section in board.sections:
        merits = _merits(board, section)
        places += sorted(section.rows, key=merits.__getitem__)
    return places


def _merits(board: Board, section: Section) -> dict[int, tuple[int, float, float]]:
    """The keys by which the rows of a section are sorted, the smallest first."""
    columns = range(len(board.columns))
    sizes = [
        sum(1 for i in section.rows if (cell := board.rows[i].cells[c]) and cell.ranked)
        for c in columns
    ]
    merits = {}
    for i in section.rows:
        cells = [(cell, n) for cell, n in zip(board.rows[i].cells, sizes, strict=True) if cell]
        behind = [(cell.rank - 1) / max(n - 1, 1) for cell, n in cells if cell.rank]
        if not cells:
            merits[i] = 3, 0.0, 0.0
            continue
        mean = board.metric.sign * math.fsum(cell.mean for cell, _ in cells) / len(cells)
        if behind:
            few = int(2 * len(behind) < len(columns))
            merits[i] = few, math.fsum(behind) / len(behind), -mean
        else:
            merits[i] = 2, 0.0, -mean
    return merits
