"""The house: imports point one way, the mathematics stands alone, nothing unsafe is loaded."""

from __future__ import annotations

import ast
import importlib
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import susx_bench
from susx_bench.registry import METHODS

ROOT = Path(susx_bench.__file__).parent
BENCHMARKS = ROOT.parent / "benchmarks"
FILES = sorted(ROOT.rglob("*.py"))

# Lower floors first; a file imports from its own floor and from those below.
FLOORS = [
    {"errors", "console", "events", "hub", "process", "progress", "ranks"}
    | {"loading", "logs", "registry", "program", "reads", "stated", "webpage"}
    | {"options", "records", "scaffold"},
    {"data", "prompts", "encoders", "demo"},
    {"methods"},
    {"features"},
    {"support", "tuning"},
    {"runner"},
    {"photos"},
    {"leaderboard", "testing"},
    {"results"},
    {"api"},
    {"cli", "doctor", "listing", "__main__", "__init__"},
]
MATHEMATICS = {"methods", "tuning"}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(file: Path) -> set[str]:
    """Modules of ours that a file imports at run time, wherever in the file."""
    found = set()
    typing_only: set[ast.AST] = set()
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            typing_only.update(child for part in node.body for child in ast.walk(part))
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def floor(name: str) -> int:
    return next(i for i, names in enumerate(FLOORS) if name in names)


def test_what_is_printed_is_made_in_one_place() -> None:
    """Rich's own console and texts obey what stands in a name; ours print it."""
    texts = {file for file in FILES if {"rich.text", "rich.markup"} & imports(file)}
    calls = {
        (file, ast.unparse(node.func))
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
    }

    assert texts == {ROOT / "console.py"}
    assert not {file for file, called in calls if called in ("Console", "rich.print")}
    assert not {file for file, called in calls if called == "print"} - {
        ROOT / "demo/train_encoder.py",
        ROOT / "demo/train_pipeline.py",
        ROOT / "data/docs.py",
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_one_way(file: Path) -> None:
    parts = file.relative_to(ROOT).with_suffix("").parts
    here = floor(parts[0])
    for module in imports(file):
        if module.startswith("susx_bench"):
            assert floor(room(module)) <= here, f"{file} imports {module}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_mathematics_stands_alone(file: Path) -> None:
    if file.relative_to(ROOT).parts[0] not in MATHEMATICS:
        return
    outside = {module.split(".")[0] for module in imports(file)} - {"__future__", "susx_bench"}
    assert outside <= {
        "abc", "collections", "copy", "dataclasses", "functools", "itertools", "math", "time",
        "torch", "typing",
    }  # fmt: skip
    ours = {room(module) for module in imports(file) if module.startswith("susx_bench")}
    assert ours <= MATHEMATICS


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_unsafe_is_loaded(file: Path) -> None:
    safe = re.sub(r"torch\.load\([^()]*weights_only=True\)", "", file.read_text())
    safe = safe.replace("trust_remote_code=False", "")
    forbidden = r"pickle|weights_only|torch\.load|trust_remote_code\s*=|\"trust_remote_code\"\s*:"
    assert not re.search(forbidden, safe)


def test_the_readme_lists_no_method_that_is_not_there() -> None:
    readme = (ROOT.parent / "README.md").read_text()
    asked = re.findall(r"--method ([a-z][\w,-]*)", readme)

    assert asked
    assert {name for names in asked for name in names.split(",")} <= set(METHODS.names())


@pytest.mark.parametrize("file", sorted(BENCHMARKS.rglob("*.py")), ids=lambda file: file.name)
def test_what_the_benchmarks_import_from_us_is_there(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("susx_bench"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}")
