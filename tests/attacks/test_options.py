"""Extreme values in every declared option of every command: one line, exit 0, 2 or 3."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
import pytest
from huggingface_hub import constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from susx_bench import options
from susx_bench.cli import app, main
from susx_bench.errors import OptionError
from susx_bench.features.launch import Launch
from tests.conftest import Bundle, Command

LIMIT = 120
"""Seconds after which a command counts as one that hangs."""

START: dict[tuple[str, ...], list[list[str]]] = {
    ("run",): [
        ["--method", "zero-shot", "--setting", "few-shot", "--features", "toy.safetensors"],
        ["--method", "tip-adapter", "--setting", "few-shot", "--dataset", "digits"],
        ["--method", "tip-adapter", "--setting", "name-only", "--dataset", "digits"],
        ["--suite", "suite.toml"],
    ],
    ("classify",): [
        ["images", "--classes", "cat,dog", "--encoder", "demo", "--out", "answers"],
        ["--features=toy.safetensors", "--out", "answers"],
    ],
    ("list",): [["datasets"]],
    ("data", "check"): [["digits"]],
    ("features", "import"): [
        ["toy.safetensors", "--out", "new.safetensors"],
        ["--out", "new.safetensors", "--text", "text.pt", "--test", "garbage"],
    ],
    ("features", "export"): [["toy.safetensors", "--to", "new"]],
    ("prompts", "build"): [["--dataset", "digits", "--model", "m", "--out", "out"]],
    ("support", "build"): [
        ["--dataset", "digits", "--kind", "sus-sd"],
        ["--dataset", "digits", "--kind", "sus-lc", "--import", "images"],
        ["--dataset", "digits", "--kind", "sus-lc", "--pool", "images"],
        [
            "--dataset",
            "digits",
            "--kind",
            "sus-lc",
            "--index",
            "x",
            "--backend",
            "http://127.0.0.1:9",
        ],
    ],
    ("support", "show"): [["sus-sd"]],
    ("export",): [["records", "--to", "new.safetensors"]],
    ("records", "verify"): [["records"]],
    ("records", "show"): [["records", "--out", "shown"]],
    ("records", "merge"): [["records", "--into", "merged"]],
    ("records", "prune"): [["records"]],
    ("records", "export"): [["records", "--parquet", "records.parquet"]],
    ("records", "push"): [["org/name", "--from", "records"]],
    ("records", "pull"): [["org/name", "--to", "pulled"]],
    ("plan",): [["--suite", "suite.toml", "--out", "plan.json"]],
    ("leaderboard", "build"): [["suite.toml"]],
    ("leaderboard", "check"): [["suite.toml"]],
    ("leaderboard", "cite"): [["suite.toml"]],
    ("new", "method"): [["mine"]],
    ("doctor",): [[]],
}
"""For each command some words that are all right; what is tried comes after them."""

NASTY = (
    *("", " ", ",", "a,,b", ".", "-", "--", "~", "~nosuchuser/x", "%s", "{}"),
    *(
        "x" * 256,
        "x" * 5000,
        "x/" * 2500,
        "./" + "x" * 300,
        "é" * 200,
        "\udcff",
        "a\x1b[2J",
        "a\nb",
    ),
    *("[bold]x[/]", "=cmd", "нет", "\N{CAT}", "'", '"', "$(x)", "*", "?", "digits", "demo"),
    *("/dev/null", "/dev/full", "/dev/zero", "/proc/self/mem", "pipe", "loop", "garbage"),
    *("text.json", "text.toml", "text.pt", "images", "records", "toy.safetensors", "suite.toml"),
    *("hf:", "hf:x", "hf:a/b@c", "hf:a/b:c@d", "hf-hub:a/b", "local-dir:", "local-dir:images"),
    *("./x.py:X", "./x.py", "garbage:X", "s3://b/x", "file:///etc", "http://127.0.0.1:9", "a::b"),
    *(
        "0",
        "-1",
        "1",
        "1.5",
        "nan",
        "inf",
        "-inf",
        "1e308",
        "1e-320",
        "1e30",
        str(2**63),
        "9" * 5000,
    ),
    *("1/2", "0/0", "1/1000001", "64:4", "0:0", "all", "val", "test", "few-val", "published"),
)
NUMBERS = (
    *("0", "-1", "1.5", "1_0", "nan", "inf", "-inf", "1e308", "1e-320", "1e30", "99999999"),
    *(str(2**31), str(2**63), str(2**64), "9" * 5000, "", " 1", "0x1", "one"),
)

DEEP = (
    *("garbage", "text.json", "text.toml", "text.pt", "images", "records", "toy.safetensors"),
    *("suite.toml", "./text.json", "./images", "./garbage:X", "./text.json.py:X", "hf:a/b", "new"),
    *("local-dir:images", "local-dir:garbage", "RN50:openai", "hf-hub:a/b", "demo", "digits"),
    *("tipx", "tda", "transclip", "timo", "zero-shot", "all", "64:4", "1:1", "val", "test"),
    *("few-val", "support", "published", "ensemble", "cupl", "combined", "sus-sd", "sus-lc"),
    *("folder", "hub", "auto", "cpu", "gpu", "tpu", "http://127.0.0.1:9", "x" * 200),
)
"""Values that pass the door, and are wrong further in."""


def walk(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from walk(command, (*before, name))
        else:
            yield (*before, name), command


COMMANDS = dict(walk(app))


def values(kind: click.ParamType[Any]) -> st.SearchStrategy[str]:
    """Values that are hard for an option of this type, and some that it takes."""
    if isinstance(kind, options.CommaList):
        return st.lists(values(kind.item), min_size=1, max_size=3).map(",".join)
    found = st.sampled_from(DEEP) | st.sampled_from(NASTY)
    if isinstance(kind, (options.Count, options.Number)):
        ends = st.sampled_from([str(kind.most), str(kind.least), "2", "3"])
        return ends | st.sampled_from(NUMBERS)
    if isinstance(kind, click.Choice):
        return st.sampled_from([str(choice) for choice in kind.choices]) | found
    # No path out of the test's own folder: what is asked for may be written.
    text = st.text(st.characters(exclude_characters="/~."), min_size=1, max_size=20)
    return found | text


@st.composite
def words(draw: st.DrawFn, name: tuple[str, ...]) -> list[str]:
    """A command with one to three options that get such values."""
    command = COMMANDS[name]
    said = list(draw(st.sampled_from(START[name])))
    for param in draw(st.lists(st.sampled_from(command.params), min_size=1, max_size=3)):
        if isinstance(param, click.Argument):
            said = [draw(values(param.type)), *said[1:]]
        elif param.is_flag:
            said.append(draw(st.sampled_from([*param.opts, *param.secondary_opts])))
        elif isinstance(param, click.Option):
            said.append(f"{param.opts[0]}={draw(values(param.type))}")
    return [*name, *said]


class HangsError(BaseException):
    pass


@contextmanager
def limited() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise HangsError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def call(said: list[str]) -> tuple[int, str]:
    """Exit code and stderr; what is no exit goes on as the traceback it would be."""
    code, before = 0, sys.argv
    sys.argv = ["susx-bench", *said]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err, limited():
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
        finally:
            sys.argv = before
    return code, err.getvalue()


def check(said: list[str]) -> None:
    code, err = call(said)
    mine = [line for line in err.splitlines() if line.startswith("susx-bench: ")]
    assert code in (0, 2, 3), err
    assert len(mine) == (code != 0), err
    if mine:
        assert err.endswith(f"{mine[0]}\n"), err
        assert len(mine[0]) < 2100


@pytest.fixture
def place(
    tmp_path: Path, bundle: Bundle, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with what the words name, in which nothing that takes long can start."""
    path = bundle()
    assert command("run", *START["run",][0][:4], "--features", path, "--out", "records").code == 0
    (tmp_path / "suite.toml").write_text(
        'name = "records"\ntitle = "x"\n[[run]]\nmethod = ["zero-shot"]\n'
        'features = ["toy.safetensors"]\n'
    )
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("garbage").write_bytes(os.urandom(999))
    for name in ("text.json", "text.toml", "text.pt"):
        Path(name).write_text("[" * 20_000)
    Path("images/cat").mkdir(parents=True)
    Path("images/cat/x.png").write_bytes(b"no image")
    Path("images/dog").mkdir()

    def stopped(launch: Launch, *callbacks: object) -> NoReturn:
        raise OptionError("stopped before the launch.")

    monkeypatch.setattr("susx_bench.features.predict.trainer", stopped)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "SUSX_BENCH_DATA", "SUSX_BENCH_PROMPTS"):
        monkeypatch.delenv(name, raising=False)


