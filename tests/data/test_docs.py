from __future__ import annotations

from pathlib import Path

import susx_bench
from susx_bench.data.docs import markdown

PAGE = Path(susx_bench.__file__).parents[1] / "docs" / "datasets.md"


def test_the_documentation_has_the_facts_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown()
