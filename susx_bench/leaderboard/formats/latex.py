"""A board as LaTeX."""

from __future__ import annotations

from susx_bench.console import printable
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.formats.notes import facts, notes
from susx_bench.leaderboard.formats.sheet import Item, sheets


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
    "[": "{[}",  # after the end of a row, LaTeX reads a bracket or a star as an argument
    "]": "{]}",
    "*": "{*}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "‖": r"$^{\parallel}$",
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
    return escaped.replace("\0", "{}")  # two hyphens in a name are not a dash


def _tex_item(item: Item) -> str:
    text = _tex(item.text)
    if item.place:
        text = (r"\textbf{" if item.place == 1 else r"\underline{") + text + "}"
    return text + _tex(item.rest)
