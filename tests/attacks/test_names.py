"""Names that others chose: wherever they are shown they stand as one line, and do nothing."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Group, RenderableType
from rich.table import Table
from torch import Tensor

from susx_bench.console import (
    PlainConsole,
    one_line,
    print_error,
    print_whole,
    printable,
    several_lines,
)
from susx_bench.data.check import Report, SplitReport
from susx_bench.data.facts.digits import SPEC
from susx_bench.data.report import render
from susx_bench.doctor import Report as Doctor
from susx_bench.events import Job, Note
from susx_bench.leaderboard import formats
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.figures import pictures
from susx_bench.leaderboard.make import make
from susx_bench.leaderboard.page.build import INDEX, Shown, files
from susx_bench.leaderboard.published import Figure
from susx_bench.leaderboard.results import choices, terminal_table
from susx_bench.progress import Progress, Reporter
from susx_bench.records.failures import write_failure
from susx_bench.records.record import Record
from tests.conftest import Bundle, Command
from tests.records.example import make_record

FORGED = "wrote 9 records: out"
"""A line that a name tries to add."""

ALPHABET = (
    "ab1 é=+-@|`\\{}[]()<>%&#_^~$*!'\":/.,;\uff1d"
    "\x1b\x07\x08\x7f\x9b\x9d\x85\n\r\t\v\u202e\u2066\u2028\u2029\u200b\ufeff"
)
NASTY = [
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b2Jc1",
    f"new\n{FORGED}",
    f"return\r{FORGED}",
    f"separator\u2028{FORGED}",
    f"next\x85{FORGED}",
    "bidi \u202egnp.exe \u2066x",
    "[red]markup[/red] [/] [link=file:///etc/passwd]x[/link] :smile:",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1+1)",
    "\t=1",
    "\uff1d1+1",
    "a|b`c*d_e~f#g&lt;h$i$ https://x.y ![x](y)",
    "</script><script>alert(1)</script><!--",
    r"\input{x} {} % & # _ ^ ~ $ [x] *x --y",
    "zero\u200bwidth\ufeff",
    "",
    " ",
]
names = st.text(ALPHABET, min_size=1, max_size=14)
TRIED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def shown(name: str) -> str:
    """What stands in the place of a name, said in another way than in the code."""
    out = ""
    for c in name:
        kind = unicodedata.category(c)
        out += repr(c)[1:-1] if kind in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn") else c
    return out


def check_lines(text: str) -> None:
    """Nothing but lines of glyphs, and none that a name has forged."""
    assert not re.search(r"[^\n -~\xa0-\U0010ffff]", text)
    assert not any(unicodedata.category(c) in ("Cf", "Zl", "Zp") for c in text)
    assert not any(line.strip().startswith("wrote 9") for line in text.split("\n"))


def console(**options: Any) -> tuple[PlainConsole, io.StringIO]:
    file = io.StringIO()
    return PlainConsole(file=file, width=4000, color_system=None, **options), file


def record(name: str, **changes: Any) -> Record:
    """A record in which every name is this one."""
    classes = [(f"{name}{i}", right, n) for i, (right, n) in enumerate([(2, 2), (0, 1)])]
    return make_record(
        **{
            "method": name,
            "dataset": name,
            "dataset_given": name,
            "encoder": name,
            "prompts": name,
            "support": name,
            "protocol": name,
            "draw": name,
            "precision": name,
            "device": name,
            "num_classes": 2,
            "classes": classes,
            "confusions": [(f"{name}1", f"{name}0", 1)],
            **changes,
        }
    )


def board(name: str) -> tuple[Board, dict[str, Record]]:
    """Three rows and two columns; a published figure beside it."""
    told = {"input_sha256": "0" * 64}
    records = {
        "records/a.json": record(name),
        "records/b.json": record(name, tuned_on="fixed", input_sha256="1" * 64),
        "records/c.json": record(name, seed=2, support_sha256="9" * 64),
        "records/d.json": record("zero-shot", dataset=name, support="none", support_images=0,
                                 shots=0, seed=0, hparams={}, tuned_on="fixed", **told),
    }  # fmt: skip
    figure = Figure(
        method=name, dataset=name, encoder=name, setting="few-shot", shots=4, prompts=name,
        tuned_on="val", accuracy=60.0, source=name, primary=True, note=name,
    )  # fmt: skip
    return make("x", name, "", [name], [name], records, [figure]), records


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain é 日本 🙂", "plain é 日本 🙂"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\tb\nc\r", r"a\tb\nc\r"),
        ("\x7f\x80\x9b", r"\x7f\x80\x9b"),
        ("\u202e\u2066\u2069", r"\u202e\u2066\u2069"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\udc80", r"\udc80"),  # a byte of a file name
        ("\U000e0041", r"\U000e0041"),  # an invisible letter
        ("non\xa0breaking", "non\xa0breaking"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner is part of the word
        (r"C:\new", r"C:\new"),
    ],
)
def test_what_has_no_glyph_is_written_out(name: str, expected: str) -> None:
    assert printable(name) == expected
    assert printable(expected) == expected


def on_terminal(name: str) -> str:
    """Everything that prints a name, one after the other, as a terminal without colours has it."""
    screen, file = console(force_terminal=True)
    table = Table(name, title=name, caption=several_lines([name, name]))
    table.add_row(name)
    table.add_row(one_line((name, "bold"), name))
    parts: list[RenderableType] = [name, f"{name}: {name}", Group(name, one_line(name)), table]
    for part in parts:
        print_whole(screen, part)
    screen.print(name, style="yellow", soft_wrap=True)
    doctor = Doctor([(name, name)])
    print_whole(screen, doctor.table())
    report = Report(
        SPEC, name, name, [SplitReport("test", 1, 2, 3, 1, 1, (), "0" * 64)], [name],
    )  # fmt: skip
    print_whole(screen, render(report))
    if name.strip():
        r = record(name)
        for each in [*terminal_table([r], [name]), *choices([r], set())]:
            print_whole(screen, each)
        for each in formats.terminal(board(name)[0]):
            print_whole(screen, each)
    return file.getvalue()


def in_logs(name: str) -> str:
    """Notes, an error, what is going on, and a mark of failure; on a terminal and in a log."""
    out = ""
    for terminal in (True, False):
        notes, file = console(force_terminal=terminal, soft_wrap=True)
        with Progress(notes) as progress:
            bar = progress.bar(name, 3, name)
            bar.say(what=name, note=name)
            assert bar.what == name
            for column in progress._live.columns:
                assert not isinstance(column, str)
                notes.print(column(progress._live.tasks[0]))
            notes.print(str(bar))
        listen = Reporter(notes, summary=True)
        listen(Note(name, "warning"))
        with Job(listen, "cells", "cells", 3) as cells, Job(listen, name, name, 3):
            cells.say(name)
            cells.fail(name)
        with notes.status(name):
            pass
        # The bars are drawn anew in their place, with what rich itself needs for that.
        out += re.sub(r"\x1b\[(?:\?25[lh]|2K|1A)|\r", "", file.getvalue())
    return out


@TRIED
@given(drawn=names)
@pytest.mark.parametrize("show", [on_terminal, in_logs])
def test_a_terminal_and_a_log_get_lines(show: Callable[[str], str], drawn: str) -> None:
    check_lines(show(drawn))


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("show", [on_terminal, in_logs])
def test_known_attacks_on_a_terminal_and_a_log(show: Callable[[str], str], name: str) -> None:
    out = show(name)

    check_lines(out)
    assert shown(name).strip() in out


@pytest.mark.parametrize("name", NASTY)
def test_an_error_and_the_mark_of_a_failed_cell_are_lines(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_error(f"susx-bench: {name}")
    told = capsys.readouterr().err
    try:
        raise ValueError(name)
    except ValueError as error:
        marked = write_failure(tmp_path / "x.json", {name: name}, error, name)

    assert told == f"susx-bench: {shown(name)}\n"
    check_lines(marked.read_text(encoding="utf-8").replace(f"\n{FORGED}", ""))  # the traceback's
    assert f"\n{shown(name)}: {shown(name)}\n" in marked.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Elements in their order, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def cells_of_markdown(text: str) -> list[str]:
    """The text of each cell of the tables, as a reader of Markdown sees it, and no element."""
    found = []
    inside = False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        inside = token.type in ("th_open", "td_open") or (inside and token.type == "inline")
        assert "html" not in token.type
        if token.type != "inline":
            continue
        kinds = {child.type for child in token.children or ()}
        assert kinds <= {"text", "text_special", "strong_open", "strong_close", "em_open",
                         "em_close", "html_inline"}, kinds  # fmt: skip
        html = {c.content for c in token.children or () if c.type == "html_inline"}
        assert html <= {"<ins>", "</ins>"}
        if inside:
            plain = [c.content for c in token.children or () if c.type != "html_inline"]
            found.append("".join(plain))
    return found


_TEX = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<",
    "textgreater": ">", "textbar": "|", "textasciigrave": "`", "S": "§", "P": "¶",
}  # fmt: skip


def read_latex(text: str) -> str:
    """What LaTeX sets for the body of a table: macros by what they print, groups without braces."""
    token = re.compile(r"\\([A-Za-z]+)(?:\{\})?|\\([^A-Za-z])|([{}])|([^\\{}]+)", re.DOTALL)
    out, depth, at = "", 0, 0
    while at < len(text):
        found = token.match(text, at)
        assert found, text[at:]
        macro, letter, brace, plain = found.groups()
        at = found.end()
        if macro:
            out += _TEX.get(macro, f"<{macro}>")
        elif letter:
            out += "\n" if letter == "\\" else letter
        elif brace:
            depth += 1 if brace == "{" else -1
            assert depth >= 0
        else:
            assert not set(plain) & set("#$%_^~`") - set("$"), plain
            out += plain
    assert depth == 0
    return out


def check_files(name: str) -> None:
    made, records = board(name)
    what = shown(name)
    told = cells_of_markdown(formats.markdown(made))
    assert sum(what.strip() in cell for cell in told) >= 2
    width = 2 + sum(len(g.columns) + (len(g.columns) > 1) for g in made.groups)
    lines = formats.markdown(made).split("\n")
    check_lines("\n".join(lines))
    assert len([cell for cell in told if cell]) >= width

    body = [line for line in formats.latex(made).split("\n") if line and not line.startswith("%")]
    check_lines("\n".join(body))
    # Neither a star nor a bracket may follow the end of a row: they would be its arguments.
    assert not re.search(r"\\\\\s*[*\[]", "\n".join(body))
    assert what in read_latex("\n".join(body))

    content = formats.as_csv(made)
    check_lines(content)
    for line in csv.reader(io.StringIO(content)):
        for cell in line:
            if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d")):
                float(cell)  # a number may have a sign
    methods = {line["method"] for line in csv.DictReader(io.StringIO(content))}
    assert methods == {"zero-shot", f"'{what}" if re.match("[=+@\uff1d-]", what) else what}

    page = Tags(formats.html_tables(made))
    plain = Tags(formats.html_tables(board("x")[0]))
    check_lines("".join(page.texts))
    assert page.seen == plain.seen
    assert sum(what in text for text in page.texts) >= 2

    whole = Tags(files([Shown.of(made, records)], lambda path: None)[INDEX].decode())
    assert whole.seen == Tags(files([Shown.of(*board("x"))])[INDEX].decode()).seen
    (text,) = (text for text in whole.texts if text.startswith('{"name":"x","title":'))
    assert json.loads(text)["title"] == "\n".join(map(shown, name.split("\n")))
    check_lines("".join(whole.texts))

    for picture in pictures(made, records):
        check_lines(json.dumps(picture.data, ensure_ascii=False))
        check_lines(picture.title + picture.text)


@pytest.mark.parametrize("name", [name for name in NASTY if name.strip()])
def test_known_attacks_on_tables_and_pages(name: str) -> None:
    check_files(name)


@TRIED
@given(drawn=names.filter(str.strip))
@example("*x")
@example("--")
def test_tables_and_pages_have_names_as_text(drawn: str) -> None:
    check_files(drawn)


MINE = """
from susx_bench.methods.zero_shot import ZeroShot
class Mine(ZeroShot):
    name = {name!r}
