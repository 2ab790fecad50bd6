"""Average ranks over datasets, with the critical difference (Demšar's diagram)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.figures.drawing import DOWN, UP, draw_heading
from susx_bench.leaderboard.figures.picture import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rank_pictures(board: Board, names: Sequence[str]) -> list[Picture]:
    """One picture per section with significant ranks, see `statistics.Ranking.difference`."""
    drawn = []
    for number, ranked in enumerate(board.ranks, start=1):
        ranking = ranked.ranking
        if ranking.difference is None:
            continue
        order = sorted(zip(ranking.ranks, (names[i] for i in ranked.rows), strict=True))
        n = len(order)
        label = f" · {ranked.label}" if len(board.ranks) > 1 else ""
        data = {
            "heading": f"Average ranks over {ranking.datasets} datasets{label}",
            "ranks": order,
            "difference": ranking.difference,
            "p": ranking.p,
            "ticks": [
                t for t in range(1, n + 1) if n <= 20 or t in (1, n) or t % 5 == 0 < n - t - 2
            ],
        }
        p = "" if ranking.p is None else f" Friedman's p = {ranking.p:.2g}."
        text = (
            "Average rank of every complete row, 1 the best. Rows joined by a bar differ by less "
            f"than the critical difference of {ranking.difference:.2f} (Nemenyi, 5 %).{p}"
        )
        name = f"{board.name}-ranks" + (f"-{number}" if len(board.ranks) > 1 else "")
        height = 1.35 + 0.23 * math.ceil(n / 2)
        drawn.append(
            Picture(
                name, str(data["heading"]).partition("\n")[0], text, 8.4, height, data, _draw_ranks
            )
        )
    return drawn


def _draw_ranks(figure: Figure, data: Any) -> None:
    draw_heading(figure, data["heading"])
    ax = figure.subplots()
    ax.set_axis_off()
    ranks, names = zip(*data["ranks"], strict=True)
    n = len(ranks)
    cliques = _cliques(ranks, data["difference"])
    half = math.ceil(n / 2)
    top = 0.55 + 0.34 * len(cliques)  # the names begin below the bars
    span = max(n - 1, 1)
    ax.plot([1, n], [0, 0], color="black", lw=1.2)
    for tick in range(1, n + 1):
        labelled = tick in data["ticks"]
        ax.plot([tick, tick], [0, -0.16 if labelled else -0.08], color="black", lw=1.2)
        if labelled:
            ax.text(tick, -0.28, f"{tick}", ha="center", va="bottom")
    ax.plot([1, 1 + data["difference"]], [-1.35, -1.35], color=UP, lw=2.4, solid_capstyle="butt")
    label = f"critical difference {data['difference']:.2f}"
    ax.text(1, -1.5, label, color=UP, ha="left", va="bottom")
    for i, (rank, name) in enumerate(zip(ranks, names, strict=True)):
        on_left = i < half
        y = top + 0.62 * (i if on_left else n - 1 - i)
        x = 1 - 0.04 * span if on_left else n + 0.04 * span
        ax.plot([rank, rank, x], [0, y, y], color="#777777", lw=0.9)
        ax.plot(rank, 0, "o", color="black", ms=4)
        text = f"{name}  {rank:.2f} " if on_left else f" {rank:.2f}  {name}"
        ax.text(x, y, text, ha="right" if on_left else "left", va="center")
    for level, (first, last) in enumerate(cliques):
        y = 0.3 + 0.34 * level
        margin = 0.012 * span
        ax.plot(
            [ranks[first] - margin, ranks[last] + margin], [y, y],
            color=DOWN, lw=4, solid_capstyle="round",
        )  # fmt: skip
    ax.set_xlim(1 - 0.62 * span, n + 0.62 * span)
    ax.set_ylim(top + 0.62 * (half - 1) + 0.5, -2.3)


def _cliques(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Longest runs of sorted ranks within the critical difference, at least two ranks each."""
    cliques: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i in range(len(ranks)) if ranks[i] - ranks[first] <= difference)
        if last > first and (not cliques or last > cliques[-1][1]):
            cliques.append((first, last))
    return cliques
