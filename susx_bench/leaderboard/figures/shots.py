"""Accuracy over shots: one panel per dataset, and one for their mean."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from susx_bench.leaderboard.board import Board, Section
from susx_bench.leaderboard.figures.drawing import (
    draw_heading,
    draw_legend,
    draw_panels,
    marker_style,
    shortened,
)
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.figures.rows import (
    Family,
    chosen_rows,
    floor_of,
    headed,
    look_of,
    measured,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDS: Final = 4
"""Most lines in one panel with intervals as bands; with more lines they are bars."""


def shots_pictures(
    board: Board, names: Sequence[str], section: Section, family: Family
) -> list[Picture]:
    """Pictures of accuracy over shots for a family; none if no dataset has several shots."""
    by_task: dict[tuple[object, ...], dict[int, int]] = defaultdict(dict)  # shots -> column
    for column in family.columns:
        task = board.columns[column].task
        if task.shots:
            by_task[task[8:]][task.shots] = column
    by_task = {key: shots for key, shots in by_task.items() if len(shots) > 1}
    if not by_task:
        return []
    columns = [c for shots in by_task.values() for c in shots.values()]
    rows, note = chosen_rows(board, section, columns)
    panels = _panels(board, rows, by_task)
    floors = [
        floor_of(
            point[1] if point[2] is None else point[2]
            for points in lines.values()
            for point in points
        )
        for _, lines in panels
    ]
    below = dict.fromkeys(
        names[i]
        for (_, lines), floor in zip(panels, floors, strict=True)
        for i, points in lines.items()
        if points and all(point[1] < floor for point in points)
    )
    note += f" Below the picture: {', '.join(below)}." if below else ""
    across = min(len(panels), 4 if len(panels) > 6 else 3)
    down = math.ceil(len(panels) / across)
    width = 7.2 if len(panels) == 1 else 3.3 * across + (0.6 if across < 3 else 0)
    wide = max(1, int(width // (0.068 * max(len(names[i]) for i in rows) + 0.7)))
    legend = 0.22 * math.ceil(len(rows) / wide) + 0.75
    height = (4.0 if len(panels) == 1 else 2.5 * down) + legend
    height += 0.2 * (len(board.sections) > 1)  # a second line of heading
    data = {
        "heading": headed(f"Accuracy over shots · {family.whole}", board, section),
        "across": across,
        "panels": [
            [title, {names[i]: points for i, points in lines.items()}] for title, lines in panels
        ],
        "looks": {names[i]: look_of(board, board.rows[i]) for i in rows},
        "columns": wide,
        "floors": floors,
    }
    text = (
        "Top-1 accuracy in % over labelled images per class; bands and bars are 95 % intervals."
        f"{note}"
    )
    return [
        Picture(
            f"{board.name}-shots{family.slug}",
            str(data["heading"]).partition("\n")[0], text, width, height, data, _draw_over_shots,
        )
    ]  # fmt: skip


def _panels(
    board: Board,
    rows: Sequence[int],
    by_task: Mapping[tuple[object, ...], Mapping[int, int]],
) -> list[tuple[str, dict[int, list[Any]]]]:
    """The panels that have a line: the mean of several datasets, and each dataset.

    Args:
        board: The board.
        rows: The rows to show.
        by_task: By task, whose first item is the dataset, the column of each number of shots.

    Returns:
        For each panel its title, and the points of each row: shots, mean, and the ends of the
        interval, None for a mean of datasets.
    """
    panels: list[tuple[str, dict[int, list[Any]]]] = []
    common = set.intersection(*(set(shots) for shots in by_task.values()))
    if len(by_task) > 1 and len(common) > 1:
        means: dict[int, list[Any]] = {i: [] for i in rows}
        for i, s in product(rows, sorted(common)):
            cells = [board.rows[i].cells[shots[s]] for shots in by_task.values()]
            if len(full := measured(cells)) == len(cells):
                means[i].append([s, math.fsum(c.mean for c in full) / len(full), None, None])
        panels.append((f"mean of {len(by_task)} datasets", means))
    for task, shots in by_task.items():
        lines = {}
        for i in rows:
            cells_by_shots = [(s, board.rows[i].cells[shots[s]]) for s in sorted(shots)]
            lines[i] = [[s, c.mean, c.low, c.high] for s, c in cells_by_shots if c]
        panels.append((shortened(str(task[0]), 30), lines))
    return [panel for panel in panels if any(panel[1].values())]


def _draw_over_shots(figure: Figure, data: Any) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    width, height = figure.get_size_inches()
    # The constrained layout measures every label of every panel twice, which takes as long as
    # drawing them. Here all sizes are known.
    figure.set_layout_engine("none")
    draw_heading(figure, data["heading"], y=1 - 0.07 / height)
    axes = draw_panels(figure, len(data["panels"]), data["across"], **_margins(width, height, data))
    handles, shots = {}, []
    for ax, (title, lines), floor in zip(axes, data["panels"], data["floors"], strict=True):
        drawn = [name for name, points in lines.items() if points]
        bars: list[tuple[float, float, float, str]] = []
        for place, name in enumerate(drawn):
            points, look = lines[name], data["looks"][name]
            x, y = [point[0] for point in points], [point[1] for point in points]
            style = {"linestyle": look.line, "lw": 1.5, **marker_style(look, 4.5)}
            if points[0][2] is None:
                (handles[name],) = ax.plot(x, y, **style)
                continue
            low, high = [p[2] for p in points], [p[3] for p in points]
            if len(drawn) <= BANDS or not look.marker:  # zero-shot is a flat band
                (handles[name],) = ax.plot(x, y, **style)
                ax.fill_between(x, low, high, color=look.colour, alpha=0.13, lw=0)
                continue
            # Many bands would hide each other: draw bars side by side.
            x = [s * 2 ** (0.24 * (place / (len(drawn) - 1) - 0.5)) for s in x]
            (handles[name],) = ax.plot(x, y, **style)
            bars += zip(x, low, high, [look.colour] * len(x), strict=True)
        top = max(p[1] if p[3] is None else p[3] for points in lines.values() for p in points)
        margin = 0.05 * (top - floor) or 1.0
        ax.set_ylim(floor - margin, top + margin)
        if bars:
            ax.vlines(*zip(*bars, strict=True), lw=0.8, alpha=0.6)
        shots.append(sorted({point[0] for points in lines.values() for point in points}))
        ax.set_xscale("log", base=2)
        ax.set_xlim(shots[-1][0] / 1.25, shots[-1][-1] * 1.25)
        ax.xaxis.set_major_locator(FixedLocator(shots[-1]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{s:g}"))
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.set_title(title, y=1)  # a fixed place, which matplotlib need not search for
    lowest = axes[-data["across"] :]
    for ax in axes:
        if ax in lowest:
            ax.set_xlabel("labelled images per class")
        elif shots.count(shots[0]) == len(shots):
            ax.tick_params(labelbottom=False)
    figure.supylabel("top-1 accuracy in %", x=0.08 / width, ha="left", fontsize=9)
    draw_legend(figure, handles, data["looks"], data["columns"])


def _margins(width: float, height: float, data: Any) -> dict[str, float]:
    """Margins of equal panels above a legend, for `draw_panels`; computed from inches."""
    across, down = data["across"], math.ceil(len(data["panels"]) / data["across"])
    left, right, top, gap, beneath = 0.62, 0.1, 0.58, 0.42, 0.52
    top += 0.2 * data["heading"].count("\n")
    bottom = 0.22 * math.ceil(len(data["looks"]) / data["columns"]) + 0.56
    return {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": bottom / height,
        "top": 1 - top / height,
        "wspace": gap * across / (width - left - right - gap * (across - 1)),
        "hspace": beneath * down / (height - top - bottom - beneath * (down - 1)),
    }
