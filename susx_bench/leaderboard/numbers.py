"""The numbers of a leaderboard: means, intervals, tests, ranks and averages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from susx_bench.leaderboard.board import Cell, Compared, Group, Ranks, Row, Section, Task
from susx_bench.leaderboard.grid import Runs
from susx_bench.leaderboard.published import Figure, fitting
from susx_bench.leaderboard.statistics import (
    TAIL_RUNS,
    Ranking,
    holm,
    over_seeds,
    paired,
    ranking,
    tail,
    wilson,
)
from susx_bench.records.record import unpack


def cell_of(runs: Runs, alike: tuple[tuple[int, ...], ...]) -> Cell | None:
    """The number of some runs; None without any."""
    if not runs:
        return None
    found = [runs[run] for run in sorted(runs)]
    first = found[0][1]
    accuracies = [r.accuracy for _, r in found]
    mean = math.fsum(accuracies) / len(found)
    spread = None
    low, high = wilson(first.correct, first.n_test)
    if len(found) > 1:
        low, high = over_seeds(accuracies)
        spread = math.sqrt(math.fsum((a - mean) ** 2 for a in accuracies) / (len(found) - 1))
    marks = ""
    if first.tuned_on == "test":
        marks += "†"
    elif first.setting == "name-only" and first.tuned_on in ("val", "few-val"):
        marks += "‡"
    if any(r.chosen_here for _, r in found):
        marks += "¶"
    ranked = not marks
    marks += {"transductive": "ᵗ", "streaming": "ˢ"}.get(first.regime, "")
    marks += "ᵍ" if first.trained else ""
    return Cell(
        mean=mean,
        mean_per_class=math.fsum(r.mean_per_class for _, r in found) / len(found),
        spread=spread,
        tail=tail(accuracies) if len({r.order for _, r in found}) >= TAIL_RUNS else None,
        low=low,
        high=high,
        seeds=tuple(r.seed for _, r in found),
        orders=tuple(r.order for _, r in found),
        alike=alike,
        records=tuple(path for path, _ in found),
        marks=marks,
        ranked=ranked,
    )


def fill_tests(
    table: list[list[Cell | None]], runs: Sequence[Sequence[Runs]], bases: Sequence[int | None]
) -> None:
    """Fill in gains and tests against the baseline, adjusted for all of the table."""
    tested = []
    for row, base in enumerate(bases):
        if base is None:
            continue
        for column, cell in enumerate(table[row]):
            other = table[base][column]
            if cell is None or other is None or not (cell.ranked and other.ranked):
                continue
            p = _p(runs[row][column], runs[base][column])
            table[row][column] = replace(cell, gain=cell.mean - other.mean, p=p)
            if p is not None:
                tested.append((row, column, p))
    for (row, column, _), p in zip(tested, holm([p for *_, p in tested]), strict=True):
        if (cell := table[row][column]) is not None:
            table[row][column] = replace(cell, p_holm=p)


def _p(first: Runs, second: Runs) -> float | None:
    common = first.keys() & second.keys()
    if common:  # the same draws, where both have them
        first, second = ({run: runs[run] for run in common} for runs in (first, second))
    bits = [_right(runs) for runs in (first, second)]
    return None if bits[0].shape[1] != bits[1].shape[1] else paired(*bits)


def _right(runs: Runs) -> NDArray[np.bool_]:
    return np.stack([unpack(r.right, r.n_test) for _, (_, r) in sorted(runs.items())])


def fill_ranks(table: list[list[Cell | None]], sections: Sequence[Section]) -> None:
    """Fill in the ranks and places of all cells, within their column and section."""
    for section in sections:
        for column in range(len(table[0])):
            _rank(table, section.rows, column)


def _rank(table: list[list[Cell | None]], section: Sequence[int], column: int) -> None:
    here = {i: table[i][column] for i in section}
    ranked = {i: cell for i, cell in here.items() if cell is not None and cell.ranked}
    if not ranked:
        return
    printed = sorted({round(cell.mean, 1) for cell in ranked.values()}, reverse=True)[:2]
    ranks = ranking(np.array([[cell.mean] for cell in ranked.values()])).ranks
    for (i, cell), rank in zip(ranked.items(), ranks, strict=True):
        mean = round(cell.mean, 1)
        place = printed.index(mean) + 1 if mean in printed and len(ranked) > 1 else 0
        table[i][column] = replace(cell, rank=rank, place=place)


def fill_published(
    cells: list[Cell | None],
    runs: Mapping[Task, Runs],
    tasks: Sequence[Task],
    figures: Sequence[Figure],
) -> None:
    """Fill in the published figures that fit the cells of one row."""
    for column, (cell, task) in enumerate(zip(cells, tasks, strict=True)):
        if cell is None:
            continue
        record = next(iter(runs[task].values()))[1]
        found = tuple(
            Compared(f, cell.mean - f.accuracy, cell.low <= f.accuracy <= cell.high)
            for f in fitting(figures, record)
        )
        cells[column] = replace(cell, published=found)


def average_of(cells: Sequence[Cell | None], group: Group) -> float | None:
    """Mean accuracy over a group of columns; None where a cell is missing."""
    here = [cell.mean for cell in (cells[i] for i in group.columns) if cell]
    return math.fsum(here) / len(here) if len(here) == len(group.columns) else None


def rank_over_datasets(
    rows: list[Row], sections: Sequence[Section], tasks: Sequence[Task]
) -> tuple[list[Row], tuple[Ranks, ...]]:
    """Rank the complete rows of each section over datasets, for each setting."""
    settings = list(dict.fromkeys(task.setting for task in tasks))
    found = []
    for section in sections:
        for setting in settings:
            columns = [i for i, task in enumerate(tasks) if task.setting == setting]
            places = [
                i
                for i in section.rows
                if all((cell := rows[i].cells[c]) and cell.ranked for c in columns)
            ]
            some = [i for i in section.rows if any(c and c.ranked for c in rows[i].cells)]
            if len(places) < max(2, len(some) / 2):
                continue  # ranks among the few rows that are complete say nothing of the others
            ranks = _over_datasets([rows[i] for i in places], columns, tasks)
            label = section.label + (f", {setting}" if len(settings) > 1 else "")
            found.append(Ranks(label, tuple(places), ranks))
            if len(settings) == 1:
                for i, rank in zip(places, ranks.ranks, strict=True):
                    rows[i] = replace(rows[i], rank=rank)
    return rows, tuple(found)


def _over_datasets(rows: Sequence[Row], columns: Sequence[int], tasks: Sequence[Task]) -> Ranking:
    """Ranks over datasets: columns of one dataset are averaged first."""
    names = list(dict.fromkeys(tasks[c].dataset for c in columns))
    means = np.array([[cell.mean for c in columns if (cell := row.cells[c])] for row in rows])
    of = np.array([names.index(tasks[c].dataset) for c in columns])
    return ranking(np.stack([means[:, of == d].mean(1) for d in range(len(names))], axis=1))
