"""What a table format is: a name, the ending of its files, and a function of a board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from susx_bench.leaderboard.board import Board


@dataclass(frozen=True)
class TableFormat:
    """A format that tables are written in.

    A package of anyone's adds one: a constant, declared as an entry point in the group
    ``susx_bench.formats``. ``leaderboard build SUITE --format NAME`` writes it.

    Attributes:
        name: What ``--format`` calls it.
        suffix: Ending of its files, such as ``.md``.
        write: Makes the text of a board; the same board must give the same text.
        about: One line for lists.
    """

    name: str
    suffix: str
    write: Callable[[Board], str]
    about: str = ""