def test_every_command_has_its_words() -> None:
    assert set(START) == set(COMMANDS)


def tries(examples: int) -> settings:
    """A fixed number of examples, in one warm process and one folder."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks)


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
@pytest.mark.usefixtures("place")
def test_no_value_gives_a_traceback(name: tuple[str, ...]) -> None:
    @tries(min(60, 4 * len(COMMANDS[name].params)))
    @given(words(name))
    def each(said: list[str]) -> None:
        check(said)

    each()


NUMERIC = (options.Count, options.Number)


def numbers(kind: click.ParamType[Any]) -> list[str]:
    """Every value that is tried in an option of numbers; none for another type."""
    if isinstance(kind, options.CommaList):
        kind = kind.item
    return [*NUMBERS, str(kind.most), str(kind.least)] if isinstance(kind, NUMERIC) else []


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
@pytest.mark.usefixtures("place")
def test_no_number_gives_a_traceback(name: tuple[str, ...]) -> None:
    for param in COMMANDS[name].params:
        for value in numbers(param.type):
            for said in START[name]:
                check([*name, *said, f"{param.opts[0]}={value}"])


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
@pytest.mark.usefixtures("place")
def test_no_value_gives_a_traceback_at_length(name: tuple[str, ...]) -> None:
    @tries(2000)
    @given(words(name))
    def each(said: list[str]) -> None:
        check(said)

    each()


VARIABLES = (
    *("SUSX_BENCH_CACHE", "SUSX_BENCH_DATA", "SUSX_BENCH_SUPPORT", "SUSX_BENCH_PROMPTS"),
    *("OPENAI_BASE_URL", "HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TMPDIR", "COLUMNS"),
    *("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "SLURM_NTASKS", "WORLD_SIZE"),
)


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.usefixtures("place")
def test_no_variable_gives_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    @tries(60)
    @given(
        st.sampled_from(VARIABLES),
        st.sampled_from([value for value in NASTY if "\0" not in value]),
        st.sampled_from([name for name in START if name != ("prompts", "build")]),
        st.data(),
    )
    def each(variable: str, value: str, name: tuple[str, ...], data: st.DataObject) -> None:
        with monkeypatch.context() as patched:
            patched.setenv(variable, value)
            check([*name, *data.draw(st.sampled_from(START[name]))])

    each()
