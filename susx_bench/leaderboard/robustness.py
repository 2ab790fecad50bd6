"""Compare accuracies on a robustness test set with those on its clean test set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from susx_bench.leaderboard.board import Board, Task
from susx_bench.registry import DATASETS


def clean_places(tasks: Sequence[Task], own: Collection[str]) -> list[int | None]:
    """The place of the clean test set's column for each column, see `DatasetSpec.clean`.

    The two columns agree in everything but the dataset: encoder, setting, support, prompts, shots.

    Args:
        tasks: The columns.
        own: The user's own datasets, which have no clean one whatever their names.

    Returns:
        One place per column; None if the dataset has no clean one, or if the clean one has no
        column or several.
    """
    registered = set(DATASETS.names()) - set(own)
    named = {task.dataset for task in tasks} & registered
    cleans = {name: DATASETS.get(name).clean for name in named}
    places: dict[object, list[int]] = defaultdict(list)
    for i, task in enumerate(tasks):
        places[task.dataset, _beside(task)].append(i)

    def place(task: Task) -> int | None:
        clean = cleans.get(task.dataset, "")
        alike = places.get((clean, _beside(task)), []) if clean in registered else []
        return alike[0] if len(alike) == 1 else None

    return [place(task) for task in tasks]


def _beside(task: Task) -> object:
    """The properties that a column shares with the column of its clean test set."""
    return (*task[:8], task.also)


def drop(board: Board, row: int, column: int) -> float | None:
    """Points by which a cell is worse than the same row's cell on the clean test set.

    It is None if one of the two cells is missing, or if the column has no clean test set.
    """
    clean = board.columns[column].clean
    cell, clean_cell = (None if c is None else board.rows[row].cells[c] for c in (column, clean))
    if cell is None or clean_cell is None:
        return None
    return board.metric.sign * (clean_cell.mean - cell.mean)


def drops(board: Board) -> list[list[float | None]]:
    """`drop` of every row and column; empty if all are None."""
    columns = range(len(board.columns))
    values = [[drop(board, row, column) for column in columns] for row in range(len(board.rows))]
    return values if any(value is not None for row in values for value in row) else []
