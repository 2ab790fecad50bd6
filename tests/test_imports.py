"""What commands import: nothing that trains or encodes before something is trained or encoded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from susx_bench.cli.listing import LISTS
from tests.conftest import Bundle, Command
from tests.data.made import encoded, photo, write

HEAVY = ("lightning", "torchmetrics", "transformers", "torchvision", "open_clip", "diffusers")
CODE = """
import atexit, json, sys
from susx_bench.cli import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=open("modules.json", "w")))
main()
"""
SUITES = Path(__file__).parents[1] / "benchmarks/suites"


def imported(*words: str | Path) -> set[str]:
    """The packages that a command has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(Path("modules.json").read_text())}


def test_the_package_alone_imports_nothing_heavy() -> None:
    code = "import sys, susx_bench; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "numpy", "click", "rich", *HEAVY} & set(done.stdout.split())


@pytest.mark.parametrize("what", LISTS)
def test_lists_need_no_torch(what: str) -> None:
    assert not {"torch", *HEAVY} & imported("list", what)


def test_checking_a_folder_needs_no_torch(tmp_path: Path) -> None:
    for place, name in enumerate(("cat", "dog")):
        write(tmp_path / "mine/test" / name / "0.png", encoded(photo(place)))

    assert not {"torch", *HEAVY} & imported("data", "check", tmp_path / "mine")


def test_checking_a_leaderboard_needs_no_lightning() -> None:
    suite, folder = SUITES / "demo-name-only.toml", SUITES.parents[1] / "leaderboards"

    assert not set(HEAVY) & imported("leaderboard", "check", suite, "--folder", folder)


@pytest.mark.parametrize("what", ["check", "cite"])
def test_a_leaderboard_needs_no_method_and_no_torch(what: str) -> None:
    suite, folder = SUITES / "demo-name-only.toml", SUITES.parents[1] / "leaderboards"

    assert "torch" not in imported("leaderboard", what, suite, "--folder", folder)


@pytest.mark.parametrize("setting", ["few-shot", "name-only"])
def test_a_run_with_nothing_to_do_needs_no_lightning(setting: str, command: Command) -> None:
    words = ["run", "--method", "tip-adapter", "--setting", setting, "--dataset", "digits"]
    words += ["--shots", "2", "--seed", "1"] if setting == "few-shot" else []
    assert command(*words).code == 0

    assert not set(HEAVY) & imported(*words)


def test_a_bundle_with_nothing_to_do_needs_no_lightning(bundle: Bundle, command: Command) -> None:
    words = ("run", "--method", "tipx", "--setting", "few-shot", "--features", str(bundle()))
    assert command(*words).code == 0

    assert not set(HEAVY) & imported(*words)


@pytest.mark.parametrize(("needs_torch", "is_left"), [(True, False), (False, True)])
def test_objects_are_left_to_the_system_only_without_torch(
    needs_torch: bool, is_left: bool
) -> None:
    """Compiled modules that come with torch print the objects that are left as leaks."""
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count()))\n"
        + "import torch\n" * needs_torch
        + "from susx_bench.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True
    )

    assert (int(done.stdout.split()[-1]) > 0) is is_left
