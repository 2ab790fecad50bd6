from __future__ import annotations

from typing import Any

import pytest

from susx_bench.cli.next_step import next_step
from tests.records.example import make_record


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encoder": "demo"}, "--dataset ./PHOTOS --encoder ViT-B-32:openai"),
        ({}, "--shots 1,2,4,8,16 --seed 1,2,3"),
        ({"protocol": "bundle"}, "--features FILE.safetensors --shots 1,2,4,8,16"),
        ({"setting": "name-only", "encoder": "RN50:openai"}, "--encoder ViT-B-32:openai"),
    ],
)
def test_the_last_line_is_a_command_that_goes_on(changes: dict[str, Any], says: str) -> None:
    line = next_step([make_record(**changes)])

    assert line.startswith("next, ")
    assert "susx-bench run --method tipx " in line
    assert says in line
