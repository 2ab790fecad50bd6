"""Make a leaderboard from records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from susx_bench.console import counted
from susx_bench.errors import OptionError
from susx_bench.leaderboard.board import MARKS, Board, Cell, Column, Group, Row, Task
from susx_bench.leaderboard.grid import (
    RowKey,
    Runs,
    columns_of,
    distinct_runs,
    grid_of,
    is_tunable,
    place_in,
    said_by_rows,
)
from susx_bench.leaderboard.labels import common_facts, groups_of, labels_of, split_mark
from susx_bench.leaderboard.metrics import Metric
from susx_bench.leaderboard.numbers import (
    average_of,
    cell_of,
    fill_published,
    fill_ranks,
    fill_tests,
    rank_over_datasets,
    summary,
)
from susx_bench.leaderboard.published import Figure
from susx_bench.leaderboard.robustness import clean_places
from susx_bench.leaderboard.sections import baseline_row, kinds_of, sections_of
from susx_bench.records.cells import current, data_of, dataset_names, is_own
from susx_bench.records.record import Record

BASELINES = ("tip-adapter", "zero-shot")
"""Default baselines: a table uses the first that it has."""


def make(
    name: str,
    title: str,
    text: str,
    order: Sequence[str],
    datasets: Sequence[str],
    records: Mapping[str, Record],
    figures: Sequence[Figure] = (),
    baseline: str | None = None,
) -> Board:
    """Make a leaderboard.

    Args:
        name: Name of the suite.
        title: Heading.
        text: Introduction below the heading.
        order: Methods in the order of the rows; others follow by name.
        datasets: Datasets, as requested, in the order of the columns; others follow by name.
        records: The records by their paths.
        figures: Published figures.
        baseline: Method to compare with; None for the first of `BASELINES` with records.

    Raises:
        RecordError: If two records have the same inputs and other results.
        OptionError: If the baseline has no record.
    """
    kept, replaced = current(records)
    left_out = tuple(group.line for group in replaced)
    return arrange(name, title, text, order, datasets, kept, figures, baseline, left_out)


def arrange(
    name: str,
    title: str,
    text: str,
    order: Sequence[str],
    datasets: Sequence[str],
    records: Mapping[str, Record],
    figures: Sequence[Figure] = (),
    baseline: str | None = None,
    left_out: tuple[str, ...] = (),
) -> Board:
    """Make a leaderboard of records that all count.

    The arguments are those of `make`; `left_out` has the notes on records that do not count.
    """
    named, datasets, own_data = _with_unique_names(records, datasets)
    split = said_by_rows(named.values())
    tasks = columns_of(named.values(), split, datasets)
    grid = grid_of(named, split, tasks)
    methods = sorted({method for method, _ in grid}, key=lambda m: (place_in(m, order), m))
    kinds = kinds_of(grid)
    keys = sorted(grid, key=lambda row: (kinds[row], methods.index(row[0]), row[1]))
    baseline = _baseline(name, baseline, methods)
    sections = sections_of([kinds[key] for key in keys])
    free = {key for key in keys if not is_tunable(grid[key])}
    bases = [baseline_row(key, keys, baseline, kinds, free) for key in keys]
    runs = [[distinct_runs(grid[key].get(task, {})) for task in tasks] for key in keys]
    table = [[cell_of(*cell) for cell in row] for row in runs]
    fill_tests(table, [[distinct for distinct, _ in row] for row in runs], bases)
    fill_ranks(table, sections)
    columns = [
        Column(task, label, "" if task.dataset in own_data else split_mark(task), clean)
        for task, label, clean in zip(
            tasks, labels_of(tasks), clean_places(tasks, own_data), strict=True
        )
    ]
    groups = groups_of(tasks)
    for key, cells in zip(keys, table, strict=True):
        fill_published(cells, grid[key], tasks, [f for f in figures if f.method == key[0]])
    rows = [
        _row(key, grid[key], cells, base, groups)
        for key, cells, base in zip(keys, table, bases, strict=True)
    ]
    rows, ranks = rank_over_datasets(rows, sections, tasks)
    shown = {mark for row in rows for cell in row.cells if cell for mark in cell.marks}
    shown |= {mark for column in columns for mark in column.marks}
    return Board(
        name=name,
        title=title,
        text=text,
        facts=common_facts(tasks),
        baseline=baseline,
        columns=tuple(columns),
        groups=tuple(groups),
        rows=tuple(rows),
        sections=sections,
        ranks=ranks,
        marks=tuple(mark for mark in MARKS if mark in shown),
        records=len(records),
        left_out=left_out,
    )


def _with_unique_names(
    records: Mapping[str, Record], datasets: Sequence[str]
) -> tuple[dict[str, Record], list[str], set[str]]:
    """Name each dataset by a name that no other one has, see `dataset_names`.

    Args:
        records: The records by their paths.
        datasets: Datasets, as requested.

    Returns:
        The records under these names; the names of the requested datasets, in their order; and the
        names of the user's own data.
    """
    names = dataset_names(records.values())
    name_of = {path: names[r.dataset, data_of(r)] for path, r in records.items()}
    called = {(r.dataset_given, name_of[path]): None for path, r in records.items()}
    called |= {(r.dataset, name_of[path]): None for path, r in records.items()}
    named = {
        path: r if r.dataset == name_of[path] else r.model_copy(update={"dataset": name_of[path]})
        for path, r in records.items()
    }
    requested = [name for asked in datasets for given, name in called if given == asked]
    return named, requested, {name_of[path] for path, r in records.items() if is_own(r)}


def _baseline(board: str, asked: str | None, methods: Sequence[str]) -> str:
    """The method to compare with; empty if none is asked for and there is no usual one.

    Raises:
        OptionError: If the one that is asked for has no record.
    """
    if asked is None:
        return next((method for method in BASELINES if method in methods), "")
    if asked not in methods:
        raise OptionError(
            f"{board}: no record of the baseline '{asked}'. There are: {', '.join(methods)}."
        )
    return asked


def _row(
    key: RowKey,
    runs: Mapping[Task, Runs],
    cells: Sequence[Cell | None],
    baseline: int | None,
    groups: Sequence[Group],
) -> Row:
    """A row of the table, not yet ranked over datasets."""
    first = next(record for runs_of_task in runs.values() for _, record in runs_of_task.values())
    return Row(
        method=first.method,
        tuned_on=first.tuned_on,
        tunable=is_tunable(runs),
        official=first.official,
        regime=first.regime,
        trained=first.trained,
        own=bool(first.method_source),
        batches=first.batches,
        prompts=key[1].prompts,
        support=key[1].support,
        marks="".join(mark for mark in MARKS if all(mark in cell.marks for cell in cells if cell)),
        baseline=baseline,
        cells=tuple(cells),
        averages=tuple(average_of(cells, group) for group in groups),
    )


def by_metric(board: Board, records: Mapping[str, Record], metric: Metric) -> Board:
    """The same board with another metric of the same records; its rows stay in their places.

    A cell with a run that lacks the metric is blank, and the board says why. Only the accuracy has
    tests and published figures.

    Args:
        board: A board of the accuracy.
        records: Its records by their paths, as in `Cell.records`.
        metric: Metric to show.

    Raises:
        OptionError: If no record has the metric.
    """
    if metric is board.metric:
        return board
    blank: Counter[tuple[str, str]] = Counter()

    def other(row: Row, cell: Cell | None) -> Cell | None:
        if cell is None:
            return None
        runs = [records[path] for path in cell.records]
        values = [value for run in runs if (value := metric.of(run)) is not None]
        if len(values) < len(runs):
            why = next(metric.why_blank(run) for run in runs if metric.of(run) is None)
            blank[row.method, why] += 1
            return None
        numbers = summary(values, runs, metric)
        return cell.changed(**numbers, rank=None, place=0, p=None, p_holm=None, published=())

    table = [[other(row, cell) for cell in row.cells] for row in board.rows]
    lines = tuple(
        f"{method}: {counted(count, 'number')} of this kind {'is' if count == 1 else 'are'} blank, "
        f"because {why}."
        for (method, why), count in sorted(blank.items())
    )
    if not any(cell for row in table for cell in row):
        raise OptionError(f"{board.name or board.title}: no {metric.label}. {' '.join(lines)}")
    for place, row in enumerate(board.rows):
        for column, cell in enumerate(table[place]):
            base = None if row.baseline is None else table[row.baseline][column]
            if cell is not None and cell.gain is not None:
                table[place][column] = cell.changed(gain=cell.mean - base.mean if base else None)
    fill_ranks(table, board.sections, metric)
    rows = [
        replace(
            row,
            cells=tuple(cells),
            averages=tuple(average_of(cells, group) for group in board.groups),
            rank=None,
        )
        for row, cells in zip(board.rows, table, strict=True)
    ]
    tasks = [column.task for column in board.columns]
    rows, ranks = rank_over_datasets(rows, board.sections, tasks, metric)
    return replace(board, rows=tuple(rows), ranks=ranks, metric=metric, unmeasured=lines)
