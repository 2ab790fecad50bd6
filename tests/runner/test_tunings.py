"""Tunings through the command line: what each may see, and that the record says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.conftest import Bundle, Command

FEW = ("run", "--setting", "few-shot", "--method", "tipx", "--json")


def one(command: Command, *words: object) -> dict[str, Any]:
    done = command(*FEW, *words)
    assert done.code == 0, done.err
    (record,) = done.records
    return record


@pytest.mark.parametrize(
    ("tune", "images"), [("fixed", 0), ("support", 20), ("few-val", 20), ("val", 30)]
)
def test_the_record_says_what_was_looked_at(
    bundle: Bundle, command: Command, tune: str, images: int
) -> None:
    record = one(command, "--features", bundle(), "--tune", tune)

    assert record["tuned_on"] == tune
    assert record["search"]["images"] == images
    assert record["seconds"]["search"] >= record["seconds"]["fit"]


def test_tuning_on_test_must_be_allowed_and_has_a_dagger(bundle: Bundle, command: Command) -> None:
    words = ("run", "--setting", "few-shot", "--method", "tipx", "--features", bundle())
    refused = command(*words, "--tune", "test")
    allowed = command(*words, "--tune", "test", "--allow-test-tuning")

    assert refused.code == 2
    assert "--allow-test-tuning" in refused.err
    assert "tipx †" in allowed.out
    assert "upper bound, not a result" in allowed.out


def test_scrambled_test_labels_change_only_what_was_tuned_on_them(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor]
) -> None:
    paths = (bundle(), bundle("scrambled", test_labels=tensors["test_labels"].roll(1)))
    for tune in ("fixed", "support", "few-val", "val"):
        first, second = (one(command, "--features", path, "--tune", tune) for path in paths)
        assert first["hparams"] == second["hparams"]
        assert first["predictions_sha256"] == second["predictions_sha256"]


def test_without_val_the_support_chooses(bundle: Bundle, command: Command) -> None:
    record = one(command, "--features", bundle(val=None, val_labels=None))

    assert record["tuned_on"] == "support"


def test_few_val_draws_as_many_images_as_it_says(bundle: Bundle, command: Command) -> None:
    drawn = ("--features", bundle(), "--shots", "2", "--seed", "1", "--tune", "few-val")

    assert one(command, *drawn)["search"]["images"] == 2 * 5
    assert one(command, *drawn, "--val-shots", 3)["search"]["images"] == 3 * 5
    assert one(command, *drawn[:5], 2, *drawn[6:])["record"] != one(command, *drawn)["record"]


def test_name_only_tuned_on_target_labels_is_marked(bundle: Bundle, command: Command) -> None:
    words = ("run", "--setting", "name-only", "--method", "tipx", "--features", bundle())

    assert "fixed" in command(*words).out
    marked = command(*words, "--tune", "val")
    assert "tipx ‡‖ " in marked.out
    assert "tipx, val (30): alpha" in marked.out
    assert "‡ chosen on target labels: name-only no more, and not ranked" in marked.out
    refused = command(*words, "--tune", "few-val")
    assert refused.code == 2
    assert "needs --val-shots" in refused.err


def test_published_constants_that_do_not_exist_leave_a_blank(
    bundle: Bundle, command: Command
) -> None:
    done = command(
        "run", "--setting", "few-shot", "--method", "tipx", "--features", bundle(),
        "--tune", "published",
    )  # fmt: skip

    assert done.code == 0
    assert "left blank: tipx has no published constants for toy" in done.out


def test_what_the_choice_cost_is_one_line(bundle: Bundle, command: Command) -> None:
    done = command("run", "--setting", "few-shot", "--method", "tipx", "--features", bundle())

    (line,) = [line for line in done.out.splitlines() if line.startswith("tipx,")]
    for word in ("alpha", "val (30)", "200,000 settings", "tie", "within 0.5"):
        assert word in line


def test_a_heat_map_is_one_flag_away(bundle: Bundle, command: Command) -> None:
    words = (*FEW, "--features", bundle())
    record = one(command, *words[len(FEW) :])
    again = one(command, "--features", bundle(), "--heat-map")

    picture = Path(record["record"]).with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert again["predictions_sha256"] == record["predictions_sha256"]


def test_a_method_without_a_grid_is_never_said_to_be_tuned(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from susx_bench import Method\n"
        "@dataclass\n"
        "class Mine(Method):\n"
        "    name = 'mine'\n"
        "    alpha: float = 2.0\n"
        "    def fit(self, context): self.text = context.text\n"
        "    def logits(self, images): return self.alpha * images @ self.text.T\n"
    )
    done = command(
        "run", "--setting", "few-shot", "--method", f"{file}:Mine", "--features", bundle(), "--json"
    )

    assert done.records[0]["tuned_on"] == "fixed"
    assert done.records[0]["hparams"] == {"alpha": 2.0}


@pytest.mark.parametrize(
    ("dataset", "tune", "marked"),
    [
        ("toy", "fixed", False),
        ("UCF101-mine", "fixed", True),
        ("ucf101", "support", True),
        ("ucf101", "val", False),
    ],
)
def test_constants_that_were_chosen_on_a_dataset_are_marked_there(
    bundle: Bundle, command: Command, dataset: str, tune: str, marked: bool
) -> None:
    words = ("--features", bundle(), "--dataset", dataset, "--tune", tune)
    record = one(command, *words)
    table = command(*FEW[:-1], *words).out

    assert record["chosen_here"] == marked
    assert ("¶" in table) == marked
    assert ("no independent evidence" in table) == marked


def test_the_published_constants_of_a_dataset_are_marked_on_it(
    bundle: Bundle, command: Command
) -> None:
    words = ("--method", "ape", "--features", bundle(), "--dataset", "dtd", "--tune", "published")
    (record,) = command("run", "--setting", "few-shot", "--json", *words).records

    assert record["chosen_here"]
