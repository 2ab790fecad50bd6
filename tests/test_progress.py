"""Progress: every bar has a label and a unit, and a log gets lines, whatever runs."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import susx_bench.progress
from susx_bench.data.facts.digits import SPEC
from susx_bench.progress import Progress
from tests.conftest import Command
from tests.data.made import encoded, photo, write

WAIT = 60.0
"""Seconds after which a line that does not come is missed; it comes in a few hundredths."""


def until(there: Callable[[], Any]) -> None:
    """Wait for something that happens in another thread."""
    deadline = time.monotonic() + WAIT
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(susx_bench.progress, "EVERY", 0.01)


@pytest.mark.usefixtures("often")
def test_a_log_gets_lines_also_where_nothing_advances() -> None:
    out = io.StringIO()
    with Progress(Console(file=out, width=200)) as progress:
        progress.bar("drawing", 40, "images").begin(40, 8)
        until(lambda: out.getvalue().count("drawing: 8 of 40 images\n") >= 2)
    before = out.getvalue()
    time.sleep(0.05)

    assert out.getvalue() == before


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("how", [{"quiet": True}, {"force_terminal": True, "color_system": None}])
def test_another_rank_and_a_terminal_get_none(how: dict[str, Any]) -> None:
    out = io.StringIO()
    with Progress(Console(file=out, width=200, **how)) as progress:
        progress.bar("drawing", 40, "images")
        time.sleep(0.05)

    assert "drawing: 0 of 40 images" not in out.getvalue()


def test_a_line_tells_the_time_left_from_what_was_done_here() -> None:
    """100 of 300 were there before; 50 in 10 seconds leave 30 for the other 150."""
    now = [0.0]
    with Progress(Console(file=io.StringIO()), clock=lambda: now[0]) as progress:
        first, other = progress.bar("reading", None, "images"), progress.bar("asking", 2, "prompts")
        assert progress.line() == "reading: 0 images; asking: 0 of 2 prompts"
        first.begin(300, 100)
        first.advance(50)
        other.advance(2)
        now[0] = 10

        assert progress.line() == "reading: 150 of 300 images, about 0:00:30 left"
        first.advance(150)
        assert progress.line() == "asking: 2 of 2 prompts"


ONE_CELL = ("run", "--setting", "few-shot", "--method", "zero-shot", "--shots", 1, "--seed", 1)


def slow(function: Callable[..., Any], out: Callable[[], str], line: str) -> Callable[..., Any]:
    """The function, once the log has this line."""

    def call(*given: Any, **named: Any) -> Any:
        until(lambda: re.search(line, out()))
        return function(*given, **named)

    return call


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("words", "where", "line"),
    [
        (
            (*ONE_CELL, "--dataset", "digits"),
            "susx_bench.runner.worker.measure",
            "cells: . of 2 done, 0 failed.*; now .* digits demo few-shot ",
        ),
        (
            (*ONE_CELL, "--json"),
            "susx_bench.features.dataset_task.encode",
            "now encoding digits: 0 of [0-9,]+ images; encoding digits: 0 of 10 prompts\n",
        ),
        (
            ("support", "build", "--dataset", "digits", "--kind", "sus-sd", "--steps", 1),
            "susx_bench.support.generate.generate",
            "generating digits: 0 of 160 images\n",
        ),
        (
            ("support", "build", "--dataset", "digits", "--kind", "sus-lc", "--import", "mine"),
            "susx_bench.support.retrieved.settle",
            "collecting images: 0 of 160 images\n",
        ),
        (("data", "check", "digits"), "susx_bench.data.check._look", "reading digits: .* images"),
    ],
)
def test_every_command_that_takes_long_says_how_far_it_is(
    words: tuple[object, ...],
    where: str,
    line: str,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seed, name in enumerate(SPEC.classnames):
        write(tmp_path / "mine" / name / "0.png", encoded(photo(seed)))
    out = io.StringIO()
    monkeypatch.setattr(
        f"susx_bench.cli.{words[0]}.stderr",
        lambda: Console(file=out, soft_wrap=True, highlight=False),
    )
    module, _, name = where.rpartition(".")
    function = getattr(__import__(module, fromlist=[name]), name)
    monkeypatch.setattr(where, slow(function, out.getvalue, line))

    done = command(*words)

    assert done.code == 0, out.getvalue()
