"""Points over zero-shot on each dataset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from susx_bench.leaderboard.board import Board, Section
from susx_bench.leaderboard.figures.drawing import (
    GREY,
    draw_heading,
    draw_legend,
    draw_panels,
    marker_style,
)
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.figures.rows import (
    Family,
    best_columns,
    chosen_rows,
    column_title,
    floor_of,
    headed,
    look_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gain_pictures(
    board: Board,
    names: Sequence[str],
    section: Section,
    families: Sequence[Family],
    slug: str,
) -> list[Picture]:
    """Pictures of points over zero-shot at the most shots of each dataset; none without it."""
    base = board.zero_shot
    if base is None:
        return []
    zero = board.rows[base].cells
    columns = [(c, family) for family in families for c in best_columns(board, family) if zero[c]]
    rows, note = chosen_rows(board, section, [c for c, _ in columns])
    rows = [i for i in rows if i != base]
    entries: list[tuple[str, float, dict[str, float]]] = []
    shots = {board.columns[c].task.shots for c, _ in columns}
    for c, family in columns:
        start = zero[c]
        gains = {
            names[i]: cell.mean - start.mean
            for i in rows
            if start and (cell := board.rows[i].cells[c])
        }
        if start and gains:
            title = column_title(board.columns[c].task, family, len(shots) > 1)
            entries.append((title, start.mean, gains))
    if not entries:
        return []
    entries.sort(key=lambda entry: (max(entry[2].values()), entry[0]))
    few = len(entries) <= 3
    legend = 0.2 * math.ceil(len(rows) / 3) + 0.35
    lines = len(entries) * (len(rows) + 2.4) * 0.21 + 0.5
    heading = ["Gain over zero-shot", *([families[0].whole] if len(families) == 1 else [])]
    heading += [f"S = {s}" for s in shots if s and len(shots) == 1]
    data = {
        "heading": headed(" · ".join(heading), board, section),
        "entries": entries,
        "looks": {names[i]: look_of(board, board.rows[i]) for i in rows},
    }
    text = (
        "Points of top-1 accuracy over zero-shot CLIP at the most shots, the dataset with the "
        f"largest gain on top; zero-shot's own accuracy stands beside it.{note}"
    )
    return [
        Picture(
            name=f"{board.name}-gain{slug}",
            title=str(data["heading"]).partition("\n")[0],
            text=text,
            width=7.2,
            height=lines if few else 0.3 * len(entries) + legend + 0.9,
            data=data,
            _draw=_draw_gain_of_few if few else _draw_gain,
        )
    ]


def _draw_gain(figure: Figure, data: Any) -> None:
    draw_heading(figure, data["heading"])
    ax = figure.subplots()
    handles = {}
    names = list(data["looks"])
    for y, (_, _, gains) in enumerate(data["entries"]):
        ax.plot([min(0, *gains.values()), max(0, *gains.values())], [y, y], color="#c9c9c9", lw=1.2)
        for name, gain in gains.items():
            look = data["looks"][name]
            # A small shift by the row keeps equal gains apart.
            shift = (
                0.3 * (names.index(name) / max(1, len(names) - 1) - 0.5) if len(names) > 1 else 0
            )
            (handles[name],) = ax.plot(gain, y - shift, linestyle="None", **marker_style(look, 6))
    ax.axvline(0, color=GREY, lw=1)
    ax.set_yticks(range(len(data["entries"])), [entry[0] for entry in data["entries"]])
    ax.set_ylim(-0.6, len(data["entries"]) - 0.4)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("points over zero-shot")
    for y, (_, start, _) in enumerate(data["entries"]):
        ax.text(
            1.01, y, f"{start:.1f}", transform=ax.get_yaxis_transform(), va="center", color=GREY
        )
    ax.set_title("zero-shot, %", loc="right", fontsize=8, color=GREY)
    draw_legend(figure, handles, names, 3, handlelength=1)


def _draw_gain_of_few(figure: Figure, data: Any) -> None:
    """Draw two or three datasets: one panel per dataset, one line per row."""
    draw_heading(figure, data["heading"])
    entries = data["entries"][::-1]
    axes = draw_panels(figure, len(entries), 1)
    reach = [gain for _, _, gains in entries for gain in gains.values()]
    lowest = min(floor_of(reach), -0.1 * max(0, *reach))
    reach = [max(gain, lowest) for gain in reach]  # what lies below ends at the edge
    span = max(0, *reach) - min(0, *reach) or 1.0
    for ax, (label, start, gains) in zip(axes, entries, strict=True):
        for y, (name, gain) in enumerate(gains.items()):
            look = data["looks"][name]
            end = max(gain, lowest)
            ax.plot([0, end], [y, y], color=look.colour, lw=1.6, linestyle=look.line)
            style = marker_style(look, 6) | ({"marker": "<"} if gain < lowest else {})
            ax.plot(end, y, linestyle="None", **style)
            ax.annotate(
                f"{gain:+.1f}", (end, y), xytext=(7 if gain >= 0 else -7, 0),
                textcoords="offset points", va="center", ha="left" if gain >= 0 else "right",
                fontsize=8,
            )  # fmt: skip
        ax.axvline(0, color=GREY, lw=1)
        ax.set_yticks(range(len(gains)), list(gains))
        ax.set_ylim(len(gains) - 0.4, -0.6)
        ax.set_xlim(min(0, *reach) - 0.12 * span, max(0, *reach) + 0.12 * span)
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
        ax.set_title(f"{label}: zero-shot {start:.1f} %")
    axes[-1].set_xlabel("points over zero-shot")
