from __future__ import annotations

import csv
import io
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from susx_bench.console import print_whole
from susx_bench.leaderboard import formats
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.formats import notes, sheet
from susx_bench.leaderboard.formats.terminal import MOST
from susx_bench.leaderboard.make import make
from susx_bench.leaderboard.published import read
from tests.leaderboard.test_board import N, Records

NASTY = "a|b*_<script>&%$#{}\\~^[x](y)`\n"


def board(method: str = "tipx", dataset: str = "dtd", title: str = "Title") -> Board:
    records = Records()
    for data, more in ((dataset, 0), ("eurosat", 3)):
        records.add("zero-shot", 15 + more, dataset=data)
        for seed in (1, 2, 3):
            run = {"dataset": data, "seed": seed, "shots": 16}
            records.add("tip-adapter", 30 + seed + more, **run)
            records.add(method, 50 + seed, **run)
            records.add(method, 52 + seed, tuned_on="test", **run)
    records.add("tda", 45, dataset=dataset, regime="streaming", tuned_on="fixed", shots=16)
    order = ["zero-shot", "tip-adapter", method, "tda"]
    return make("x", title, "Read me.", order, [dataset], records, read())


def test_markdown_reads_as_meant() -> None:
    lines = formats.markdown(board()).splitlines()

    assert lines[0] == "# Title"
    assert lines[2] == "Read me."
    assert "RN50:openai" in lines[4]
    assert f"dtd {N}, eurosat {N}" in lines[4]
    assert "| method | tuned on | dtd | eurosat | mean |" in lines
    assert "|---|---|--:|--:|--:|" in lines
    assert "| tipx | val | **86.7** ±1.7 ▲ | **86.7** ±1.7 ▲ | 86.7 |" in lines
    assert "| tipx | test † | 90.0 ±1.7 | 90.0 ±1.7 | 90.0 |" in [
        line.replace(" ▲", "") for line in lines
    ]
    assert "| tda, sees the test images before itˢ | fixed | 75.0 [62.8, 84.2] |  |  |" in lines
    heads = [line for line in lines if line.startswith("| *") and line.count("|") == 6]
    assert heads == [
        "| *inductive; tuned on the val labels* |  |  |  |  |",
        "| *inductive; tuned on the test labels: upper bounds, not ranked* |  |  |  |  |",
        "| *streaming (the test images before it); support labels at most* |  |  |  |  |",
    ]
    assert "| tipx | val | 1.00 |" in lines
    assert any("† chosen on the test labels" in line for line in lines)
    assert not any("‡ chosen" in line for line in lines)
    assert any("▲ ▼ better or worse than tip-adapter" in line for line in lines)


def test_constants_chosen_on_a_dataset_are_marked_in_every_format() -> None:
    """With the tuning where all of a row has the mark, else with the number."""
    records = Records()
    for dataset, here in (("dtd", True), ("eurosat", False)):
        records.add("tip-adapter", 30, dataset=dataset, tuned_on="fixed", chosen_here=True)
        records.add("tipx", 50, dataset=dataset, tuned_on="fixed", chosen_here=here)
        records.add("ape", 40, dataset=dataset, tuned_on="fixed")
    made = make("x", "X", "", ["tip-adapter", "tipx", "ape"], ["dtd"], records)
    meaning = "¶ constants chosen with an eye on this dataset: no independent evidence, and not"

    lines = formats.markdown(made).splitlines()
    assert any(line.startswith("| tip-adapter | fixed ¶ | 50.0 [") for line in lines)
    (tipx,) = (line for line in lines if line.startswith("| tipx | fixed | 83.3 ["))
    assert tipx.split(" | ")[2].endswith("] ¶")
    assert "| **83.3** [" in tipx
    assert any(line.startswith(meaning) for line in lines)
    assert any(line.endswith("without those marked ¶.") for line in lines)
    latex = formats.latex(made)
    assert r"tip-adapter & fixed \P{} & 50.0" in latex
    assert "¶" not in "".join(line for line in latex.splitlines() if not line.startswith("%"))
    marks = [row["marks"] for row in csv.DictReader(io.StringIO(formats.as_csv(made)))]
    assert marks == ["¶", "¶", "¶", "", "", ""]
    out = io.StringIO()
    for part in formats.terminal(made):
        print_whole(Console(file=out, width=200), part)
    assert "one fixed setting" in out.getvalue()
    assert "tip-adapter ¶ " in out.getvalue()
    assert meaning in out.getvalue()
    assert "fixed ¶" in formats.html_tables(made)


