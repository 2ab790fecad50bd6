"""The types of the options: what each refuses, and that every option has one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from susx_bench import options
from susx_bench.cli import app
from tests.conftest import Command

OURS = (
    options.Text,
    options.Place,
    options.Count,
    options.Number,
    options.CommaList,
    options.Shard,
    click.Choice,
    click.types.BoolParamType,
)


def commands(group: click.Group = app) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command


def declared() -> list[tuple[click.Command, click.Parameter]]:
    return [(command, param) for command in commands() for param in command.params]


@pytest.mark.parametrize(
    ("command", "param"), declared(), ids=lambda part: part.name if part.name else ""
)
def test_every_option_has_a_type_of_ours(command: click.Command, param: click.Parameter) -> None:
    assert isinstance(param.type, OURS), f"{command.name} {param.name}: {param.type}"
    if isinstance(param.type, options.CommaList):
        assert isinstance(param.type.item, OURS)


LONG = "x" * 5000


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (options.NAME, ["", " "], "it is empty"),
        (options.NAME, ["a\nb", "\x1b[2J", "a\x00", "\x9b"], "control character"),
        (options.NAME, ["\udcff"], "not UTF-8"),
        (options.NAME, [LONG], "5000 characters, at most 1000"),
        (options.NAME, ["./" + "x" * 300, "local-dir:" + "x" * 300], "its longest name 300"),
        (options.NAME, ["~nosuchuser/x", "local-dir:~nosuchuser/x"], "~nosuchuser is nobody's"),
        (options.FILE_PATH, [""], "it is empty"),
        (options.FILE_PATH, ["a\x00b"], "control character"),
        (options.FILE_PATH, ["a\udcff"], "not UTF-8"),
        (options.FILE_PATH, [LONG], "its longest name 5000"),
        (options.FOLDER_PATH, ["x/" * 2000], "the path has"),
        (options.FOLDER_PATH, ["~nosuchuser/x"], "~nosuchuser is nobody's"),
        (options.FOLDER_PATH, ["/dev/null"], "is no folder"),
        (options.FILE_PATH, ["/dev/null"], "is a pipe, a socket or a device"),
        (options.FILE_PATH, ["/"], "is a folder"),
        (options.Count(1, 9), ["0", "10", "1e9", "1" * 5000, "", "nan", "-1"], "'--x'"),
        (options.Number(0, 9), ["nan", "inf", "-inf", "1e999", "9.1", "-1", "", LONG], "'--x'"),
        (options.SHARD, ["0/1", "2/1", "1/" + "9" * 5000, "1", "1/2/3", "a/b", ""], "1/4 to 4/4"),
        (options.NAMES, ["", "a,", ",", "a,,b", "a, ,b"], "has an empty item"),
        (options.NAMES, [f"a,./{'x' * 300}"], "its longest name 300"),
        (options.SHOT_LIST, ["1,0", "1,1000001", "one"], "'--x'"),
        (
            options.Url(),
            ["", "localhost", "ftp://x", "http://", "http://x:99999", "http://[::1", "file:///x"],
            "'--x'",
        ),
    ],
)
def test_what_a_type_refuses_is_one_short_line(
    kind: click.ParamType[object], values: list[str], message: str
) -> None:
    for value in values:
        with pytest.raises(click.BadParameter) as told:
            kind.convert(value, click.Option(["--x"]), None)
        line = told.value.format_message()
        assert message in line, line
        assert len(line.splitlines()) == 1
        assert len(line) < 400


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        (options.NAME, "hf:ORG/NAME@abc", "hf:ORG/NAME@abc"),
        (options.NAME, "ViT-B-32:laion2b_s34b_b79k", "ViT-B-32:laion2b_s34b_b79k"),
        (options.NAME, "./a b/Ä.py:Class", "./a b/Ä.py:Class"),
        (options.FILE_PATH, "new/file.json", Path("new/file.json")),
        (options.SHOT_LIST, "4,2,4", (4, 2)),
        (options.SHOT_LIST, (4, 2), (4, 2)),
        (options.SHARD, "2/3", (2, 3)),
        (options.Number(0, 9), "1e-3", 1e-3),
        (options.Text(99, lines=True), "what\nnow", "what\nnow"),
        (options.Url(), "http://user:key@[::1]:8080/x", "http://user:key@[::1]:8080/x"),
    ],
)
def test_what_a_type_takes(kind: click.ParamType[object], value: object, wanted: object) -> None:
    assert kind.convert(value, None, None) == wanted


def test_a_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert options.FOLDER_PATH.convert("~/out", None, None) == tmp_path / "out"


@pytest.mark.parametrize("variable", ["SUSX_BENCH_DATA", "SUSX_BENCH_PROMPTS"])
def test_a_value_from_the_environment_is_told_by_its_variable(
    command: Command, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "~nosuchuser/x")

    said = command("run", "--method", "zero-shot", "--setting", "few-shot")

    assert said.code == 2
    assert variable in said.err
