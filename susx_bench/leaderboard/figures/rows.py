"""Choose the rows and columns of a board for a picture, and label them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from susx_bench.leaderboard.board import Board, Cell, Row, Section, Task
from susx_bench.leaderboard.figures.drawing import COLOURS, GREY, LINES, MARKERS, Look, shortened
from susx_bench.records.files import sha256_json
from susx_bench.records.store import folder_name

SERIES: Final = 10
"""Most rows in one picture of lines; of more rows those with the largest mean gain are drawn."""


class Family(NamedTuple):
    """Columns that differ only in dataset and shots."""

    whole: str
    label: str
    slug: str
    columns: list[int]


def families_of(board: Board) -> list[Family]:
    """Families of columns, each with a label that distinguishes it from the others."""
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, column in enumerate(board.columns):
        groups[column.task[:7]].append(place)
    fields = Task._fields[:7]
    varying = [i for i in range(7) if len({key[i] for key in groups}) > 1]
    families: list[Family] = []
    for key, places in groups.items():
        first = board.columns[places[0]].task
        label = " · ".join(shortened(f"{key[i]}", 32) for i in varying if key[i])
        whole = label or " · ".join(dict.fromkeys([shortened(first.encoder, 32), first.setting]))
        slug = "".join("-" + folder_name(f"{fields[i]}-{key[i]}") for i in varying if key[i])
        if any(slug == other.slug for other in families):  # names that differ where a file's cannot
            slug += f"-{sha256_json(key)[:8]}"
        families.append(Family(whole, label, slug, places))
    return families


def row_names(board: Board) -> list[str]:
    """A label for every row: method, tuning if it has several, and marks."""
    several = len({row.tuning for row in board.rows if row.tunable}) > 1
    names: list[str] = []
    seen: Counter[str] = Counter()
    for row in board.rows:
        name = (
            shortened(row.label, 36)
            + (f" · {row.tuning}" if several and row.tunable else "")
            + (f" {row.marks}" if row.marks else "")
        )
        seen[name] += 1
        names.append(f"{name} #{seen[name]}" if seen[name] > 1 else name)
    return names


def look_of(board: Board, row: Row) -> Look:
    """The look of a row in every picture of its board."""
    if row.method == "zero-shot":
        return Look(GREY, "", (0, (2, 1.5)), False)
    methods = list(dict.fromkeys(r.label for r in board.rows if r.method != "zero-shot"))
    tunings = list(dict.fromkeys(r.tuning for r in board.rows if r.method != "zero-shot"))
    place = methods.index(row.label)
    line = LINES[tunings.index(row.tuning) % len(LINES)]
    return Look(
        COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], line, not is_ranked(row)
    )


def is_ranked(row: Row) -> bool:
    """Whether all of its numbers are ranked."""
    return all(cell.ranked for cell in row.cells if cell)


def largest_section(board: Board) -> Section:
    """The section to draw: the one with the most ranked numbers, the first of equals.

    Rows of different sections may not be compared, so that they are not drawn side by side.
    """

    def numbers(part: Section) -> int:
        return sum(cell.ranked for i in part.rows for cell in measured(board.rows[i].cells))

    return max(board.sections, key=numbers)


def floor_of(values: Iterable[float]) -> float:
    """The lowest value that a picture shows: lower outliers would flatten the other lines.

    It is the smallest value that is no further below the lower quartile than the largest is above
    it.
    """
    ordered = sorted(values)
    quartile = ordered[len(ordered) // 4]
    reach = max(ordered[-1] - quartile, 1.0)
    return next(value for value in ordered if value >= quartile - reach)


def with_zero_shot(board: Board, section: Section) -> list[int]:
    """The rows of a section, and zero-shot."""
    zero = board.zero_shot
    return sorted({*section.rows, *([zero] if zero is not None else [])})


def section_note(board: Board, section: Section) -> str:
    """A sentence on the rows in a picture; empty if it shows all."""
    return f" Rows: {section.label}." if len(board.sections) > 1 else ""


def headed(heading: str, board: Board, section: Section) -> str:
    """A heading, and below it the rows in the picture."""
    return f"{heading}\n{section.label}" if len(board.sections) > 1 else heading


def chosen_rows(board: Board, section: Section, places: Sequence[int]) -> tuple[list[int], str]:
    """Rows of a section to draw, and zero-shot: at most `SERIES`.

    Methods of the user are always drawn. The others are the rows with the largest mean gain over
    zero-shot, ranked or not.

    Returns:
        Their places, and a note on the choice.
    """
    note = section_note(board, section)
    rows = [
        i for i in with_zero_shot(board, section) if any(board.rows[i].cells[c] for c in places)
    ]
    if len(rows) <= SERIES:
        return rows, note + hollow_note([board.rows[i] for i in rows])
    kept = [i for i in rows if board.rows[i].own or i == board.zero_shot]
    zero = board.rows[board.zero_shot].cells if board.zero_shot is not None else None

    def gain(i: int) -> float:
        pairs = [(board.rows[i].cells[p], zero[p] if zero else None) for p in places]
        gains = [cell.mean - (start.mean if start else 0) for cell, start in pairs if cell]
        return math.fsum(gains) / len(gains)

    best = sorted((i for i in rows if i not in kept), key=lambda i: (-gain(i), i))
    kept += best[: max(SERIES - len(kept), 0)]
    note += f" {len(kept)} of {len(rows)} rows, those of the largest mean gain."
    return sorted(kept), note + hollow_note([board.rows[i] for i in kept])


def hollow_note(rows: Iterable[Row]) -> str:
    """A sentence on hollow markers; empty if there are none."""
    return (
        "" if all(map(is_ranked, rows)) else " Hollow: some or all of its numbers are not ranked."
    )


def measured(cells: Iterable[Cell | None]) -> list[Cell]:
    """The cells that are not blank."""
    return [cell for cell in cells if cell is not None]


def best_columns(board: Board, family: Family) -> list[int]:
    """The column with the most shots for each dataset of a family."""
    best: dict[tuple[object, ...], int] = {}
    for column in family.columns:
        task = board.columns[column].task
        chosen = best.get(task[8:])
        if chosen is None or task.shots > board.columns[chosen].task.shots:
            best[task[8:]] = column
    return list(best.values())


def column_title(task: Task, family: Family, shots: bool = True) -> str:
    """A dataset, with further properties if it has several columns."""
    drawn = f"S = {task.shots}" if task.shots and shots else ""
    parts = [shortened(task.dataset, 30), family.label, drawn]
    return ", ".join(part for part in parts if part)
