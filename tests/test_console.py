"""Tables on terminals of any width: nothing is cut, nothing is left out, no line wraps."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from susx_bench import listing
from susx_bench.console import broken, counted, print_error, print_whole
from susx_bench.leaderboard.formats import terminal
from susx_bench.leaderboard.results import terminal_table
from susx_bench.records.record import Record
from tests.conftest import Command
from tests.leaderboard.test_board import Records
from tests.records.example import make_record

LISTS: dict[str, Callable[[], Table]] = {
    "datasets": lambda: listing.datasets(None),
    "methods": listing.methods,
    "encoders": listing.encoders,
    "prompts": listing.prompts,
    "suites": listing.suites,
}


def printed(width: int | None, *parts: RenderableType) -> list[str]:
    """What stands on a terminal, or in a file where there is no width."""
    file = io.StringIO()
    console = Console(
        file=file, width=width or 400, force_terminal=width is not None, no_color=True,
        color_system=None,
    )  # fmt: skip
    for part in parts:
        print_whole(console, part)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120, None])
@pytest.mark.parametrize("what", LISTS)
def test_a_list_has_every_name_whole_on_any_terminal(what: str, width: int | None) -> None:
    table = LISTS[what]()
    names = [Text.from_markup(str(cell)).plain for cell in table.columns[0].cells]
    lines = printed(width, table)
    heads = [line for line in lines if line.split()[:1] == [str(table.columns[0].header)]]

    assert max(map(len, lines)) <= (width or 400)
    assert not any("…" in line for line in lines)
    for name in names:
        rows = [line for line in lines if f"{line} ".startswith(f" {name} ")]
        assert len(rows) == len(heads), name
    for column in table.columns[1:]:
        assert sum(str(column.header) in line for line in heads) == 1
    squeezed = "".join("".join(lines).split())
    for column in table.columns:
        for cell in column.cells:
            words = Text.from_markup(str(cell)).plain.split()
            assert all(word in squeezed for word in words if len(word) < 20)


def marked() -> list[RenderableType]:
    """A run with rows of long names: the authors' code, all test images, a stream."""
    records: list[Record] = []
    for shots in (1, 2, 4, 8, 16):
        for seed in (1, 2, 3):
            for official in (False, True):
                regime = "transductive" if official else "inductive"
                records.append(
                    make_record(
                        shots=shots,
                        seed=seed,
                        official=official,
                        regime=regime,
                        accuracy=80.0 + shots / 10 + seed,
                        support_sha256=f"{shots:032d}{seed:032d}",
                        input_sha256=f"{len(records):064x}",
                    )
                )
    for method, regime, batches in (
        ("transclip-fs", "transductive", "64:10"),
        ("dota", "streaming", ""),
    ):
        records.append(
            make_record(
                method=method,
                regime=regime,
                batches=batches,
                order=1,
                support_sha256=f"{4:032d}{1:032d}",
                input_sha256=f"{len(records):064x}",
            )
        )
    return terminal_table(records, ["tipx", "transclip-fs", "dota"])


@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_a_run_with_long_rows_wraps_no_row(width: int | None) -> None:
    lines = printed(width, *[part for part in marked() if isinstance(part, Table)])
    text = "\n".join(lines)

    assert max(map(len, lines)) <= (width or 400)
    for shots in (1, 2, 4, 8, 16):
        assert f"{82 + shots / 10:.1f} ±1.0" in text
    for word in ("transclip-fs", "dota", "(official", "ᵗ", "ˢ"):
        assert word in text
    # A method's row begins with its name, and a name that wraps goes on in a line without numbers.
    assert all("±" not in line for line in lines if line.startswith(" code)"))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_leaderboard_wraps_no_row(width: int) -> None:
    records = Records()
    for dataset in ("caltech101-named", "ucf101", "eurosat", "dtd", "food101", "imagenet"):
        for method, regime in (("tip-adapter", "inductive"), ("transclip-fs", "transductive")):
            records.add(method, 30, dataset=dataset, regime=regime)
    lines = printed(width, *[p for p in terminal(records.board()) if isinstance(p, Table)])

    assert max(map(len, lines)) <= width
    assert sum(line.count("50.0 [37.7, 62.3]") for line in lines) == 12


def test_a_group_is_printed_part_by_part() -> None:
    from rich.console import Group

    table = Table()
    for column in ("name", "what"):
        table.add_column(column, no_wrap=True)
    table.add_row("a-name-of-thirty-letters-or-so", "and thirty letters beside it..")

    lines = printed(50, Group(Text("first"), table))

    assert lines[0] == "first"
    assert any("a-name-of-thirty-letters-or-so" in line for line in lines)
    assert "…" not in "".join(lines)


@pytest.mark.parametrize(
    ("n", "told"), [(0, "0 records"), (1, "1 record"), (2, "2 records"), (1200, "1,200 records")]
)
def test_one_is_singular(n: int, told: str) -> None:
    assert counted(n, "record") == told
    for noun, several in (
        ("class", "classes"),
        ("reply", "replies"),
        ("test image", "test images"),
    ):
        words = told.replace("records", several).replace("record", noun)
        assert counted(n, noun) == words


def test_an_error_is_broken_between_words_and_a_command_stays_whole() -> None:
    run = "`susx-bench run --method tipx --setting few-shot`"
    path = "/a/long/path/that/has/no/blank/and/goes/on/for/more/than/the/whole/width"
    message = f"dtd: {path} does not exist. Unpack it there, or say where it is. Then {run}."

    lines = broken(message, 60)

    assert " ".join(lines) == message
    assert f"{run}." in lines
    assert all(len(line) <= 60 or line in (f"{run}.", path) for line in lines)
    assert broken("an\x1b[31m escape", 60) == ["an\\x1b[31m escape"]


@pytest.mark.parametrize("terminal", [True, False])
def test_an_error_is_one_line_but_on_a_terminal(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR" if terminal else "UNUSED", "1")

    print_error("susx-bench: " + "a word " * 20 + "at the end.")

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (5 if terminal else 1)
    assert all(len(line) <= 40 for line in lines) == terminal


def test_an_error_is_printed_where_columns_is_0(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "0")

    done = command("support", "show", "sus-sd")

    assert (done.code, len(done.err.splitlines())) == (2, 1)
