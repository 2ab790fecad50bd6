from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from susx_bench.cli.next_step import next_step
from tests.conftest import Command
from tests.records.example import make_record

MINE = """
from susx_bench import Method


class Mine(Method):
    name = "mine"
    needs = {"text"}

    def fit(self, context):
        self._context = context

    def logits(self, images):
        return self._context.logit_scale * images @ self._context.text.T
"""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"encoder": "demo", "dataset_given": "digits"},
            "--dataset ./PHOTOS --encoder ViT-B-32:openai",
        ),
        ({"encoder": "demo"}, "--dataset toy --encoder ViT-B-32:openai"),
        ({}, "--shots 1,2,4,8,16 --seed 1,2,3"),
        ({"protocol": "bundle", "shots": 4}, "--features mine.safetensors --shots 1,2,4 --seed"),
        ({"tuned_on": "support"}, "--shots 1,2,4,8,16 --seed 1,2,3"),
        ({"tuned_on": "support"}, "--tune support"),
        ({"protocol": "bundle", "shots": 1, "tuned_on": "val"}, "--tune support"),
        ({"setting": "name-only", "encoder": "RN50:openai"}, "--encoder ViT-B-32:openai"),
    ],
)
def test_the_last_line_is_a_command_that_goes_on(changes: dict[str, Any], says: str) -> None:
    line = next_step([make_record(**changes)], Path("mine.safetensors"))

    assert line.startswith("next, ")
    assert "susx-bench run --method tipx " in line
    assert says in line


def test_a_method_of_the_users_and_the_folder_of_the_records_stay() -> None:
    own = {"method": "mine", "method_source": "a" * 64}
    line = next_step([make_record(**own)], None, ["./mine.py:Mine"], Path("mine"))

    assert "--method ./mine.py:Mine " in line
    assert line.endswith(" --out mine")
    beside = next_step([make_record()], None, ["./mine.py:Mine"])
    assert "--method ./mine.py:Mine,tipx " in beside
    assert "--out" not in beside


def test_a_run_says_what_is_next_for_the_method_that_was_asked_for(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    words = ("--method", "./mine.py:Mine", "--setting", "few-shot", "--shots", "1", "--seed", "1")

    done = command("run", *words, "--out", "here")

    assert done.code == 0, done.err
    last = done.out.strip().splitlines()[-1]
    assert "--method ./mine.py:Mine" in last
    assert last.endswith("--out here")


def test_the_same_without_val_keeps_shots_and_seeds() -> None:
    runs = [
        make_record(protocol="bundle", shots=shots, seed=seed, tuned_on="val", draw="balanced")
        for shots in (1, 4)
        for seed in (1, 2)
    ]

    assert "--shots 1,4 --seed 1,2 --tune support" in next_step(runs, Path("mine.safetensors"))
