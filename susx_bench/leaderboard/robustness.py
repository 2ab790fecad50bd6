"""How far a test set's accuracy lies below that of the clean one with the same classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from susx_bench.leaderboard.board import Board, Task
from susx_bench.registry import DATASETS


def clean_places(tasks: Sequence[Task], own: Collection[str]) -> list[int | None]:
    """For each column the place of its clean test set's, see `DatasetSpec.clean`.

    The two columns agree in all but the dataset: encoder, setting, support, prompts, shots.

    Args:
        tasks: The columns.
        own: Datasets of the user's own, of which no facts are known whatever they are called.

    Returns:
        None where the dataset has no clean one, or that was not measured, or more than one column
        is of it.
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
    """What a column has in common with that of its clean test set."""
    return (*task[:8], task.also)


def drop(board: Board, row: int, column: int) -> float | None:
    """Points of the board's metric that a cell is worse by than the one on the clean test set.

    None where one of the two is missing, or the column has no clean one.
    """
    clean = board.columns[column].clean
    cell, clean_cell = (None if c is None else board.rows[row].cells[c] for c in (column, clean))
    if cell is None or clean_cell is None:
        return None
    return board.metric.sign * (clean_cell.mean - cell.mean)


def drops(board: Board) -> list[list[float | None]]:
    """`drop` of every row and column; empty where there is none at all."""
    columns = range(len(board.columns))
    values = [[drop(board, row, column) for column in columns] for row in range(len(board.rows))]
    return values if any(value is not None for row in values for value in row) else []
