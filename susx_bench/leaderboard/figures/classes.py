"""Change of each class's accuracy from zero-shot to the best row of a column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from susx_bench.console import counted
from susx_bench.leaderboard.board import Board, Section
from susx_bench.leaderboard.figures.drawing import (
    DOWN,
    GREY,
    UP,
    draw_heading,
    draw_panels,
    shortened,
)
from susx_bench.leaderboard.figures.panels import (
    CLASSES,
    best_rows,
    class_namer,
    panel_picture,
)
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.figures.rows import Family, headed
from susx_bench.records.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def class_pictures(
    board: Board,
    names: Sequence[str],
    section: Section,
    families: Sequence[Family],
    records: Mapping[str, Record],
) -> list[Picture]:
    """Pictures of the change of each class's accuracy under the best row of a section."""
    best, note = best_rows(board, section, families)
    panels: list[list[Any]] = []
    for title, i, cell, zero in best:
        after, start = (_shares(records[p] for p in x.records) for x in (cell, zero))
        called = class_namer(board, records[cell.records[0]])
        moved = [
            (shortened(called(name), 26), 100 * (after[name] - start[name]))
            for name in start
            if name in after
        ]
        moved.sort(key=lambda entry: entry[1])  # stable: ties stay in the order of the classes
        up, down = sum(m[1] > 0 for m in moved), sum(m[1] < 0 for m in moved)
        subtitle = f"{counted(up, 'class')} gain, {down} lose, {len(moved) - up - down} stay"
        # A class that stays has no bar.
        moved = [m for m in moved if m[1] < 0][:CLASSES] + [m for m in moved if m[1] > 0][-CLASSES:]
        if moved:
            panels.append([title, f"{names[i]} against zero-shot", subtitle, moved])
    if not panels:
        return []
    return [
        panel_picture(
            f"{board.name}-classes",
            headed("Change of each class", board, section),
            "Points by which the accuracy of a class changes from zero-shot to the best row of "
            f"the column: the {CLASSES} largest gains and losses.{note}",
            panels,
            0.19,
            _draw_classes,
        )
    ]


def _shares(runs: Iterable[Record]) -> dict[str, float]:
    """Accuracy of each class over all runs; classes without test images are left out."""
    right: dict[str, int] = defaultdict(int)
    images: dict[str, int] = defaultdict(int)
    for run in runs:
        for name, good, n in run.classes:
            right[name] += good
            images[name] += n
    return {name: right[name] / n for name, n in images.items() if n}


def _draw_classes(figure: Figure, data: Any) -> None:
    draw_heading(figure, data["heading"])
    axes = draw_panels(figure, len(data["panels"]), data["across"])
    for ax, (title, who, subtitle, moved) in zip(axes, data["panels"], strict=True):
        values = [m[1] for m in moved]
        ax.barh(
            range(len(moved)), values,
            color=[UP if v > 0 else DOWN for v in values],
            hatch=["" if v >= 0 else "////" for v in values], edgecolor="white", lw=0,
        )  # fmt: skip
        ax.axvline(0, color=GREY, lw=1)
        ax.set_yticks(range(len(moved)), [m[0] for m in moved], fontsize=8)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        if len(moved) == 2 * CLASSES:
            ax.axhline(CLASSES - 0.5, color="#9a9a9a", lw=0.8, ls=":")
        reach = max(1.0, *(abs(v) for v in values))
        ax.set_xlim(min(0, *values) - 0.18 * reach, max(0, *values) + 0.18 * reach)
        for y, v in enumerate(values):
            ax.annotate(
                f"{v:+.1f}" if v else "0", (v, y), xytext=(3 if v >= 0 else -3, 0),
                textcoords="offset points", va="center", ha="left" if v >= 0 else "right",
                fontsize=7.5, color="#333333",
            )  # fmt: skip
        ax.set_title(f"{shortened(f'{title}: {who}', 74)}\n{subtitle}")
        ax.set_xlabel("points")
