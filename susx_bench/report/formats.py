"""A leaderboard to read: Markdown, CSV, LaTeX, HTML and the terminal, each drawn from a `Board`.

The same board gives the same bytes. Names come from datasets and plugins: every format escapes
them.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.console import RenderableType
from rich.table import Table as RichTable

from susx_bench.console import counted, one_line, printable, several_lines
from susx_bench.report.board import (
    MARKS,
    UNRANKED,
    WORDS,
    Board,
    Cell,
    Column,
    Compared,
    Ranks,
    Row,
)
from susx_bench.report.statistics import FEWEST

LEVEL = 0.05
"""Adjusted p below which a cell gets an arrow."""

SMALLEST_P = 1e-9
"""Smaller p are written as this: their digits would depend on the machine."""

_WIDE = 12  # columns of numbers that a table holds before the next group starts another one

_USUAL = {("precision", "fp32"), ("views", "1"), ("support", "few-shot"), ("draw", "balanced")}


class Item(NamedTuple):
    """One entry of a table, not yet escaped.

    Attributes:
        text: What is set bold or underlined.
        rest: What follows it.
        place: 1 for bold, 2 for underlined, 0 for neither.
    """

    text: str
    rest: str = ""
    place: int = 0


Rows = list[list[Item]]
"""Entries, as many a row as a table has columns."""


class Sheet(NamedTuple):
    """A table in no format yet.

    Attributes:
        title: What stands above it; empty for nothing.
        head: Names of the columns.
        sections: Its rows, by what stands above them; the only section's label is empty.
        numbers: Number of columns, from the right, that hold numbers.
    """

    title: str
    head: list[str]
    sections: list[tuple[str, Rows]]
    numbers: int


def sheets(board: Board) -> list[Sheet]:
    """The tables of a board: the numbers, then ranks and published figures where there are any."""
    parts = _parts(board)
    found = [_numbers(board, part, titled=len(parts) > 1) for part in parts]
    if ranked := [ranks for ranks in board.ranks if ranks.ranking.datasets > 1]:
        found.append(_ranks(board, ranked))
    if any(cell.published for row in board.rows for cell in row.cells if cell):
        found.append(_published(board))
    return found


def _parts(board: Board) -> list[list[int]]:
    """Groups that share a table: as many as fit side by side, at least one."""
    parts: list[list[int]] = []
    width = 0
    for place, group in enumerate(board.groups):
        size = len(group.columns)
        if not parts or width + size > _WIDE:
            parts.append([])
            width = 0
        parts[-1].append(place)
        width += size
    return parts


def _numbers(board: Board, part: Sequence[int], *, titled: bool) -> Sheet:
    head: list[str] = []
    rows: Rows = [_name(row) for row in board.rows]
    groups = [board.groups[place] for place in part]
    for place, group in zip(part, groups, strict=True):
        for column in group.columns:
            head.append(board.columns[column].label + board.columns[column].marks)
            for items, row in zip(rows, board.rows, strict=True):
                items.append(_item(row.cells[column], row))
        if len(group.columns) > 1:
            head.append("mean" + (f", {group.label}" if group.label else ""))
            for items, row in zip(rows, board.rows, strict=True):
                average = row.averages[place]
                items.append(Item("" if average is None else f"{average:.1f}"))
    labels = [group.label for group in groups]
    title = " · ".join(label for label in labels if label) if titled else ""
    sections = [(part.label, [rows[i] for i in part.rows]) for part in board.sections]
    if len(sections) == 1:
        sections = [("", rows)]
    return Sheet(title, ["method", "tuned on", *head], sections, len(head))


def _name(row: Row) -> list[Item]:
    """A row's first entries: marks of the regime with the name, those of the tuning with it."""
    tuning = "".join(mark for mark in row.marks if mark in UNRANKED)
    regime = "".join(mark for mark in row.marks if mark not in UNRANKED)
    return [Item(row.label, regime), Item(row.tuning, tuning and f" {tuning}")]


def number(cell: Cell) -> tuple[str, str]:
    """A cell's mean, and its spread over runs or its interval for one run."""
    if cell.spread is not None:
        return f"{cell.mean:.1f}", f" ±{cell.spread:.1f}"
    return f"{cell.mean:.1f}", f" [{cell.low:.1f}, {cell.high:.1f}]"


