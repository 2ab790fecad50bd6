from __future__ import annotations

import json
from pathlib import Path

import pytest

from susx_bench.errors import SuiteError
from susx_bench.report.leaderboard import check
from susx_bench.runner.suite import Suite
from tests.conftest import Bundle, Command

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "leaderboards" / "records"
COMMITTED = [ROOT / f"benchmarks/suites/{path.name}.toml" for path in sorted(RECORDS.iterdir())]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_tables_are_what_their_records_give(path: Path) -> None:
    check(Suite.read(path), ROOT / "leaderboards")


@pytest.fixture
def suite(tmp_path: Path, bundle: Bundle) -> Path:
    bundle()
    path = tmp_path / "toy.toml"
    path.write_text(
        'name = "toy"\ntitle = "Toy"\n[[run]]\nmethod = ["zero-shot", "tipx"]\n'
        'features = ["toy.safetensors"]\ntune = ["fixed", "test"]\n'
    )
    return path


def fill(command: Command, suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "leaderboards" / "records" / "toy"
    done = command("run", "--suite", suite, "--data-root", tmp_path, "--out", out)
    assert done.code == 0, done.err


def test_a_suite_runs_builds_and_checks(command: Command, suite: Path, tmp_path: Path) -> None:
    fill(command, suite, tmp_path)
    built = command("leaderboard", "build", suite)
    checked = command("leaderboard", "check", suite)

    table = (tmp_path / "leaderboards" / "toy.md").read_text()
    assert built.code == checked.code == 0
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 3
    assert "| tipx | test † |" in table
    assert "upper bound" in table


def test_a_changed_digit_is_named(command: Command, suite: Path, tmp_path: Path) -> None:
    fill(command, suite, tmp_path)
    command("leaderboard", "build", suite)
    record = next((tmp_path / "leaderboards").rglob("tipx-*.json"))
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"accuracy": content["accuracy"] + 0.1}))

    done = command("leaderboard", "check", suite)

    assert done.code == 2
    assert str(record.relative_to(tmp_path)) in done.err
    assert "checksum" in done.err


def test_a_table_that_drifted_is_exit_3(command: Command, suite: Path, tmp_path: Path) -> None:
    fill(command, suite, tmp_path)
    command("leaderboard", "build", suite)
    table = tmp_path / "leaderboards" / "toy.md"
    table.write_text(table.read_text().replace("| tipx | fixed |", "| tipx | val |"))

    done = command("leaderboard", "check", suite)

    assert done.code == 3
    assert "is not what its records give" in done.err


def test_a_suite_without_records_says_so(command: Command, suite: Path) -> None:
    done = command("leaderboard", "build", suite)

    assert done.code == 2
    assert "no records" in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'\ntitle = 'x'\n[[run]]\nmethods = ['tipx']", "run.0.methods: Extra inputs"),
        ("name = 'x'\ntitle = 'x'\nrun = []", "run: Tuple should have at least 1 item"),
        ("name = 'x'\ntitle = 'x'\n[[run]]\nmethod = []", "run.0.method: Tuple should have"),
        (
            "name = 'x'\ntitle = 'x'\n[[run]]\nmethod = ['tipx']\nshots = [-1]",
            "run.0.shots.0: Input should be greater than 0",
        ),
        ("name = 'x'\ntitle = 'x'", "run: Field required"),
        ("name = 'X Y'\ntitle = 'x'\nrun = []", "name: String should match"),
        ("name = ", "cannot be read"),
    ],
)
def test_a_suite_with_a_typo_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)

    with pytest.raises(SuiteError, match=message) as caught:
        Suite.read(path)
    assert str(path) in str(caught.value)
