"""The numbers of a leaderboard: means, intervals, tests, ranks and averages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from susx_bench.leaderboard.board import Cell, Compared, Group, Ranks, Row, Section, Task
from susx_bench.leaderboard.grid import Runs
from susx_bench.leaderboard.metrics import ACCURACY, METRICS, Metric
from susx_bench.leaderboard.published import Figure, fitting
from susx_bench.leaderboard.statistics import (
    TAIL_RUNS,
    Ranking,
    holm,
    how_often,
    paired_counts,
    ranking,
    shared_ranks,
)
from susx_bench.records.record import UNSAID, Record


def cell_of(runs: Runs, alike: tuple[tuple[int, ...], ...]) -> Cell | None:
    """The cell of some runs; None without runs."""
    if not runs:
        return None
    sorted_runs = [runs[run] for run in sorted(runs)]
    first = sorted_runs[0][1]
    marks = ""
    if first.tuned_on == "test":
        marks += "†"
    elif first.setting == "name-only" and first.tuned_on in ("val", "few-val"):
        marks += "‡"
    if first.setting == "name-only" and first.support == UNSAID:
        marks += "‖"
    if any(r.chosen_here for _, r in sorted_runs):
        marks += "¶"
    ranked = not marks
    marks += {"transductive": "ᵗ", "streaming": "ˢ"}.get(first.regime, "")
    marks += "ᵍ" if first.trained else ""
    records = [r for _, r in sorted_runs]
    return Cell(
        **summary([r.accuracy for r in records], records, ACCURACY),
        numbers={name: mean_of([m.of(r) for r in records]) for name, m in METRICS.items()},
        seeds=tuple(r.seed for _, r in sorted_runs),
        orders=tuple(r.order for _, r in sorted_runs),
        alike=alike,
        records=tuple(path for path, _ in sorted_runs),
        marks=marks,
        ranked=ranked,
    )


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of some numbers; None if one is missing."""
    present = [value for value in values if value is not None]
    return math.fsum(present) / len(present) if len(present) == len(values) else None


def summary(values: list[float], records: Sequence[Record], metric: Metric) -> dict[str, Any]:
    """The fields of a `Cell` with a number and its uncertainty.

    Args:
        values: The number of each run.
        records: The record of each run.
        metric: The metric of the number.
    """
    mean = math.fsum(values) / len(values)
    spread = None
    if len(values) > 1:
        spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    low, high = metric.interval(values, records[0].n_test) or (None, None)
    several = len({r.order for r in records}) >= TAIL_RUNS
    worst = metric.worst(values) if several else None
    return {"mean": mean, "spread": spread, "tail": worst, "low": low, "high": high}


def fill_tests(
    table: list[list[Cell | None]], runs: Sequence[Sequence[Runs]], bases: Sequence[int | None]
) -> None:
    """Fill in gains and tests against the baseline, adjusted for all of the table."""
    tested = []
    for column in range(len(table[0]) if table else 0):
        held: dict[tuple[str, ...], NDArray[np.integer[Any]]] = {}  # many rows share one baseline
        for row, base in enumerate(bases):
            if base is None:
                continue
            cell, baseline = table[row][column], table[base][column]
            if cell is None or baseline is None or not (cell.ranked and baseline.ranked):
                continue
            p = _p(runs[row][column], runs[base][column], held)
            table[row][column] = cell.changed(gain=cell.mean - baseline.mean, p=p)
            if p is not None:
                tested.append((row, column, p))
    for (row, column, _), p in zip(tested, holm([p for *_, p in tested]), strict=True):
        if (cell := table[row][column]) is not None:
            table[row][column] = cell.changed(p_holm=p)