def test_only_what_is_sure_after_the_correction_gets_an_arrow() -> None:
    records = Records()
    records.add("tip-adapter", 30)
    for place, right in enumerate((18, 25, 31, 35, 42)):
        records.add(f"m{place}", right)
    made = make("x", "X", "", [], [], records)
    cells = [cell for row in made.rows if (cell := row.cells[0]) and cell.gain is not None]

    assert [sheet.arrow(cell) for cell in cells] == ["▼", "", "", "", "▲"]
    assert [cell.p is not None and cell.p < 0.05 for cell in cells] == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_published_figures_stand_beside_ours() -> None:
    lines = formats.markdown(board()).splitlines()

    assert (
        "| tip-adapter | val | dtd | Tip-Adapter, gaopengcuhk/Tip-Adapter exp.log @d0e2d6f | "
        "53.3 [49.2, 57.5] | 60.93 | -7.6 | outside |"
    ) in lines
    assert sum("| zero-shot | – | dtd |" in line for line in lines) == 1


def test_a_number_in_several_columns_stands_beside_a_figure_once() -> None:
    records = Records()
    records.add("zero-shot", 25, dataset="dtd")
    for shots in (1, 16):
        records.add("tipx", 30, dataset="dtd", shots=shots)
    text = formats.markdown(make("x", "X", "", [], [], records, read()))

    assert text.count("| zero-shot | – | dtd, S = ") == 1
    assert text.count("| tipx | val | dtd, S = ") == 2


def test_the_same_records_give_the_same_bytes() -> None:
    for render in (formats.markdown, formats.latex, formats.as_csv, formats.html_tables):
        assert render(board()) == render(board())


def test_markdown_and_latex_have_as_many_entries_in_every_row() -> None:
    for text, mark in (
        (formats.markdown(board(NASTY, NASTY, NASTY)).replace("\\|", ""), "|"),
        (formats.latex(board(NASTY, NASTY, NASTY)).replace("\\&", ""), "&"),
    ):
        rows = [line for line in text.splitlines() if mark in line and line[0] != "%"]
        tables: list[set[int]] = []
        for before, line in zip(["", *text.splitlines()], text.splitlines(), strict=False):
            if line in rows:
                if before not in rows and not before.startswith("\\midrule"):
                    tables.append(set())
                tables[-1].add(line.count(mark))
        assert tables
        assert all(len(counts) == 1 for counts in tables)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_escapes_names_and_closes_its_tags() -> None:
    page = Tags()
    page.feed(formats.html_tables(board(NASTY, NASTY)))

    assert page.open == []
    assert page.seen == {
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "strong", "u"),
    }
    assert NASTY.strip() in page.text


def test_latex_escapes_names_and_is_balanced() -> None:
    text = formats.latex(board(NASTY, NASTY, NASTY))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    name = (
        r"a\textbar{}b{*}\_\textless{}script\textgreater{}\&\%\$\#\{\}\textbackslash{}"
        r"\textasciitilde{}\textasciicircum{}{[}x{]}(y)\textasciigrave{}"
    )

    assert name in body
    bare = body.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert body.count(r"\toprule") == body.count(r"\bottomrule") == body.count(r"\begin{tabular}")
    assert r"\textbf{86.7} $\pm$1.7" in body
    assert r"\underline{" in body
    assert all(ord(c) < 128 for c in body.replace("é", ""))


def test_csv_has_a_line_for_every_cell_and_everything_in_it() -> None:
    made = board(NASTY)
    lines = list(csv.DictReader(io.StringIO(formats.as_csv(made))))
    by_cell = {(line["method"], line["tuned_on"], line["dataset"]): line for line in lines}

    assert len(lines) == len(made.rows) * len(made.columns)
    nasty = by_cell[NASTY.replace("\n", r"\n"), "val", "dtd"]
    assert nasty["accuracy"] == f"{100 * 52 / N:.4f}"
    assert nasty["runs"] == "3"
    assert nasty["seeds"] == "1 2 3"
    assert nasty["baseline"] == "tip-adapter val"
    assert 0 < float(nasty["p"]) <= float(nasty["p_holm"]) < 0.05
    assert nasty["records"].count(".json") == 3
    assert by_cell["tda", "fixed", "eurosat"]["accuracy"] == ""
    tip = by_cell["tip-adapter", "val", "dtd"]
    assert (tip["published"], tip["inside"], tip["gain"]) == ("60.93", "false", "")
    assert "APE" in tip["source"]


