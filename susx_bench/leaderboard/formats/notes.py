"""Notes on the numbers of a board, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from susx_bench.console import counted
from susx_bench.leaderboard.board import MARKS, UNRANKED, Board, Cell
from susx_bench.leaderboard.labels import WORDS
from susx_bench.leaderboard.statistics import FEWEST

LEVEL = 0.05
"""Adjusted p below which a cell gets an arrow."""

_USUAL = {("precision", "fp32"), ("views", "1"), ("support", "few-shot"), ("draw", "balanced")}


def facts(board: Board) -> str:
    """The properties that all columns share, in one line."""
    words = [
        WORDS[name].format(value) for name, value in board.facts if (name, value) not in _USUAL
    ]
    sizes = dict.fromkeys((column.task.dataset, column.task.n_test) for column in board.columns)
    if len({dataset for dataset, _ in sizes}) == len(sizes):  # else the columns name them
        tests = ", ".join(f"{dataset} {n:,}" for dataset, n in sizes)
        words.append(f"test images: {tests}")
    return " · ".join(words)


def notes(board: Board) -> list[str]:
    """Notes on the numbers, one or two sentences per line."""
    cells = [cell for row in board.rows for cell in row.cells if cell]
    heading = board.metric.heading
    lines = [f"{heading[0].upper()}{heading[1:]}."]
    if any(cell.spread is not None for cell in cells):
        lines[0] += f" Over several {_runs(cells)} their mean ± the standard deviation."
    if any(cell.spread is None and cell.low is not None for cell in cells):
        lines[0] += " In brackets the 95 % Wilson interval of one run."
    lines += same_draws(board)
    marked = " or ".join(mark for mark in board.marks if mark in UNRANKED)
    unranked = marked and f", without those marked {marked}"
    if len(board.sections) > 1:
        lines.append(
            "Rows are compared within their section only: methods of one regime, all trained or "
            "none, that were allowed to see the same. In each column the best of a section is bold "
            f"and the second underlined{unranked}."
        )
    else:
        lines.append(f"In each column the best is bold and the second underlined{unranked}.")
    if any(average is None for row in board.rows for average in row.averages):
        lines.append("A blank was not measured, and its row has no mean there.")
    tests = sum(cell.p is not None for cell in cells)
    if tests:
        lines.append(
            f"▲ ▼ better or worse than {board.baseline} on the same test images, allowed to see "
            "the same, under the same support and prompts or the next to them that it has: "
            "McNemar's exact test, mid-p, runs of one image taken together; "
            f"p < {LEVEL} after Holm's correction for all {tests} "
            "tests."
        )
    if any(column.clean is not None for column in board.columns):
        lines.append(
            "Robustness: the points that a number is worse by than that of the clean test set with "
            "the same classes, under the same encoder, prompts and support."
        )
    if own_prompts := sorted({row.method for row in board.rows if row.prompts == row.method}):
        verb = "reads prompts of its" if len(own_prompts) == 1 else "read prompts of their"
        lines.append(f"{', '.join(own_prompts)} {verb} own.")
    lines += _rank_notes(board)
    if any(cell.published for cell in cells):
        lines.append(
            "Published figures stand beside ours where method, dataset, encoder, tuning, setting, "
            "shots and split agree; inside means in our 95 % interval: Wilson's for one run, "
            "Student's over several seeds."
        )
    lines += [f"{mark} {MARKS[mark]}." for mark in board.marks]
    lines += board.unmeasured
    lines += board.left_out
    if board.left_out:
        lines[-1] += " `susx-bench records prune` removes what is left out."
    if board.absent:
        lines.append(board.absent)
    count = counted(board.records, "record")
    lines.append(f"Made from {count} by susx-bench leaderboard build.")
    return lines


def _runs(cells: Sequence[Cell]) -> str:
    """The difference between the runs of a cell: seeds, orders, or both."""
    seeds = any(len(set(cell.seeds)) > 1 for cell in cells)
    orders = any(len(set(cell.orders)) > 1 for cell in cells)
    return " and ".join(["seeds"] * seeds + ["orders"] * orders)


def same_draws(board: Board) -> list[str]:
    """Name the seeds that drew the same images, one line per list of seeds."""
    columns: dict[tuple[int, ...], list[str]] = {}
    for column, *cells in zip(board.columns, *(row.cells for row in board.rows), strict=True):
        for seeds in dict.fromkeys(s for cell in cells if cell for s in cell.alike):
            columns.setdefault(seeds, []).append(column.label)
    return [same_draw(seeds, labels) for seeds, labels in columns.items()]


def same_draw(seeds: Sequence[int], where: Sequence[str]) -> str:
    """A sentence that some seeds drew the same images."""
    listed = f"{', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"
    on = f" on {', '.join(where)}" if where else ""
    return f"Seeds {listed} drew the same images{on}: they are one run."


def _rank_notes(board: Board) -> list[str]:
    """Notes on the average ranks: their datasets, and the difference that is significant."""
    ranked = [ranks for ranks in board.ranks if ranks.ranking.datasets > 1]
    if not ranked:
        return []
    sizes = {ranks.ranking.datasets for ranks in ranked}
    few = f" With fewer than {FEWEST} they are not tested." if min(sizes) < FEWEST else ""
    over = " or ".join(map(str, sorted(sizes)))
    lines = [f"Ranks are means over {over} datasets, of rows that are ranked on all of them.{few}"]
    for ranks in ranked:
        p, difference = ranks.ranking.p, ranks.ranking.difference
        if p is None:
            continue
        of = f"{ranks.label}: " if len(board.sections) > 1 else ""
        line = f"{of}Friedman p {f'= {p:.3f}' if p >= 0.001 else '< 0.001'}; "
        if difference is None:
            line += "no two of these ranks can be told apart."
        else:
            line += f"ranks further apart than {difference:.2f} differ at the 5 % level (Nemenyi)."
        lines.append(line)
    return lines
