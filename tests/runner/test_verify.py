"""Cells measured again from their records, and the commands that records stand for."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from susx_bench.options.asked import BUNDLE, METHOD
from susx_bench.records.command import command as command_of
from susx_bench.records.record import Record
from susx_bench.records.store import predictions_path, read_predictions, write
from tests.conftest import Bundle, Command
from tests.records.example import make_record


def measured(command: Command, *words: object) -> list[Path]:
    setting = () if "--setting" in words else ("--setting", "few-shot")
    done = command("run", *setting, "--out", "out", "--json", *words)
    assert done.code == 0, done.err
    return [Path(record["record"]) for record in done.records]


RUNS = [
    ("--method", "zero-shot"),
    ("--method", "tipx"),
    ("--method", "tipx", "--official"),
    ("--method", "tip-adapter", "--shots", "2", "--seed", "3", "--tune", "fixed"),
    ("--method", "tip-adapter", "--shots", "2", "--seed", "1", "--draw", "coop"),
    ("--method", "tip-adapter", "--tune", "test", "--allow-test-tuning"),
    ("--method", "tip-adapter", "--tune", "few-val"),
    ("--method", "tip-adapter", "--tune", "few-val", "--val-shots", "2"),
    ("--method", "tip-adapter", "--tune", "support"),
    ("--method", "tda", "--order", "0"),
    ("--method", "tda", "--order", "3"),
    ("--method", "transclip", "--setting", "name-only"),
    ("--method", "transclip", "--setting", "name-only", "--batches", "20:3", "--order", "2"),
]


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_a_records_command_measures_its_cell(
    words: tuple[str, ...], bundle: Bundle, command: Command
) -> None:
    path = bundle()
    (record,) = measured(command, *words, "--features", path)

    line = command_of(Record.read(record)).replace(BUNDLE, str(path))
    again = command(*shlex.split(line)[1:], "--out", "again", "--json")

    assert again.code == 0, again.err
    (found,) = again.records
    assert Path(found["record"]).name == record.name
    assert command("records", "verify", record, "--features", path).code == 0


def test_the_demos_records_are_measured_again(command: Command) -> None:
    record, *_ = measured(
        command, "--method", "tip-adapter,zero-shot", "--shots", "1", "--seed", "2"
    )

    done = command("records", "verify", "out")
    again = command(*shlex.split(command_of(Record.read(record)))[1:], "--out", "again", "--json")

    assert done.code == 0, done.err
    assert done.out.count(": same") == 2
    assert Path(again.records[0]["record"]).name == record.name


def change(path: Path, images: int, *, keep: bool = True) -> None:
    """Make a record say that some images were answered otherwise."""
    record, predictions = Record.read(path), read_predictions(path)
    predictions.top1[:images] = (predictions.top1[:images] + 1) % record.num_classes
    write(path, record.model_copy(update={"predictions_sha256": predictions.sha256}), predictions)
    if not keep:
        predictions_path(path).unlink()


def test_other_predictions_are_exit_3_with_their_number(bundle: Bundle, command: Command) -> None:
    path = bundle()
    good, bad = measured(command, "--method", "zero-shot,tip-adapter", "--features", path)
    change(bad, 3)

    done = command("records", "verify", "out", "--features", path)

    assert done.code == 3
    assert f"1 of 2 records are not measured again: {bad}: 3 of 70 images differ" in done.err
    assert f"{good}: same" in done.out


def test_without_predictions_the_hash_is_compared(bundle: Bundle, command: Command) -> None:
    path = bundle()
    (record,) = measured(command, "--method", "zero-shot", "--features", path)
    predictions_path(record).unlink()
    assert command("records", "verify", record, "--features", path).code == 0

    (record,) = measured(command, "--method", "zero-shot", "--features", path, "--force")
    change(record, 2, keep=False)

    assert command("records", "verify", record, "--features", path).code == 3


def test_the_right_bundle_is_found_among_several(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor]
) -> None:
    path, other = bundle(), bundle("other.safetensors", test=tensors["test"].flip(0))
    (record,) = measured(command, "--method", "zero-shot", "--features", path)

    done = command("records", "verify", record, "--features", other, "--features", path)
    wrong = command("records", "verify", record, "--features", other)

    assert done.code == 0, done.err
    assert wrong.code == 2
    assert "the inputs cannot be found again: split_sha256 differs" in wrong.err
    assert len(wrong.err.strip().splitlines()) == 1


def test_a_bundle_that_lacks_what_a_record_asks_for_is_not_its_own(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor]
) -> None:
    kept = tensors["val_labels"].sort().indices[:1]  # one labelled image of all classes
    short = bundle(
        "short.safetensors", val=tensors["val"][kept], val_labels=tensors["val_labels"][kept]
    )
    path = bundle()
    (record,) = measured(
        command, "--method", "tip-adapter", "--tune", "few-val", "--features", path
    )

    done = command("records", "verify", record, "--features", short, "--features", path)
    wrong = command("records", "verify", record, "--features", short)

    assert done.code == 0, done.err
    assert wrong.code == 2
    assert "labelled images, --val-shots asks for" in wrong.err


def test_what_a_record_does_not_name_is_asked_for(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    method = tmp_path / "mine.py"
    method.write_text(
        "from susx_bench.methods.zero_shot import ZeroShot\n"
        "class Mine(ZeroShot):\n    name = 'mine'\n"
    )
    path = bundle()
    (record,) = measured(command, "--method", f"{method}:Mine", "--features", path)

    unnamed = command("records", "verify", record)
    fileless = command("records", "verify", record, "--features", path)
    named = command("records", "verify", record, "--features", path, "--method", f"{method}:Mine")
    method.write_text(method.read_text() + "    version = '2'\n")
    changed = command("records", "verify", record, "--features", path, "--method", f"{method}:Mine")

    assert METHOD in command_of(Record.read(record))
    assert (unnamed.code, fileless.code, named.code, changed.code) == (2, 2, 0, 2)
    assert "was read from a file. Name it, --method FILE.py:CLASS" in unnamed.err
    assert "Name it, --features" not in unnamed.err
    assert "method_version, method_source differs" in changed.err


@pytest.mark.parametrize("victim", ["gone.json", "folder"])
def test_no_record_is_one_line(victim: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / "folder").mkdir()

    done = command("records", "verify", victim)

    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1


def test_a_damaged_record_is_not_measured(bundle: Bundle, command: Command) -> None:
    path = bundle()
    (record,) = measured(command, "--method", "zero-shot", "--features", path)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"accuracy": 1.0}))

    done = command("records", "verify", record, "--features", path)

    assert done.code == 2
    assert "was changed after it was written" in done.err


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {},
            "susx-bench run --method tipx --setting few-shot --dataset toy --encoder RN50:openai "
            "--prompts single --views 1 --shots 4 --seed 1 --tune val",
        ),
        (
            {"setting": "name-only", "support": "sus-sd-photo", "draw": "", "tuned_on": "fixed"},
            "susx-bench run --method tipx --setting name-only --dataset toy --encoder RN50:openai "
            "--prompts single --support sus-sd-photo --tune fixed",
        ),
        (
            {"skipped": ["test/a"], "precision": "fp16", "protocol": "custom", "draw": "file"},
            "susx-bench run --method tipx --setting few-shot --dataset toy --encoder RN50:openai "
            "--prompts single --precision fp16 --split-file SPLIT.json --on-bad-image skip "
            "--views 1 --shots-file SHOTS.json --tune val",
        ),
        (
            {"method": "; rm -rf /", "dataset": "b", "dataset_given": "./a b/b", "draw": ""},
            "susx-bench run --method '; rm -rf /' --setting few-shot --dataset './a b/b' "
            "--encoder RN50:openai --prompts single --views 1 --tune val",
        ),
    ],
)
def test_commands_say_what_the_record_says(changes: dict[str, Any], line: str) -> None:
    assert command_of(make_record(**changes)) == line


def test_verifying_writes_nothing(bundle: Bundle, command: Command, tmp_path: Path) -> None:
    path = bundle()
    measured(command, "--method", "tipx", "--features", path)
    shutil.copytree("out", "copy")

    assert command("records", "verify", "out", "--features", path).code == 0

    there = {file.relative_to("out"): file.read_bytes() for file in Path("out").rglob("*.*")}
    kept = {file.relative_to("copy"): file.read_bytes() for file in Path("copy").rglob("*.*")}
    assert there == kept
    assert not Path("results").exists()


def test_a_record_that_needs_a_file_does_not_keep_the_others_from_being_measured(
    command: Command, bundle: Bundle, tmp_path: Path
) -> None:
    """The others are measured, what is missing is listed, and a difference is still exit 3."""
    measured(command, "--method", "zero-shot,tipx", "--features", bundle())
    (demo,) = measured(command, "--method", "zero-shot", "--shots", "1", "--seed", "1")
    (tmp_path / "out" / "broken.json").write_text("{")

    done = command("records", "verify", "out")

    assert done.code == 2
    assert f"{demo}: same" in done.out
    assert done.out.count("it was measured on a feature bundle. Name it, --features.") == 2
    assert "3 of 4 records were not measured again. Name --features FILE of" in done.err
    assert "(2 records). The reasons of 1 record stand above." in done.err
    change(demo, 2)
    done = command("records", "verify", "out")
    assert done.code == 3
    assert "2 of 769 images differ" in done.err
    assert "3 of 4 records were not measured again" in done.err
