"""Suites: what they may say, and that a suite's support sets are built before its cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from susx_bench.errors import SuiteError
from susx_bench.registry import DATASETS, METHODS
from susx_bench.runner.suite import Suite
from tests.conftest import Command
from tests.support.conftest import untrained

SUITES = sorted((Path(__file__).parents[2] / "benchmarks" / "suites").glob("*.toml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_suite_names_what_there_is(path: Path) -> None:
    suite = Suite.read(path)

    assert suite.name == path.stem
    for options in suite.options(None):
        assert set(options["method"]) <= set(METHODS.names())
        assert set(options["dataset"] or ()) <= set(DATASETS.names())
    built = {
        (support["dataset"], support["name"] or f"{support['kind']}-{support['prompts']}")
        for support in suite.supports(None)
    }
    used = {
        (dataset, options["support"])
        for options in suite.options(None)
        if options["support"]
        for dataset in options["dataset"] or ("digits",)
    }
    assert built == used


def test_a_suite_builds_its_support_sets_first(command: Command, tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text(
        f"""
        name = "mine"
        title = "Mine"
        [[support]]
        kind = "sus-sd"
        dataset = ["digits"]
        model = "{untrained(tmp_path / "pipeline")}"
        steps = 2
        per_class = 2
        [[run]]
        method = ["zero-shot", "tip-adapter"]
        setting = "name-only"
        support = "sus-sd-photo"
        shots = [1, 2]
        seed = [1, 2]
        """
    )

    done = command("run", "--suite", suite, "--out", "leaderboards/records/mine", "--json")

    assert done.code == 0, done.err
    assert sorted((r["method"], r["shots"], r["seed"]) for r in done.records) == [
        *(("tip-adapter", shots, seed) for shots in (1, 2) for seed in (1, 2)),
        ("zero-shot", 0, 0),
    ]
    assert command("leaderboard", "build", suite).code == 0
    table = Path("leaderboards/mine.md").read_text()
    assert "digits demo, sus-sd-photo, S = 2 (n = 769)" in table
    assert command("leaderboard", "check", suite).code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "sus-sdd"}, "support.0.kind"),
        ({"sead": 3}, "support.0.sead"),
        ({"per_class": 0}, "support.0.per_class"),
    ],
)
def test_a_mistake_in_a_support_set_is_named(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    support = {"kind": "sus-sd", "dataset": ["digits"]} | change
    lines = [f"{name} = {value!r}" for name, value in support.items()]
    path.write_text(
        "\n".join(["name='x'", "title='x'", "[[support]]", *lines, "[[run]]", "method=['tipx']"])
    )

    with pytest.raises(SuiteError, match=message):
        Suite.read(path)
