"""Accuracy against seconds, with the line of rows that no row beats in both."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from susx_bench.leaderboard.answers import compared_columns, seconds_of
from susx_bench.leaderboard.board import Board, Section
from susx_bench.leaderboard.figures.drawing import Look, draw_heading, marker_style, shortened
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.figures.rows import (
    floor_of,
    headed,
    look_of,
    measured,
    section_note,
    with_zero_shot,
)
from susx_bench.records.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED: Final = 14
"""Most points that are all named; of more points those on the front and zero-shot are named."""

_Point = tuple[str, float, float, Look]
"""A row's name, its seconds, its mean accuracy, and its look."""


def time_pictures(
    board: Board, names: Sequence[str], section: Section, records: Mapping[str, Record]
) -> list[Picture]:
    """A picture of accuracy against seconds; none if several devices or few rows were measured."""
    places = with_zero_shot(board, section)
    columns = compared_columns([board.rows[i] for i in places])
    points, devices = _points(board, names, places, columns, records)
    if len(points) < 3 or len(devices) != 1 or all(look.hollow for *_, look in points):
        return []
    lowest = floor_of(point[2] for point in points)
    shown = [point for point in points if point[2] >= lowest]
    hidden = [point[0] for point in points if point[2] < lowest]
    below = f" Below the picture: {', '.join(hidden)}." if hidden else ""
    front = [name for name in _front(points) if name not in hidden]
    zero = names[board.zero_shot] if board.zero_shot is not None else ""
    named = [point[0] for point in shown]
    if len(shown) > NAMED:
        own = {names[i] for i in places if board.rows[i].own}
        own_names = [point[0] for point in points if point[0] in own]
        best_of_all = max(shown, key=lambda point: point[2])[0]
        candidates = dict.fromkeys([*front, *own_names, best_of_all, zero])
        named = [name for name in candidates if name and name not in hidden]
    device = shortened(devices.pop(), 44)
    hollow = " Hollow: not ranked." if any(look.hollow for *_, look in shown) else ""
    if len(columns) < len(board.columns):
        labels = ", ".join(board.columns[c].label for c in columns)
        below += f" The mean is over the columns on which most rows are ranked: {labels}."
    data = {
        "heading": headed(f"Time against accuracy · {device}", board, section),
        "points": shown,
        "front": front,
        "named": named,
        "ylabel": "top-1 accuracy in %" + _mean_of(columns, board),
    }
    text = (
        f"Seconds a cell takes from features in memory to all predictions, search included, on "
        f"{device}, against mean accuracy. Nothing ranked is both faster and better than the rows "
        f"on the line: {', '.join(front)}.{below}{section_note(board, section)}{hollow}"
    )
    return [
        Picture(
            f"{board.name}-time",
            str(data["heading"]).partition("\n")[0],
            text,
            7.2,
            4.4,
            data,
            _draw_time,
        )
    ]


def _points(
    board: Board,
    names: Sequence[str],
    places: Sequence[int],
    columns: Sequence[int],
    records: Mapping[str, Record],
) -> tuple[list[_Point], set[str]]:
    """The points of the rows that have all of these columns, and the devices they ran on."""
    points: list[_Point] = []
    devices: set[str] = set()
    for i in places:
        row = board.rows[i]
        cells = measured(row.cells[c] for c in columns)
        if len(cells) < len(columns):
            continue
        runs = [records[path] for path in sorted({path for c in cells for path in c.records})]
        devices |= {r.device for r in runs}
        seconds = seconds_of(runs)
        if seconds > 0:
            mean = math.fsum(c.mean for c in cells) / len(cells)
            look = look_of(board, row)._replace(hollow=not all(c.ranked for c in cells))
            points.append((names[i], seconds, mean, look))
    return points, devices


def _front(points: Sequence[_Point]) -> list[str]:
    """Names of the ranked points that no other ranked one beats in both, fastest first."""
    front: list[str] = []
    best = -math.inf
    for name, _, mean, look in sorted(points, key=lambda point: (point[1], -point[2])):
        if mean > best and not look.hollow:
            front.append(name)
            best = mean
    return front


def _mean_of(columns: Sequence[int], board: Board) -> str:
    """The number of columns in a mean, as the end of a sentence; empty for one column."""
    whole = len(board.columns)
    if len(columns) == whole:
        return f", mean of {whole} columns" if whole > 1 else ""
    return f", mean of {len(columns)} of {whole} columns"