"""


def test_the_command_line_prints_lines(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """Table, notes, records as JSON, errors; a bundle's own names have to be printable."""
    meta = {"dataset": "[red]data[/]", "encoder": "=cmd|x!A0 [/]", "logit_scale": 50.0}
    path = bundle(meta={"bundle": json.dumps(meta)})
    (tmp_path / "mine.py").write_text(MINE.format(name=f"m\x1b[2J\n{FORGED}"))
    out = f"out\x1b[2J\n{FORGED}"
    words = ("run", "--setting", "few-shot", "--features", path)
    method = ("--method", "./mine.py:Mine,tipx")
    done = [
        command(*words, *method),
        command(*words, *method, "--json"),
        command(*words, "--method", "tipx", "--out", out),
        command(*words, "--method", "tipx", "--out", out),
        command(*words, "--method", "tipx", "--tune", "published"),
        command(*words, "--method", "x\x1b[2J\u202e"),
        command("run", "--setting", "few-shot", "--method", "tipx", "--dataset", "./\x1b[2J\nx"),
        command("data", "check", f"x\x1b\n{FORGED}"),
        command("records", "verify", f"x\x1b\n{FORGED}.json"),
    ]

    for each in done:
        check_lines(each.out + each.err)
        assert "Traceback" not in each.err
    assert [each.code for each in done[-5:]] == [0, 2, 2, 2, 2]
    assert "[red]data[/]" in done[0].out
    assert "=cmd|x!A0 [/]" in done[0].out
