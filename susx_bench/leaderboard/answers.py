"""Name the best method, its lead and an interval: one answer per section and number of shots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from susx_bench.leaderboard.board import Board, Cell, Row, Section
from susx_bench.leaderboard.statistics import Estimate, how_often, mean_over_columns
from susx_bench.records.record import Record

Scores = Callable[[int, int], NDArray[np.float64]]
"""How often a row is right on each test image of a column, in percent of its runs, ``(N,)``."""


class Level(NamedTuple):
    """The setting and shots that an answer is for; `shots` is 0 without labelled images."""

    setting: str
    shots: int


@dataclass(frozen=True)
class Standing:
    """A row in an answer. All its numbers are over the answer's columns.

    Attributes:
        row: Place in `Board.rows`.
        ranked: Whether all of its numbers are ranked.
        accuracy: Mean accuracy, percent.
        seconds: Seconds per cell, from features in memory to all predictions; None if the rows
            were measured on several devices.
        over_zero_shot: Points above zero-shot; None for zero-shot's own row and without zero-shot.
        behind: Points above the best row, negative for less; None for the best row.
    """

    row: int
    ranked: bool
    accuracy: Estimate
    seconds: float | None
    over_zero_shot: Estimate | None
    behind: Estimate | None


@dataclass(frozen=True)
class Answer:
    """The rows of a section, compared on columns that all of them have.

    Attributes:
        section: Place in `Board.sections`.
        level: Level of the columns.
        columns: Places in `Board.columns`.
        of: Number of columns of the level.
        device: The device on which all rows were measured; empty for several devices.
        rows: The ranked rows, the best first, then the rows that are not ranked.
        left_out: Rows that are ranked on some columns of the level, but not on all of `columns`.
    """

    section: int
    level: Level
    columns: tuple[int, ...]
    of: int
    device: str
    rows: tuple[Standing, ...]
    left_out: tuple[int, ...]


def answers(board: Board, records: Mapping[str, Record]) -> list[Answer]:
    """The answers that a board can give; none for a section without ranked rows.

    Rows are compared by their mean accuracy over the `compared_columns` of a level, which all of
    them have. An interval is over test images, with the support sets fixed.
    """
    levels = sorted({Level(c.task.setting, c.task.shots) for c in board.columns})
    possible = []
    for place, section in enumerate(board.sections):
        for level in levels:
            columns = [
                i
                for i, column in enumerate(board.columns)
                if Level(column.task.setting, column.task.shots) == level
            ]
            scores = _scores(board, records)
            if answer := _answer(board, place, section, level, columns, scores, records):
                possible.append(answer)
    return possible


def _scores(board: Board, records: Mapping[str, Record]) -> Scores:
    """A cache of scores: computed once per row and column, kept as one byte per image."""

    @cache
    def counts(row: int, column: int) -> tuple[NDArray[np.integer[Any]], int]:
        cell = board.rows[row].cells[column]
        runs = [records[path] for path in cell.records] if cell else []
        bits = np.stack([r.hits() for r in runs])
        return how_often(bits), len(runs)

    def scores(row: int, column: int) -> NDArray[np.float64]:
        right, runs = counts(row, column)
        return np.asarray(100 * (right / runs), np.float64)

    return scores


def _answer(
    board: Board,
    place: int,
    section: Section,
    level: Level,
    here: Sequence[int],
    scores: Scores,
    records: Mapping[str, Record],
) -> Answer | None:
    rated = [i for i in section.rows if any((c := _cell(board, i, k)) and c.ranked for k in here)]
    if not rated:
        return None
    columns = compared_columns([board.rows[i] for i in rated], here)
    full = [i for i in section.rows if all(_cell(board, i, k) for k in columns)]
    zero = board.zero_shot
    ranked = {i for i in [*full, *([] if zero is None else [zero])] if _ranked(board, i, columns)}
    images = [board.columns[k].task.data for k in columns]

    def accuracy(i: int) -> float:
        return math.fsum(c.mean for k in columns if (c := _cell(board, i, k)))

    def estimate(i: int, baseline: int | None) -> Estimate:
        lead = [scores(i, k) - (0 if baseline is None else scores(baseline, k)) for k in columns]
        return mean_over_columns(lead, images)

    order = sorted(full, key=lambda i: (i not in ranked, -round(accuracy(i), 9), i))
    if zero is not None and zero not in full and all(_cell(board, zero, k) for k in columns):
        order.append(zero)  # it may be of another section: all rows are compared with it
    runs = {i: [records[p] for p in _paths(_cell(board, i, k) for k in columns)] for i in order}
    devices = {r.device for row_runs in runs.values() for r in row_runs}
    device = devices.pop() if len(devices) == 1 else ""
    return Answer(
        section=place,
        level=level,
        columns=tuple(columns),
        of=len(here),
        device=device,
        rows=tuple(
            Standing(
                row=i,
                ranked=i in ranked,
                accuracy=estimate(i, None),
                seconds=seconds_of(runs[i]) if device else None,
                over_zero_shot=(
                    estimate(i, zero) if zero is not None and zero in order and i != zero else None
                ),
                behind=estimate(i, order[0]) if i != order[0] else None,
            )
            for i in order
        ),
        left_out=tuple(i for i in rated if i not in ranked),
    )


def _cell(board: Board, row: int, column: int) -> Cell | None:
    return board.rows[row].cells[column]


def _ranked(board: Board, row: int, columns: Iterable[int]) -> bool:
    return all((cell := _cell(board, row, k)) and cell.ranked for k in columns)


def _paths(cells: Iterable[Cell | None]) -> list[str]:
    return sorted({path for cell in cells if cell for path in cell.records})


def seconds_of(runs: Sequence[Record]) -> float:
    """Mean seconds of runs, from features in memory to all predictions, search included."""
    return math.fsum(r.seconds.search + r.seconds.predict for r in runs) / len(runs)


def compared_columns(rows: Sequence[Row], columns: Sequence[int] | None = None) -> list[int]:
    """The columns to average over: those on which most rows are ranked.

    Columns are added in the order of their number of ranked rows. Of the sets that arise, the one
    with the most cells of rows that are ranked on the whole set is chosen; the largest of equals.

    Args:
        rows: The rows to compare.
        columns: The columns to choose from; None for all.
    """
    among = range(len(rows[0].cells)) if columns is None else columns
    ranked = {
        k: {i for i, row in enumerate(rows) if (c := row.cells[k]) and c.ranked} for k in among
    }
    order = sorted(among, key=lambda k: (-len(ranked[k]), k))
    on_all: list[set[int]] = list(accumulate((ranked[k] for k in order), set.intersection))

    def numbers(size: int) -> int:
        return size * len(on_all[size - 1])

    best = max(range(1, len(order) + 1), key=lambda size: (numbers(size), size))
    return sorted(order[:best])