def arrow(cell: Cell) -> str:
    """``▲`` or ``▼`` for a cell that is better or worse than the baseline's, else nothing."""
    if cell.p_holm is None or cell.gain is None or cell.p_holm >= LEVEL:
        return ""
    return "▲" if cell.gain > 0 else "▼"


def _item(cell: Cell | None, row: Row) -> Item:
    if cell is None:
        return Item("")
    mean, rest = number(cell)
    marks = "".join(mark for mark in cell.marks if mark not in row.marks) + arrow(cell)
    return Item(mean, rest + (f" {marks}" if marks else ""), cell.place)


def _ranks(board: Board, ranked: Sequence[Ranks]) -> Sheet:
    sections = []
    for ranks in ranked:
        order = sorted(zip(ranks.ranking.ranks, ranks.rows, strict=True))
        rows = [[*_name(board.rows[i]), Item(f"{rank:.2f}")] for rank, i in order]
        sections.append((ranks.label if len(board.sections) > 1 else "", rows))
    return Sheet("Average ranks", ["method", "tuned on", "rank"], sections, 1)


def _published(board: Board) -> Sheet:
    rows = []
    for row in board.rows:
        seen = set()
        for column, cell in zip(board.columns, row.cells, strict=True):
            if cell is None or cell.records in seen:
                continue  # a method without support has one number, in however many columns
            seen.add(cell.records)
            rows += [_beside(row, column, cell, compared) for compared in cell.published]
    head = [*("method", "tuned on", "task", "source"), *("ours", "published", "difference", "")]
    return Sheet("Beside published figures", head, [("", rows)], 4)


def _beside(row: Row, column: Column, cell: Cell, compared: Compared) -> list[Item]:
    figure = compared.figure
    source = figure.source if figure.primary else f"{figure.source} (a copy)"
    return [
        *_name(row),
        Item(column.label),
        Item(source + (f"; {figure.note}" if figure.note else "")),
        Item(f"{cell.mean:.1f}", f" [{cell.low:.1f}, {cell.high:.1f}]"),
        Item(f"{figure.accuracy:.2f}"),
        Item(f"{compared.difference:+.1f}"),
        Item("inside" if compared.inside else "outside"),
    ]


def facts(board: Board) -> str:
    """What all columns have in common, in one line."""
    words = [
        WORDS[name].format(value) for name, value in board.facts if (name, value) not in _USUAL
    ]
    sizes = dict.fromkeys((column.task.dataset, column.task.n_test) for column in board.columns)
    if len({dataset for dataset, _ in sizes}) == len(sizes):  # else the columns say them
        tests = ", ".join(f"{dataset} {n:,}" for dataset, n in sizes)
        words.append(f"test images: {tests}")
    return " · ".join(words)


def notes(board: Board) -> list[str]:
    """What a reader must know about the numbers, a sentence or two a line."""
    cells = [cell for row in board.rows for cell in row.cells if cell]
    lines = ["Top-1 accuracy in %."]
    if any(cell.spread is not None for cell in cells):
        lines[0] += f" Over several {_runs(cells)} their mean ± the standard deviation."
    if any(cell.spread is None for cell in cells):
        lines[0] += " In brackets the 95 % Wilson interval of one run."
    lines += _alike(board)
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
    lines += _rank_notes(board)
    if any(cell.published for cell in cells):
        lines.append(
            "Published figures stand beside ours where method, dataset, encoder, tuning, setting, "
            "shots and split agree; inside means in our 95 % interval: Wilson's for one run, "
            "Student's over several seeds."
        )
    lines += [f"{mark} {MARKS[mark]}." for mark in board.marks]
    lines += board.left_out
    if board.left_out:
        lines[-1] += " `susx-bench records prune` removes what is left out."
    made = counted(board.records, "record")
    lines.append(f"Made from {made} by susx-bench leaderboard build.")
    return lines


def _runs(cells: Sequence[Cell]) -> str:
    """What tells the runs of cells apart: seeds, orders, or both."""
    seeds = any(len(set(cell.seeds)) > 1 for cell in cells)
    orders = any(len(set(cell.orders)) > 1 for cell in cells)
    return " and ".join(["seeds"] * seeds + ["orders"] * orders)