def _draw_time(figure: Figure, data: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    draw_heading(figure, data["heading"])
    ax = figure.subplots()
    points = data["points"]
    xs, ys = [p[1] for p in points], [p[2] for p in points]
    ax.set_xscale("log")
    right = max(xs) * 1.5
    pad = 0.08 * (max(ys) - min(ys)) or 1.0
    ax.set(xlim=(min(xs) / 1.5, right), ylim=(min(ys) - pad, max(ys) + pad))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{s:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    at = {p[0]: p for p in points}
    front = [at[name] for name in data["front"]]
    ax.plot(
        [*(p[1] for p in front), right], [*(p[2] for p in front), front[-1][2]],
        drawstyle="steps-post", color="#9a9a9a", lw=1.2, zorder=1,
    )  # fmt: skip
    named = [point for point in points if point[0] in data["named"]]
    for point in points:
        _, x, y, look = point
        marks = marker_style(look, 7.5)
        if point not in named:
            marks = marker_style(Look("#b4b4b4", "o", "-", False), 4.5)
        elif not look.marker:
            marks |= {"marker": "o", "markerfacecolor": "white"}
        ax.plot(x, y, linestyle="None", zorder=3, **marks)
    ax.set_xlabel("seconds per cell, from features in memory (logarithmic)")
    ax.set_ylabel(data["ylabel"])
    # Names keep off the line as well.
    steps = [((a[1], a[2]), (b[1], a[2])) for a, b in pairwise(front)]
    steps += [((b[1], a[2]), (b[1], b[2])) for a, b in pairwise(front)]
    steps.append(((front[-1][1], front[-1][2]), (right, front[-1][2])))
    _name_points(figure, ax, named, set(data["front"]), [(p[1], p[2]) for p in points], steps)


def _name_points(
    figure: Figure,
    ax: Axes,
    points: Sequence[Any],
    bold: Collection[str],
    obstacles: Sequence[tuple[float, float]],
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]],
) -> None:
    """Write names beside points without covering points, lines or other names.

    Places around a point are tried from near to far, and the least covered place is used.
    """
    from matplotlib.transforms import Bbox

    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)  # places are known only after the layout
    canvas: Any = figure.canvas
    renderer, scale = canvas.get_renderer(), figure.dpi / 72
    pixels = [ax.transData.transform((x, y)) for _, x, y, _ in points]
    others = ax.transData.transform(obstacles)
    taken = [Bbox([[x - 6, y - 6], [x + 6, y + 6]]) for x, y in others]
    for ends in lines:
        (ax0, ay0), (ax1, ay1) = ax.transData.transform(ends)
        taken.append(
            Bbox([[min(ax0, ax1) - 2, min(ay0, ay1) - 2], [max(ax0, ax1) + 2, max(ay0, ay1) + 2]])
        )
    inside = ax.get_window_extent(renderer)

    def covered(box: Bbox) -> float:
        shared = [Bbox.intersection(box, other) for other in taken]
        area = sum(s.width * s.height for s in shared if s is not None)
        whole = Bbox.intersection(box, inside)
        return float(area + box.width * box.height - (whole.width * whole.height if whole else 0))

    for (name, x, y, look), (px, py) in zip(points, pixels, strict=True):
        text = ax.annotate(
            name, (x, y), xytext=(0, 0), textcoords="offset points", va="center", ha="center",
            color=look.colour, fontsize=8.5, fontweight="bold" if name in bold else "normal",
            arrowprops={"arrowstyle": "-", "color": look.colour, "lw": 0.6, "alpha": 0.6,
                        "shrinkA": 0, "shrinkB": 4},
        )  # fmt: skip
        size = text.get_window_extent(renderer)
        w, h = size.width / scale, size.height / scale
        places = []
        for far in (0, 12, 24, 36, 50, 66):
            across, up = w / 2 + 8 + far, h / 2 + 5 + far
            places += [(across, 0), (0, up), (0, -up), (-across, 0)]
            places += [(sx * across, sy * up) for sx in (1, -1) for sy in (1, -1)]

        def box(place: tuple[float, float], px: float = px, py: float = py, w: float = w,
                h: float = h) -> Bbox:  # fmt: skip
            cx, cy = px + place[0] * scale, py + place[1] * scale
            return Bbox([[cx - w * scale / 2, cy - h * scale / 2 - 1],
                         [cx + w * scale / 2, cy + h * scale / 2 + 1]])  # fmt: skip

        best = min(places, key=lambda place: (round(covered(box(place))), places.index(place)))
        text.set_position(best)
        if places.index(best) < 8 and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)
        taken.append(box(best))
