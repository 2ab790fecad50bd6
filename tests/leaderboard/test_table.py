from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from susx_bench.leaderboard.table import choices, results
from susx_bench.records.record import Record, Search
from tests.records.example import make_record


def said(records: list[Record], *worded: str) -> list[str]:
    """The tables as text, one a task."""
    console = Console(file=io.StringIO(), width=200)
    for part in results(records, ["zero-shot", "tipx"], worded):
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [f"toy · {table}" for table in text.split("toy · ")[1:]]


def record(method: str, accuracy: float, **changes: Any) -> Record:
    bare: dict[str, Any] = {"support": "none", "support_images": 0, "shots": 0, "draw": ""}
    own = bare if method in ("zero-shot", "cupl") else {}
    return make_record(
        method=method, accuracy=accuracy, **{"mean_per_class": accuracy} | own | changes
    )


def test_two_support_sets_are_two_tables_with_the_same_zero_shot() -> None:
    sets = [
        record("tipx", accuracy, support=support, setting="name-only")
        for support, accuracy in (("sus-sd", 50.0), ("sus-lc", 60.0))
    ]

    first, second = said([record("zero-shot", 40.0, setting="name-only"), *sets])

    for table, mine, other in ((first, "50.0", "60.0"), (second, "60.0", "50.0")):
        assert mine in table
        assert other not in table
        assert "40.0" in table
    assert "support sus-sd" in first
    assert "support sus-lc" in second


def test_numbers_of_two_draws_or_numbers_of_views_are_not_averaged() -> None:
    for changes in ({"draw": "coop"}, {"views": 4}, {"prompts": "ensemble"}):
        tables = said([record("tipx", 50.0), record("tipx", 60.0, **changes)])

        assert len(tables) == 2, changes


def test_a_method_with_prompts_of_its_own_stands_beside_the_others() -> None:
    own = record("cupl", 45.0, prompts="cupl")

    (table,) = said([own, record("zero-shot", 40.0), record("tipx", 50.0)], "cupl")

    assert all(number in table for number in ("40.0", "45.0", "50.0"))
    assert "own prompts cupl" in table


def test_what_is_trained_is_marked() -> None:
    (table,) = said([record("tipx", 50.0), record("linear-probe", 60.0, trained=True)])

    assert "linear-probe ᵍ" in table
    assert "tipx ᵍ" not in table
    assert "ᵍ trained by gradient steps on the support set" in table


def test_a_tuning_that_did_something_else_is_told_in_a_large_table_too() -> None:
    """Where a line a cell would be too many, the reason stands once, with whom it is of."""
    why = "fixed: 1 support image in a class, cross-validation takes 4"
    note = Search(note=why)
    few = [
        record(method, 50.0, tuned_on="support", search=note, shots=shots, seed=seed)
        for method in ("tip-adapter", "tipx")
        for shots in (1, 2)
        for seed in (1, 2, 3)
    ]
    enough = record("tipx", 60.0, tuned_on="support", shots=16)

    lines = choices([*few, enough], set())

    assert lines == [f"tip-adapter, tipx at S = 1, 2: {why}"]


def test_two_choices_of_a_method_are_told_apart() -> None:
    runs = [
        record("tipx", 50.0, shots=shots, seed=seed) for shots, seed in ((1, 1), (1, 2), (2, 1))
    ]

    told = [line.partition(":")[0] for line in choices(runs, set())]

    assert told == ["tipx at S = 1, seed 1", "tipx at S = 1, seed 2", "tipx at S = 2, seed 1"]


@pytest.mark.parametrize("sizes", [(2, 1), (2, 2)])
def test_the_mean_over_classes_stands_beside_the_accuracy(sizes: tuple[int, int]) -> None:
    """Where classes differ in size; else it is the same number."""
    classes = [(name, 1, size) for name, size in zip("ab", sizes, strict=True)]
    runs = [
        record("tipx", 60.0, seed=seed, support_sha256=str(seed) * 64, mean_per_class=own)
        for seed, own in ((1, 41.0), (2, 44.0))
    ]
    (table,) = said([r.model_copy(update={"classes": classes}) for r in runs])

    assert ("mean over classes" in table) == (sizes == (2, 1))
    assert ("42.5" in table) == (sizes == (2, 1))
