"""A quick look at the first test images of each class is marked, and taken for nothing else."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from susx_bench.data.dataset import first_of_each
from susx_bench.records.command import command as command_of
from susx_bench.records.record import Record
from susx_bench.records.store import read_predictions
from tests.conftest import Bundle, Command

RUN = ("run", "--setting", "few-shot", "--method", "zero-shot")


def test_the_first_of_each_class_are_kept_in_their_order() -> None:
    labels = [2, 0, 2, 2, 1, 0, 0]

    assert first_of_each(labels, 2) == [0, 1, 2, 4, 5]
    assert first_of_each(labels, 9) == list(range(7))


def test_a_limited_run_answers_as_the_whole_one_does(bundle: Bundle, command: Command) -> None:
    path = bundle()
    (whole,) = command(*RUN, "--features", path, "--json").records
    done = command(*RUN, "--features", path, "--limit", 3)
    limited = next(p for p in Path("results").rglob("*.json") if str(p) != whole["record"])

    record = Record.read(limited)
    assert (record.limit, record.n_test, "limit" in whole) == (3, 15, False)
    assert record.input_sha256 != whole["input_sha256"]
    kept = first_of_each(load_file(path)["test_labels"].tolist(), 3)
    assert torch.equal(
        torch.from_numpy(read_predictions(limited).top1),
        torch.from_numpy(read_predictions(Path(whole["record"])).top1[kept]),
    )
    assert "only the first 3 test images per class" in done.out
    assert "--limit 3" in command_of(record)
    assert command("records", "verify", limited, "--features", path).code == 0


def test_a_limited_run_of_images_encodes_no_others(command: Command) -> None:
    (record,) = command(*RUN, "--limit", 2, "--json").records

    assert (record["n_test"], record["limit"]) == (20, 2)
    line = command_of(Record.read(Path(record["record"])))
    (again,) = command(*shlex.split(line)[1:], "--out", "again", "--json").records
    assert Path(again["record"]).name == Path(record["record"]).name


def test_limited_and_whole_numbers_share_no_table(bundle: Bundle, command: Command) -> None:
    path = bundle()
    command(*RUN, "--features", path)

    done = command(*RUN, "--features", path, "--limit", 3)

    assert done.out.count("test n = ") == 1
    assert "test n = 15" in done.out


def test_no_leaderboard_takes_a_limited_run(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    out = Path("leaderboards/records/mine")
    command(*RUN, "--features", bundle(), "--limit", 3, "--out", out)
    suite = tmp_path / "mine.toml"
    suite.write_text("name='mine'\ntitle='x'\n[[run]]\nmethod=['zero-shot']\n")

    built = command("leaderboard", "build", suite)
    merged = command("records", "merge", out, "--into", "all")
    asked = command("run", "--suite", suite, "--limit", 3)

    assert (built.code, merged.code, asked.code) == (2, 2, 2)
    for done in (built, merged):
        assert "was measured with --limit 3: a quick look" in done.err
        assert len(done.err.strip().splitlines()) == 1
    assert "--limit does not go with --suite: it is for a single run" in asked.err
    suite.write_text(suite.read_text() + "limit = 3\n")
    assert "run.0.limit: Extra inputs are not permitted" in command("run", "--suite", suite).err


@pytest.mark.parametrize("limit", [0, -1, 10**7])
def test_a_record_says_no_limit_that_the_option_refuses(
    limit: int, bundle: Bundle, command: Command
) -> None:
    (record,) = command(*RUN, "--features", bundle(), "--limit", 3, "--json").records
    path = Path(record["record"])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"limit": limit}))

    done = command("records", "verify", path)

    assert done.code == 2
    assert "is not in the range" in done.err


def test_a_bundle_without_test_labels_has_no_first_images(bundle: Bundle, command: Command) -> None:
    done = command(*RUN, "--features", bundle(test_labels=None), "--limit", 3)

    assert done.code == 2
    assert "has no test labels to count by" in done.err
