"""A package to start from, and the page that says how: everything on it is true."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from susx_bench.errors import BenchError
from susx_bench.scaffold import new_method
from tests.conftest import Command

PAGE = (Path(__file__).parents[1] / "docs" / "adding-a-method.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("susx_bench_method_"):
            del sys.modules[name]


def test_the_page_leads_to_a_row(command: Command, tmp_path: Path) -> None:
    ran = []
    for language, text in BLOCKS:
        if language == "toml":
            (tmp_path / "mine.toml").write_text(text)
        for line in text.splitlines() if language == "sh" else ():
            words = shlex.split(line)
            # What needs the package installed with pip is in test_plugins.
            if words[0] == "susx-bench" and words[-2:] != ["--method", "prototypes"]:
                done = command(*words[1:])
                assert done.code == 0, (line, done.err)
                ran.append(words[1])

    assert ran == ["new", "run", "list", "run", "leaderboard", "leaderboard"]
    table = (tmp_path / "leaderboards" / "mine.md").read_text()
    assert re.search(r"^\| prototypes \| val \|(.*\d\d\.\d.* ±\d\.\d.*\|){2}$", table, re.MULTILINE)


def test_the_page_shows_what_is_written(tmp_path: Path) -> None:
    new_method("prototypes", tmp_path)
    method, test = (
        (tmp_path / "prototypes" / name).read_text()
        for name in ("prototypes.py", "test_prototypes.py")
    )
    shown = [text for language, text in BLOCKS if language == "python"]

    assert shown[0] == method
    assert shown[1] in test
    assert len(method.splitlines()) < 40


def test_what_is_written_passes_its_tests_at_once(tmp_path: Path) -> None:
    written = new_method("a-2nd-one", tmp_path)

    # Older versions of matplotlib warn of pyparsing's names while they are imported.
    warnings = "filterwarnings=error\nignore::DeprecationWarning:matplotlib.*"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", warnings, "a-2nd-one"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    tests = ast.parse(written.test.read_text())
    assert "TestA2ndOne" in [node.name for node in tests.body if isinstance(node, ast.ClassDef)]
    project = tomllib.loads((written.folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["susx_bench.methods"] == {"a-2nd-one": "a_2nd_one:A2ndOne"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' cannot be the name"),
        ("Mine", "use lower-case letters"),
        ("my_method", "use lower-case letters"),
        ("../mine", "use lower-case letters"),
        ("tipx", "'tipx' is there already: susx-bench"),
        ("lambda", "a word of Python's own"),
        ("random", "called 'random' is installed"),
        ("torch", "called 'torch' is installed"),
    ],
)
def test_a_name_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(BenchError) as error:
        new_method(name, tmp_path)

    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_command_says_on_lines_of_their_own_what_to_run_next(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    done = command("new", "method", "nearest")

    assert done.code == 0
    wrote, *lines = done.out.splitlines()
    assert wrote.startswith("wrote nearest: ")
    assert [line.split()[0] for line in lines] == ["pytest", "susx-bench", "pip"]


def test_a_folder_that_is_there_is_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    done = command("new", "method", "mine")

    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "mine is there already" in done.err
    assert not list((tmp_path / "mine").iterdir())