def _p(
    first: Runs, second: Runs, held: dict[tuple[str, ...], NDArray[np.integer[Any]]]
) -> float | None:
    common = first.keys() & second.keys()  # the same draws, where both have them
    often: list[tuple[NDArray[np.integer[Any]], int]] = []
    for runs in (first, second):
        compared = [runs[run] for run in sorted(common or runs)]
        paths = tuple(path for path, _ in compared)
        if paths not in held:
            held[paths] = how_often(np.stack([record.hits() for _, record in compared]))
        often.append((held[paths], len(paths)))
    (first_counts, first_runs), (second_counts, second_runs) = often
    if len(first_counts) != len(second_counts):
        return None
    return paired_counts(first_counts, first_runs, second_counts, second_runs)


def fill_ranks(
    table: list[list[Cell | None]], sections: Sequence[Section], metric: Metric = ACCURACY
) -> None:
    """Fill in the ranks and places of all cells, within their column and section."""
    for section in sections:
        for column in range(len(table[0])):
            _rank(table, section.rows, column, metric)


def _rank(
    table: list[list[Cell | None]], section: Sequence[int], column: int, metric: Metric
) -> None:
    column_cells = {i: table[i][column] for i in section}
    ranked = {i: cell for i, cell in column_cells.items() if cell is not None and cell.ranked}
    if not ranked:
        return
    digits = metric.digits
    shown = {round(cell.mean, digits) for cell in ranked.values()}
    printed = sorted(shown, reverse=metric.higher)[:2]
    means = np.array([[metric.sign * cell.mean] for cell in ranked.values()])
    ranks = shared_ranks(means)[:, 0].tolist()
    for (i, cell), rank in zip(ranked.items(), ranks, strict=True):
        mean = round(cell.mean, digits)
        place = printed.index(mean) + 1 if mean in printed and len(ranked) > 1 else 0
        table[i][column] = cell.changed(rank=rank, place=place)


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
        low, high = cell.low or 0.0, cell.high or 0.0
        comparisons = tuple(
            Compared(f, cell.mean - f.accuracy, low <= f.accuracy <= high)
            for f in fitting(figures, record)
        )
        cells[column] = cell.changed(published=comparisons)


def average_of(cells: Sequence[Cell | None], group: Group) -> float | None:
    """Mean over a group of columns; None if a cell is missing."""
    means = [cell.mean for cell in (cells[i] for i in group.columns) if cell]
    return math.fsum(means) / len(means) if len(means) == len(group.columns) else None


def rank_over_datasets(
    rows: list[Row],
    sections: Sequence[Section],
    tasks: Sequence[Task],
    metric: Metric = ACCURACY,
) -> tuple[list[Row], tuple[Ranks, ...]]:
    """Rank the complete rows of each section over datasets, for each setting."""
    settings = list(dict.fromkeys(task.setting for task in tasks))
    rankings = []
    for section in sections:
        for setting in settings:
            columns = [i for i, task in enumerate(tasks) if task.setting == setting]
            places = [
                i
                for i in section.rows
                if all((cell := rows[i].cells[c]) and cell.ranked for c in columns)
            ]
            rated = [i for i in section.rows if any(c and c.ranked for c in rows[i].cells)]
            if len(places) < max(2, len(rated) / 2):
                continue  # too few rows are complete: their ranks would say nothing of the others
            ranks = _over_datasets([rows[i] for i in places], columns, tasks, metric)
            label = section.label + (f", {setting}" if len(settings) > 1 else "")
            rankings.append(Ranks(label, tuple(places), ranks))
            if len(settings) == 1:
                for i, rank in zip(places, ranks.ranks, strict=True):
                    rows[i] = replace(rows[i], rank=rank)
    return rows, tuple(rankings)


def _over_datasets(
    rows: Sequence[Row], columns: Sequence[int], tasks: Sequence[Task], metric: Metric
) -> Ranking:
    """Ranks over datasets: columns of one dataset are averaged first."""
    names = list(dict.fromkeys(tasks[c].dataset for c in columns))
    means = np.array([[cell.mean for c in columns if (cell := row.cells[c])] for row in rows])
    of = np.array([names.index(tasks[c].dataset) for c in columns])
    means = metric.sign * means
    return ranking(np.stack([means[:, of == d].mean(1) for d in range(len(names))], axis=1))
