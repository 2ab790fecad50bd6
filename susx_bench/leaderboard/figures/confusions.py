"""The classes that the best row of a column still confuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from susx_bench.leaderboard.board import Board, Section
from susx_bench.leaderboard.figures.drawing import COLOURS, draw_heading, draw_panels, shortened
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


def confusion_pictures(
    board: Board,
    names: Sequence[str],
    section: Section,
    families: Sequence[Family],
    records: Mapping[str, Record],
) -> list[Picture]:
    """Pictures of the most frequent wrong answers of the best row of a section."""
    best, note = best_rows(board, section, families)
    panels = [
        _pairs(board, title, names[i], records[cell.records[0]], records[zero.records[0]])
        for title, i, cell, zero in best
    ]
    panels = [panel for panel in panels if panel[-1]]
    if not panels:
        return []
    return [
        panel_picture(
            f"{board.name}-confusions",
            headed("What is still confused", board, section),
            f"The {CLASSES} most frequent wrong answers of the best row, as class → answer, in "
            "test images of one run; a ring is zero-shot's count where it is among its 20 most "
            f"frequent.{note}",
            panels,
            0.24,
            _draw_confusions,
        )
    ]


def _pairs(board: Board, title: str, name: str, after: Record, before: Record) -> list[Any]:
    called = class_namer(board, after)
    counts_before = {(true, answer): count for true, answer, count in before.confusions}
    sizes = {true: n for true, _, n in after.classes}
    seed = f", seed {after.seed}" if after.seed else ""
    return [
        title,
        name + seed,
        [
            [
                f"{shortened(called(true), 20)} → {shortened(called(answer), 20)}",
                count,
                counts_before.get((true, answer)),
                sizes[true],
            ]
            for true, answer, count in after.confusions[:CLASSES]
        ],
    ]


def _draw_confusions(figure: Figure, data: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    draw_heading(figure, data["heading"])
    axes = draw_panels(figure, len(data["panels"]), data["across"])
    handles: dict[str, Any] = {}
    for ax, (title, who, pairs) in zip(axes, data["panels"], strict=True):
        places = range(len(pairs))
        counts = [pair[1] for pair in pairs]
        handles["best row"] = ax.barh(places, counts, color=COLOURS[5], height=0.66)
        zero_shot = [(y, pair[2]) for y, pair in enumerate(pairs) if pair[2] is not None]
        (handles["zero-shot"],) = ax.plot(
            [count for _, count in zero_shot], [y for y, _ in zero_shot],
            "o", mfc="none", mec="black", mew=1.4, ms=7,
        )  # fmt: skip
        ax.set_yticks(places, [pair[0] for pair in pairs], fontsize=8)
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        for y, (_, count, _, n) in enumerate(pairs):
            ax.annotate(
                f"{count} of {n}", (0, y), xytext=(3, 0), textcoords="offset points",
                va="center", fontsize=7.5,
            )  # fmt: skip
        most = max([*counts, *(count for _, count in zero_shot)])
        ax.set_xlim(0, 1.08 * most)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title(shortened(f"{title}: {who}", 74), loc="right")  # above long names
        ax.set_xlabel("test images of the class")
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower left", ncols=2, handlelength=1.2
    )
