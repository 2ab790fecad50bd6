from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from susx_bench.cli.next_step import next_step
from tests.records.example import make_record


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encoder": "demo"}, "--dataset ./PHOTOS --encoder ViT-B-32:openai"),
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