def test_many_columns_are_parted_between_groups() -> None:
    records = Records()
    for shots in (1, 4):
        for dataset in range(9):
            records.add("tipx", 40, dataset=f"d{dataset}", shots=shots)
    sheets = sheet.sheets(make("x", "X", "", [], [], records))

    assert [sheet.title for sheet in sheets] == ["S = 1", "S = 4"]
    assert [len(sheet.head) for sheet in sheets] == [2 + 9 + 1] * 2


@pytest.mark.parametrize("width", [40, 300])
def test_the_terminal_shows_every_number(width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    for part in formats.terminal(board()):
        print_whole(console, part)
    out = console.file.getvalue()  # type: ignore[attr-defined]

    assert "86.7 ±1.7" in out
    assert "75.0 [62.8, 84.2]" in out
    assert "…" not in out


SURFACES: dict[str, Callable[[Board], str]] = {
    "markdown": formats.markdown,
    "latex": formats.latex,
    "csv": formats.as_csv,
    "html": formats.html_tables,
}


def rendered(board: Board) -> str:
    console = Console(width=400, file=io.StringIO())
    for part in formats.terminal(board):
        print_whole(console, part)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


SURFACES["terminal"] = rendered


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("changes", "saw"),
    [
        ({"regime": "transductive"}, "all test images"),
        ({"regime": "transductive", "batches": "64:4"}, "64 test images of 4 classes"),
        ({"regime": "streaming", "order": 1}, "the test images before it"),
    ],
)
def test_every_surface_says_what_a_method_saw(
    surface: str, changes: dict[str, Any], saw: str
) -> None:
    records = Records()
    records.add("tip-adapter", 30)
    records.add("plugin", 40, **changes)
    text = SURFACES[surface](make("x", "X", "", [], [], records))
    line = next(line for line in text.splitlines() if "66.7" in line or "66.6667" in line)

    assert saw in line
    if surface != "csv":
        assert any(mark in line for mark in ("ᵗ", "ˢ", "mathrm{t}", "mathrm{s}"))


def test_a_terminal_shows_no_tables_of_very_many_columns() -> None:
    records = Records()
    for place in range(MOST + 1):
        records.add("zero-shot", 15, dataset=f"d{place}")

    shown = rendered(make("x", "Title", "", [], [], records, []))

    assert (
        f"{MOST + 1} columns, more than are shown here: the files and the page have them." in shown
    )
    assert "In each column the best is bold" in shown
    assert "25.0" not in shown


@pytest.mark.parametrize("surface", ["markdown", "latex", "terminal"])
def test_the_same_draws_are_said(surface: str) -> None:
    records = Records()
    for seed in (1, 2, 3):
        records.add("tipx", 50, seed=seed, support_sha256="9" * 64)
        records.add("tipx", 50, seed=seed, dataset="dtd")
    text = SURFACES[surface](make("x", "X", "", [], [], records)).replace("{[}", "[")

    assert "Seeds 1, 2 and 3 drew the same images on toy: they are one run." in text
    assert "83.3 [72.0, 90.7]" in text.replace("{]}", "]")
    assert "[83.3, 83.3]" not in text


@pytest.mark.parametrize("surface", ["markdown", "latex", "terminal"])
def test_one_record_is_singular_and_what_is_left_out_is_said(surface: str) -> None:
    records = Records()
    records.add("tipx", 50, method_version="1", started="2026-01-01T00:00:00+00:00")
    records.add("tipx", 40, method_version="2", started="2026-01-02T00:00:00+00:00")
    text = SURFACES[surface](make("x", "X", "", [], [], records))

    assert "1 record of method tipx is left out, because newer ones replace it: version 1" in text
    assert "records prune" in text
    assert "Made from 1 record by" in text


def test_sizes_stand_in_the_columns_or_below_the_heading() -> None:
    records = Records()
    records.add("tipx", 30)
    records.add("tipx", 300, protocol="custom", n_test=400, split_sha256="2" * 64, accuracy=75.0)
    twice = notes.facts(make("x", "X", "", [], [], records))
    del records["records/001.json"]

    assert "test images" not in twice
    assert notes.facts(make("x", "X", "", [], [], records)).endswith("test images: toy 60")