def _alike(board: Board) -> list[str]:
    """Which seeds drew the same images, a line for each list of seeds."""
    columns: dict[tuple[int, ...], list[str]] = {}
    for column, *cells in zip(board.columns, *(row.cells for row in board.rows), strict=True):
        for seeds in dict.fromkeys(s for cell in cells if cell for s in cell.alike):
            columns.setdefault(seeds, []).append(column.label)
    return [same_draw(seeds, labels) for seeds, labels in columns.items()]


def same_draw(seeds: Sequence[int], where: Sequence[str]) -> str:
    """That some seeds drew the same images, as a sentence."""
    told = f"{', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"
    on = f" on {', '.join(where)}" if where else ""
    return f"Seeds {told} drew the same images{on}: they are one run."


def _rank_notes(board: Board) -> list[str]:
    """What the average ranks are over, and how far apart they mean something."""
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


def markdown(board: Board) -> str:
    """The board as Markdown; its text stands there as it is, it is the suite's author's."""
    lines = [f"# {_md(board.title)}", ""]
    if board.text.strip():
        lines += [board.text.strip(), ""]
    lines += [f"{_md(facts(board))}.", ""]
    for sheet in sheets(board):
        if sheet.title:
            lines += [f"## {_md(sheet.title)}", ""]
        names = len(sheet.head) - sheet.numbers
        lines.append("| " + " | ".join(map(_md, sheet.head)) + " |")
        lines.append("|" + "---|" * names + "--:|" * sheet.numbers)
        for label, rows in sheet.sections:
            if label:
                blanks = [""] * (len(sheet.head) - 1)
                lines.append("| " + " | ".join([f"*{_md(label)}*", *blanks]) + " |")
            lines += ["| " + " | ".join(map(_md_item, row)) + " |" for row in rows]
        lines.append("")
    lines += [line for note in notes(board) for line in (_md(note), "")]
    return "\n".join(lines[:-1]) + "\n"


def _md(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]<>|#~&$])", r"\\\1", printable(text))
    return text.replace("://", r"\://")  # no link that nobody made


def _md_item(item: Item) -> str:
    text = _md(item.text)
    if item.place:
        text = f"**{text}**" if item.place == 1 else f"<ins>{text}</ins>"
    return text + item.rest  # numbers and marks, no names


def latex(board: Board) -> str:
    """The board as LaTeX tables for booktabs, each a ``tabular`` to be placed."""
    lines = [
        f"% {printable(board.title)}",
        f"% {printable(facts(board))}",
        *(f"% {note}" for note in map(printable, notes(board))),
        r"% Needs \usepackage{booktabs}.",
    ]
    for sheet in sheets(board):
        names = len(sheet.head) - sheet.numbers
        lines += ["", f"% {printable(sheet.title)}"] if sheet.title else [""]
        lines.append(r"\begin{tabular}{" + "l" * names + "r" * sheet.numbers + "}")
        lines += [r"\toprule", " & ".join(map(_tex, sheet.head)) + r" \\"]
        for label, rows in sheet.sections:
            lines.append(r"\midrule")
            if label:
                whole = rf"\multicolumn{{{len(sheet.head)}}}{{l}}{{\emph{{{_tex(label)}}}}}"
                lines.append(whole + r" \\")
            lines += [" & ".join(map(_tex_item, row)) + r" \\" for row in rows]
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


_TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a row's end a bracket would be an argument, and a star
    "]": "{]}",
    "*": "{*}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "¶": r"\P{}",
    "ᵗ": r"$^{\mathrm{t}}$",
    "ˢ": r"$^{\mathrm{s}}$",
    "§": r"\S{}",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "–": "--",
    "·": r"$\cdot$",
}


def _tex(text: str) -> str:
    escaped = "".join(_TEX.get(c, c) for c in printable(text).replace("--", "-\0-"))
    return escaped.replace("\0", "{}")  # two hyphens of a name are no dash


def _tex_item(item: Item) -> str:
    text = _tex(item.text)
    if item.place:
        text = (r"\textbf{" if item.place == 1 else r"\underline{") + text + "}"
    return text + _tex(item.rest)


