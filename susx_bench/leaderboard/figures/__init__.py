"""Pictures of a leaderboard, one file each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.figures.classes import class_pictures
from susx_bench.leaderboard.figures.confusions import confusion_pictures
from susx_bench.leaderboard.figures.gain import gain_pictures
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.figures.ranks import rank_pictures
from susx_bench.leaderboard.figures.rows import (
    best_columns,
    families_of,
    largest_section,
    row_names,
)
from susx_bench.leaderboard.figures.shots import shots_pictures
from susx_bench.leaderboard.figures.time import time_pictures
from susx_bench.records.record import Record

LINES_OF_GAIN: Final = 24
"""Datasets in one picture of gains; beyond that each encoder (or setting, ...) has its own."""


def pictures(board: Board, records: Mapping[str, Record]) -> list[Picture]:
    """All pictures that a board's records allow, in the order of a page.

    Args:
        board: The leaderboard.
        records: Its records by their paths, as in `Cell.records`.
    """
    names = row_names(board)
    drawn: list[Picture] = []
    families = families_of(board)
    section = largest_section(board)
    for family in families:
        drawn += shots_pictures(board, names, section, family)
    most = [best_columns(board, family) for family in families]
    if sum(map(len, most)) <= LINES_OF_GAIN:
        drawn += gain_pictures(board, names, section, families, "")
    else:
        for family in families:
            drawn += gain_pictures(board, names, section, [family], family.slug)
    drawn += rank_pictures(board, names)
    drawn += time_pictures(board, names, section, records)
    drawn += class_pictures(board, names, section, families, records)
    drawn += confusion_pictures(board, names, section, families, records)
    return drawn
