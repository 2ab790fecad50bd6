"""Pictures with one panel per column: its best row against zero-shot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from susx_bench.leaderboard.board import Board, Cell, Section
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.figures.rows import (
    Family,
    best_columns,
    column_title,
    section_note,
)
from susx_bench.records.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS: Final = 6
"""Number of panels: the tasks on which the best row changed most from zero-shot."""

CLASSES: Final = 8
"""Number of classes at either end, or of confused pairs, in one panel."""


class Best(NamedTuple):
    """The best ranked row of a column, beside zero-shot.

    Attributes:
        title: Text that distinguishes the column from the others.
        row: Place of the best row in `Board.rows`.
        cell: The cell of the best row.
        zero: The cell of zero-shot.
    """

    title: str
    row: int
    cell: Cell
    zero: Cell


def best_rows(board: Board, section: Section, families: Sequence[Family]) -> tuple[list[Best], str]:
    """The best row of a section in each column, for the columns in which it changed most.

    Returns:
        At most `PANELS`, the largest change first, and a note on the chosen columns and rows.
    """
    base = board.zero_shot
    if base is None:
        return [], ""
    changed: list[tuple[float, int, Best]] = []
    for family in families:
        for c in best_columns(board, family):
            zero = board.rows[base].cells[c]
            others = [
                (cell.mean, -i, cell)
                for i in section.rows
                if (cell := board.rows[i].cells[c]) and i != base and cell.ranked
            ]
            if zero is None or not others:
                continue
            mean, place, cell = max(others, key=lambda other: other[:2])
            title = column_title(board.columns[c].task, family)
            changed.append((-abs(mean - zero.mean), c, Best(title, -place, cell, zero)))
    changed.sort(key=lambda entry: entry[:2])
    note = f" The {PANELS} of {len(changed)} datasets with the largest change."
    note = (note if len(changed) > PANELS else "") + section_note(board, section)
    return [best for _, _, best in changed[:PANELS]], note


def class_namer(board: Board, record: Record) -> Callable[[str], str]:
    """A function that names a class: the record's name, unless the board has a better one."""
    classnames = board.classnames.get(record.dataset, ()) if record.protocol == "bundle" else ()
    names = {f"class {label}": name for label, name in enumerate(classnames)}
    return lambda name: names.get(name, name)


def panel_picture(
    name: str,
    heading: str,
    text: str,
    panels: Sequence[Sequence[Any]],
    line: float,
    draw: Callable[[Figure, Any], None],
) -> Picture:
    """A picture of panels. The last item of a panel is its lines, each `line` inches high."""
    across = min(2, len(panels))
    lines = max(len(panel[-1]) for panel in panels)
    return Picture(
        name=name,
        title=heading.partition("\n")[0],
        text=text,
        width=5.6 * across if across > 1 else 6.8,
        height=math.ceil(len(panels) / across) * (line * lines + 1.0) + 0.7,
        data={"heading": heading, "across": across, "panels": panels},
        _draw=draw,
    )
