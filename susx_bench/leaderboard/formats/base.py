"""A table format: a name, the suffix of its files, and a function of a board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from susx_bench.leaderboard.board import Board


@dataclass(frozen=True)
class TableFormat:
    """A format of tables.

    A plugin adds a format as a constant, declared as an entry point in the group
    ``susx_bench.formats``. ``leaderboard build SUITE --format NAME`` writes it.

    Attributes:
        name: Its name for ``--format``.
        suffix: Suffix of its files, such as ``.md``.
        write: Makes the text of a board; the same board must give the same text.
        about: A description in one line.
    """

    name: str
    suffix: str
    write: Callable[[Board], str]
    about: str = ""
