from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from rich.console import Console

from susx_bench.console import PlainConsole
from susx_bench.leaderboard.results import choices, html_table, terminal_table
from susx_bench.records.files import sha256_json
from susx_bench.records.record import Record, Search
from tests.records.example import make_record


def said(records: list[Record]) -> str:
    """The tables as text."""
    console = Console(file=io.StringIO(), width=200)
    for part in terminal_table(records, ["zero-shot", "tipx"]):
        console.print(part)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def record(method: str, accuracy: float, **changes: Any) -> Record:
    bare: dict[str, Any] = {"support": "none", "support_images": 0, "shots": 0, "draw": ""}
    own = bare if method in ("zero-shot", "cupl") else {}
    own = own | {"input_sha256": sha256_json([method, accuracy, repr(changes)])}
    return make_record(
        method=method, accuracy=accuracy, **{"mean_per_class": accuracy} | own | changes
    )


def line(table: str, start: str) -> str:
    return next(line for line in table.splitlines() if line.startswith(start))


def test_two_support_sets_are_two_rows_beside_the_same_zero_shot() -> None:
    sets = [
        record("tipx", accuracy, support=support, setting="name-only")
        for support, accuracy in (("sus-sd", 50.0), ("sus-lc", 60.0))
    ]

    table = said([record("zero-shot", 40.0, setting="name-only"), *sets])

    assert "50.0" in line(table, "tipx, sus-sd")
    assert "60.0" in line(table, "tipx, sus-lc")
    assert "40.0" in line(table, "zero-shot")


@pytest.mark.parametrize("changes", [{"draw": "coop"}, {"views": 4}, {"prompts": "ensemble"}])
def test_numbers_of_two_draws_or_numbers_of_views_are_not_averaged(changes: dict[str, Any]) -> None:
    table = said([record("tipx", 50.0), record("tipx", 60.0, **changes)])

    assert "50.0" in table
    assert "60.0" in table
    assert "55.0" not in table


@pytest.mark.parametrize(
    ("changes", "apart"),
    [
        ({"prompts_sha256": "d" * 64}, "texts dddddd"),
        ({"support_sha256": "d" * 64}, "support dddddd"),
        ({"split_sha256": "d" * 64}, "data "),
        ({"logit_scale": 50.0}, "logit scale 50"),
    ],
)
def test_two_bundles_of_one_name_are_two_tables_told_apart(
    changes: dict[str, Any], apart: str
) -> None:
    """Another text, support or scale with the same test images: the same cells, other numbers."""
    bundle = {"protocol": "bundle", "prompts": "bundle", "dataset_given": ""}
    first, second = record("tipx", 50.0, **bundle), record("tipx", 60.0, **bundle, **changes)

    table = said([first, second, second])

    assert sum(line.startswith("tipx ") for line in table.splitlines()) == 2
    assert table.count("50.0") == 1
    assert table.count("60.0") == 1
    assert apart in table


def test_a_method_with_prompts_of_its_own_stands_beside_the_others() -> None:
    own = record("cupl", 45.0, prompts="cupl")

    table = said([own, record("zero-shot", 40.0), record("tipx", 50.0)])

    assert all(number in table for number in ("40.0", "45.0", "50.0"))
    assert "prompts of their own: cupl" in table


def test_what_is_trained_stands_apart_and_is_marked() -> None:
    table = said([record("tipx", 50.0), record("linear-probe", 60.0, trained=True)])

    assert "linear-probe ᵍ" in table
    assert "tipx ᵍ" not in table
    assert "ᵍ trained by gradient steps on the support set" in table
    assert table.index("tipx") < table.index("trained, inductive; ") < table.index("linear-probe")


def test_the_best_stands_first() -> None:
    table = said([record("zero-shot", 40.0), record("tipx", 50.0), record("gda", 60.0)])

    assert table.index("gda") < table.index("tipx") < table.index("zero-shot")


def test_two_datasets_are_two_tables() -> None:
    records = [record("tipx", 50.0, dataset=name, dataset_given=name) for name in ("dtd", "cars")]

    table = said(records)
    assert "dtd · RN50:openai" in table
    assert "cars · RN50:openai" in table
    assert html_table(records).count("<table>") == 2


def test_80_columns_hold_the_default_few_shot_table_with_all_its_marks() -> None:
    """Five numbers of shots over three seeds, and arrows: nothing wraps or is cut."""
    right = {"tipx": b"\xff\xff", "tip-adapter": b"\x00\x00"}
    records = [
        record(
            method,
            accuracy + seed,
            shots=shots,
            seed=seed,
            n_test=16,
            right=base64.b64encode(right[method]).decode(),
            support_sha256=f"{shots:032d}{seed:032d}",
        )
        for method, accuracy in (("tipx", 80.0), ("tip-adapter", 60.0))
        for shots in (1, 2, 4, 8, 16)
        for seed in (1, 2, 3)
    ]
    console = PlainConsole(file=io.StringIO(), width=80)
    for part in terminal_table(records):
        console.print(part)
    table = console.file.getvalue()  # type: ignore[attr-defined]

    assert line(table, "tipx ").count("82.0 ±1.0▲") == 5
    assert len(line(table, "tipx ")) <= 80


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

    assert lines[-1] == f"tip-adapter, tipx at S = 1, 2 are {why}"


def test_what_was_chosen_is_one_line_a_method() -> None:
    runs = [
        record(method, 50.0, shots=shots, seed=seed, hparams={"alpha": float(shots), "beta": 2.0})
        for method in ("tipx", "tip-adapter")
        for shots, seed in ((1, 1), (1, 2), (4, 1))
    ]

    first, second = choices(runs, set())

    assert first.startswith("tipx, val")
    assert first.endswith(": alpha 1 to 4, beta 2")
    assert second.startswith("tip-adapter, val")


@pytest.mark.parametrize("own", [(41.0, 44.0), (60.0, 60.0)])
def test_the_mean_over_classes_stands_beside_the_accuracy(own: tuple[float, float]) -> None:
    """Where it is another number."""
    runs = [
        record("tipx", 60.0, seed=seed, support_sha256=str(seed) * 64, mean_per_class=mean)
        for seed, mean in zip((1, 2), own, strict=True)
    ]
    table = said(runs)

    assert ("mean over classes" in table) == (own[0] != 60.0)
    assert ("42.5" in table) == (own[0] != 60.0)