def html_tables(board: Board) -> str:
    """The board's tables as HTML, without a page around them."""
    lines = []
    for sheet in sheets(board):
        names = len(sheet.head) - sheet.numbers
        lines.append("<table>")
        if sheet.title:
            lines.append(f"<caption>{_html(sheet.title)}</caption>")
        head = "".join(f'<th scope="col">{_html(name)}</th>' for name in sheet.head)
        lines += [f"<thead><tr>{head}</tr></thead>", "<tbody>"]
        for label, rows in sheet.sections:
            if label:
                span = f'colspan="{len(sheet.head)}" scope="rowgroup"'
                lines.append(f"<tr><th {span}>{_html(label)}</th></tr>")
            for row in rows:
                first = f'<th scope="row">{_html_item(row[0])}</th>'
                words = "".join(f"<td>{_html_item(item)}</td>" for item in row[1:names])
                values = "".join(
                    f'<td class="number">{_html_item(item)}</td>' for item in row[names:]
                )
                lines.append(f"<tr>{first}{words}{values}</tr>")
        lines += ["</tbody>", "</table>"]
    return "\n".join(lines) + "\n"


def _html(text: str) -> str:
    return html.escape(printable(text))


def _html_item(item: Item) -> str:
    text = _html(item.text)
    if item.place:
        text = f"<strong>{text}</strong>" if item.place == 1 else f"<u>{text}</u>"
    return text + _html(item.rest)


def terminal(board: Board) -> list[RenderableType]:
    """The board for a terminal: heading, tables and notes."""
    heading = several_lines([one_line((board.title, "bold")), facts(board)])
    parts: list[RenderableType] = [heading]
    for sheet in sheets(board):
        if sheet.title:
            parts.append(one_line((sheet.title, "bold")))
        for label, rows in sheet.sections:
            if label:
                parts.append(one_line((label, "italic")))
            table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
            names = len(sheet.head) - sheet.numbers
            for place, name in enumerate(sheet.head):
                numbers = place >= names
                table.add_column(name, justify="right" if numbers else "left", no_wrap=numbers)
            for row in rows:
                table.add_row(*map(_rich_item, row))
            parts.append(table)
    return [*parts, several_lines(notes(board))]


def _rich_item(item: Item) -> RenderableType:
    style = ("", "bold", "underline")[item.place]
    return one_line((item.text, style), item.rest)


COLUMNS = (
    *("method", "tuned_on", "official", "regime", "batches", "saw"),
    *("dataset", "encoder", "setting", "support", "shots", "prompts", "protocol", "draw"),
    *("views", "precision", "n_test"),
    *(
        "accuracy",
        "sd",
        "tail",
        "low",
        "high",
        "mean_per_class",
        "runs",
        "seeds",
        "orders",
        "marks",
    ),
    *("section", "rank"),
    *("baseline", "gain", "p", "p_holm"),
    *("published", "difference", "inside", "source", "records"),
)
"""Names of the CSV's columns."""


def as_csv(board: Board) -> str:
    """The board as CSV, one line a cell; a cell that was not measured has no accuracy.

    Percent and points with four decimals, p with three digits and never below `SMALLEST_P`.
    Several entries in one field are parted by a space, or for sources by `` / ``. A text that a
    spreadsheet would take for a formula begins with an apostrophe, by which it takes it for a text.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    labels = {place: part.label for part in board.sections for place in part.rows}
    for place, row in enumerate(board.rows):
        base = board.rows[row.baseline] if row.baseline is not None else None
        for column, cell in zip(board.columns, row.cells, strict=True):
            line = {name: getattr(column.task, name) for name in COLUMNS[6:17]}
            line |= {name: getattr(row, name) for name in COLUMNS[:6]}
            line["section"] = labels[place]
            line["support"] = row.support or line["support"]
            line["prompts"] = row.prompts or line["prompts"]
            if cell is not None:
                line |= _fields(cell, f"{base.label} {base.tuning}" if base else "")
                line["marks"] += column.marks
            writer.writerow({name: _plain(value) for name, value in line.items()})
    return out.getvalue()


def _fields(cell: Cell, baseline: str) -> dict[str, object]:
    found: dict[str, object] = {
        "accuracy": cell.mean,
        "sd": cell.spread,
        "tail": cell.tail,
        "low": cell.low,
        "high": cell.high,
        "mean_per_class": cell.mean_per_class,
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
        found |= {
            "published": f"{best.figure.accuracy:g}",
            "difference": best.difference,
            "inside": best.inside,
            "source": " / ".join(
                f"{p.figure.source} {p.figure.accuracy:g}" for p in cell.published
            ),
        }
    return found


_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with; the last four are the wide letters of Japanese keyboards."""


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
    return f"'{text}" if text.startswith(_FORMULA) else text
