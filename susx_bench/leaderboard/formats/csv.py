"""A board as CSV."""

from __future__ import annotations

import csv
import io

from susx_bench.console import FORMULA, printable
from susx_bench.leaderboard.board import Board, Cell

SMALLEST_P = 1e-9
"""Smaller p values are written as this one: their digits would depend on the machine."""

COLUMNS = (
    *("method", "tuned_on", "official", "regime", "batches", "saw"),
    *("dataset", "encoder", "setting", "support", "shots", "prompts", "protocol", "draw"),
    *("views", "precision", "n_test"),
    *("accuracy", "sd", "tail", "low", "high"),
    *("mean_per_class", "macro_f1", "top5", "ece", "nll"),
    *("runs", "seeds", "orders", "marks"),
    *("section", "rank"),
    *("baseline", "gain", "p", "p_holm"),
    *("published", "difference", "inside", "source", "records"),
)
"""Names of the CSV's columns. ``also`` is added if options without a column are set, and a column
of `OPEN` if a cell has its number.

If another metric than the accuracy is shown, the two columns are swapped.
"""

OPEN = ("auroc", "fpr95")
"""Numbers that only records with unknown images have."""


def as_csv(board: Board) -> str:
    """The board as CSV, one line per cell; a cell that was not measured has no accuracy.

    Percent and points have four decimals, p has three digits and is never below `SMALLEST_P`.
    Several entries in one field are separated by a space, sources by `` / ``. A text that a
    spreadsheet would read as a formula begins with an apostrophe.
    """
    out = io.StringIO()
    also = ("also",) if any(column.task.also for column in board.columns) else ()
    swap = {"accuracy": board.metric.name, board.metric.name: "accuracy"}
    cells = [cell for row in board.rows for cell in row.cells if cell]
    more = [name for name in OPEN if any(cell.numbers[name] is not None for cell in cells)]
    columns = [*(swap.get(name, name) for name in (*COLUMNS, *more)), *also]
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    labels = {place: part.label for part in board.sections for place in part.rows}
    for place, row in enumerate(board.rows):
        base = board.rows[row.baseline] if row.baseline is not None else None
        for column, cell in zip(board.columns, row.cells, strict=True):
            line = {name: getattr(column.task, name) for name in (*COLUMNS[6:17], *also)}
            line |= {name: getattr(row, name) for name in COLUMNS[:6]}
            line["section"] = labels[place]
            line["support"] = row.support or line["support"]
            line["prompts"] = row.prompts or line["prompts"]
            if cell is not None:
                line |= _fields(cell, f"{base.label} {base.tuning}" if base else "")
                line["marks"] += column.marks
            names = [name for name in line if name in more or name not in OPEN]
            writer.writerow({name: _plain(line[name]) for name in names})
    return out.getvalue()


def _fields(cell: Cell, baseline: str) -> dict[str, object]:
    fields: dict[str, object] = {
        **cell.numbers,
        "sd": cell.spread,
        "tail": cell.tail,
        "low": cell.low,
        "high": cell.high,
        "runs": len(cell.records),
        "seeds": " ".join(map(str, cell.seeds)),
        "orders": " ".join(map(str, cell.orders)),
        "marks": cell.marks,
        "rank": None if cell.rank is None else f"{cell.rank:g}",
        "baseline": baseline if cell.gain is not None else "",
        "gain": cell.gain,
        "p": _p(cell.p),
        "p_holm": _p(cell.p_holm),
        "records": " ".join(cell.records),
    }
    if cell.published:
        best = cell.published[0]
        fields |= {
            "published": f"{best.figure.accuracy:g}",
            "difference": best.difference,
            "inside": best.inside,
            "source": " / ".join(
                f"{p.figure.source} {p.figure.accuracy:g}" for p in cell.published
            ),
        }
    return fields


def _p(p: float | None) -> str | None:
    return None if p is None else f"{max(p, SMALLEST_P):.3g}"


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4f}"
    text = printable(str(value))
    return f"'{text}" if text.startswith(FORMULA) else text
