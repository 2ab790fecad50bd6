"""Cells from the command line to records, on bundles and on the demo."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from susx_bench.records.store import read, read_predictions, write_predictions
from susx_bench.testing.task import clustered
from tests.conftest import META, Bundle, Command

FEW = ("run", "--setting", "few-shot", "--out", "out")


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["method"], record["shots"], record["seed"]


def test_records_carry_what_the_contract_lists(bundle: Bundle, command: Command) -> None:
    done = command(*FEW, "--method", "tip-adapter", "--features", bundle(), "--json")

    (record,) = done.records
    listed = """method method_version dataset encoder setting regime prompts support shots seed
        tuned_on official hparams accuracy mean_per_class n_test seconds schema split_sha256
        support_sha256 prompts_sha256 weights_sha256 predictions_sha256 versions git device
        precision started record"""
    assert set(listed.split()) <= set(record)
    assert set(record["seconds"]) == {"encode", "fit", "search", "predict"}
    assert record["shots"] == 4
    assert Path(record["record"]).is_file()


def test_accuracy_is_that_of_the_stored_predictions(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor]
) -> None:
    (record,) = command(*FEW, "--method", "tipx", "--features", bundle(), "--json").records

    top1 = torch.from_numpy(read_predictions(Path(record["record"])).top1)
    labels = tensors["test_labels"]
    right = top1 == labels
    assert record["accuracy"] == 100 * int(right.sum()) / 70
    means = [right[labels == k].double().mean() for k in range(5)]
    assert record["mean_per_class"] == pytest.approx(100 * float(sum(means)) / 5, abs=1e-4)
    assert record["n_test"] == len(top1) == 70


def test_scrambled_test_labels_change_the_accuracy_and_nothing_else(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor]
) -> None:
    scrambled = tensors["test_labels"].roll(1)
    runs = [
        command(*FEW, "--method", "tipx,tip-adapter,zero-shot", "--features", path, "--json")
        for path in (bundle(), bundle("scrambled.safetensors", test_labels=scrambled))
    ]

    for one, two in zip(runs[0].records, runs[1].records, strict=True):
        assert one["hparams"] == two["hparams"]
        assert one["predictions_sha256"] == two["predictions_sha256"]
        assert one["accuracy"] != two["accuracy"]


NUMBERS = ("accuracy", "mean_per_class", "macro_f1", "nll", "ece", "blank")


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_changes_no_prediction(
    bundle: Bundle, command: Command, batch_size: int
) -> None:
    words = (*FEW, "--method", "tipx,tip-adapter,zero-shot", "--features", bundle(), "--json")
    whole = command(*words).records
    parts = command(*words, "--batch-size", batch_size, "--force").records

    for one, two in zip(whole, parts, strict=True):
        assert one["predictions_sha256"] == two["predictions_sha256"]
        assert one["input_sha256"] == two["input_sha256"]
        assert [one[name] for name in NUMBERS] == [two[name] for name in NUMBERS]


TWO_RUNS = """
name = "toy"
title = "Toy"
[[run]]
method = ["zero-shot", "tip-adapter", "tipx"]
shots = [2]
seed = [1]
tune = ["fixed"]
[[run]]
method = ["tip-adapter", "tipx", "transclip", "tda"]
features = ["toy.safetensors"]
batches = ["all", "16:2"]
tune = ["fixed"]
"""


def test_two_processes_answer_as_one(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """The demo's images through both Lightning modules, and a bundle under each regime."""
    hard = clustered(tensors["test_labels"], tensors["text"], seed=5, noise=0.9)
    bundle(test=hard, meta={"bundle": json.dumps(META | {"logit_scale": 5.0})})
    (tmp_path / "toy.toml").write_text(TWO_RUNS)
    words = ("run", "--suite", "toy.toml", "--accelerator", "cpu", "--batch-size", "40", "--json")

    by_one = command(*words, "--out", "one").records
    threads = str(torch.get_num_threads())  # TransCLIP's sums depend on them, in the last bits
    done = subprocess.run(
        [sys.executable, "-m", "susx_bench", *words, "--out", "two", "--devices", "2"],
        capture_output=True,
        text=True,
        env=os.environ | {"SUSX_BENCH_CACHE": "another", "OMP_NUM_THREADS": threads},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    by_two = [json.loads(line) for line in done.stdout.splitlines()]

    def answers(records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        told = ("dataset", "method", "batches", "predictions_sha256", *NUMBERS, "top5")
        return [tuple(r.get(name) for name in told) for r in records]

    assert len(by_one) == 8
    assert len({r["predictions_sha256"] for r in by_one if r["method"] == "transclip"}) == 2
    assert answers(by_one) == answers(by_two)


def test_the_official_form_is_its_own_record(bundle: Bundle, command: Command) -> None:
    words = (*FEW, "--method", "tipx", "--features", bundle(), "--json")
    (ours,) = command(*words).records
    (theirs,) = command(*words, "--official").records

    assert (ours["official"], ours["regime"]) == (False, "inductive")
    assert (theirs["official"], theirs["regime"]) == (True, "transductive")
    assert ours["record"] != theirs["record"]


def test_a_second_run_does_nothing_and_says_so(bundle: Bundle, command: Command) -> None:
    words = (*FEW, "--method", "tipx", "--features", bundle())
    first = command(*words)
    files = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*")}
    second = command(*words)

    assert re.search(r"wrote 3 records in \d+\.\d s: ", first.out)
    assert "nothing to do" in second.out
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*")} == files
    first_table, second_table = (
        [line for line in done.out.splitlines() if re.match(r"\S+  +\d", line)]
        for done in (first, second)
    )
    assert {line.split()[0] for line in first_table} == {"tipx", "tip-adapter", "zero-shot"}
    assert first_table == second_table


def test_json_prints_records_that_were_there_already(bundle: Bundle, command: Command) -> None:
    words = (*FEW, "--method", "tipx", "--features", bundle(), "--json")

    assert command(*words).out == command(*words).out != ""


@pytest.mark.parametrize("victim", ["*.json", "*.safetensors"])
def test_a_corrupted_record_is_measured_again(
    bundle: Bundle, command: Command, victim: str
) -> None:
    words = (*FEW, "--method", "zero-shot", "--features", bundle(), "--json")
    (before,) = command(*words).records
    (path,) = Path("out").rglob(victim)
    path.write_bytes(path.read_bytes()[:-40])

    again = command(*words)

    assert again.code == 0
    assert "It is measured again." in again.err
    assert again.records[0]["predictions_sha256"] == before["predictions_sha256"]
    assert read(Path(before["record"])).accuracy == before["accuracy"]


def test_shots_are_drawn_from_a_bundles_support(bundle: Bundle, command: Command) -> None:
    done = command(
        *FEW, "--method", "tip-adapter,zero-shot", "--features", bundle(), "--json",
        "--shots", "1,2", "--seed", "1,2", "--tune", "fixed",
    )  # fmt: skip

    assert [key(r) for r in done.records] == [
        *(("tip-adapter", shots, seed) for shots in (1, 2) for seed in (1, 2)),
        ("zero-shot", 0, 0),
    ]
    assert {r["support_images"] for r in done.records} == {0, 5, 10}


def test_a_killed_run_is_completed_by_the_next(bundle: Bundle, command: Command) -> None:
    words = [
        *("run", "--setting", "few-shot", "--tune", "val", "--method", "tipx"),
        *("--features", str(bundle()), "--shots", "1,2,3,4", "--json"),
    ]
    out = Path("killed")
    process = subprocess.Popen(
        [sys.executable, "-m", "susx_bench", *words, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(out.rglob("tipx-*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    written = {path: path.read_bytes() for path in out.rglob("tipx-*.json")}
    assert 1 <= len(written) < 12, "the kill came before the first record or after the last"

    done, whole = (command(*words, "--out", folder).records for folder in (out, "whole"))

    for path, content in written.items():
        assert path.read_bytes() == content
    assert len(done) == 12
    assert [r["predictions_sha256"] for r in done] == [r["predictions_sha256"] for r in whole]


def test_the_demo_runs_offline_in_both_settings(command: Command) -> None:
    few = command(
        *FEW, "--method", "tip-adapter,zero-shot", "--shots", "16", "--seed", "1", "--json"
    )
    name_only = command("run", "--setting", "name-only", "--method", "tip-adapter", "--json")

    tip, zero = few.records
    assert 50 < zero["accuracy"] < 85
    assert tip["accuracy"] > zero["accuracy"] + 3
    assert name_only.records[0]["support"] == "sus-sd-photo"
    assert name_only.records[0]["support_images"] == 160
    assert name_only.records[0]["tuned_on"] == "fixed"


def test_a_damaged_feature_cache_is_rebuilt(command: Command, tmp_path: Path) -> None:
    words = ("run", "--setting", "few-shot", "--method", "zero-shot", "--json")
    (before,) = command(*words, "--out", "a").records
    files = list((tmp_path / "cache").rglob("*.safetensors"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:-16])

    (after,) = command(*words, "--out", "b").records

    assert after["predictions_sha256"] == before["predictions_sha256"]
    assert after["seconds"]["encode"] > 0


def test_a_method_from_a_file_runs(bundle: Bundle, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from susx_bench import Method\n"
        "class Mine(Method):\n"
        "    name = 'mine'\n"
        "    def fit(self, context): self.text = context.text\n"
        "    def logits(self, images): return images @ self.text.T\n"
    )

    (record,) = command(*FEW, "--method", f"{file}:Mine", "--features", bundle(), "--json").records

    assert record["method"] == "mine"
    assert len(record["method_source"]) == 64


METHOD = """
from susx_bench import Method

class {name}(Method):
    name = '{name}'
    def fit(self, context):
        {fit}
        self._context = context
    def logits(self, images):
        {logits}
        return images @ self._context.text.T
"""


def method_file(tmp_path: Path, name: str = "mine", fit: str = "pass", logits: str = "pass") -> str:
    file = tmp_path / f"{name}.py"
    file.write_text(METHOD.format(name=name, fit=fit, logits=logits))
    return f"{file}:{name}"


def test_a_method_that_spoils_its_context_spoils_no_other(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    spoiler = method_file(tmp_path, fit="context.text.zero_(); context.support.zero_()")
    words = ("--features", bundle(), "--tune", "fixed", "--json")
    alone = command(*FEW, "--method", "tipx", *words).records
    done = command(*FEW, "--method", f"{spoiler},tipx", *words, "--out", "other")
    assert done.code == 0, done.err
    beside = done.records

    assert beside[-1]["predictions_sha256"] == alone[0]["predictions_sha256"]


def test_what_a_method_prints_stays_off_stdout(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    talker = method_file(tmp_path, logits="print('hello')")
    done = command(*FEW, "--method", talker, "--features", bundle(), "--json")

    assert len(done.records) == 1
    assert "hello" in done.err


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ("return images @ self._context.text.T * float('nan')", "NaN or infinite for 64 of 64"),
        ("return images[:, :2]", r"its logits are (64, 2), not (64, 5)"),
        ("return None", "its logits are NoneType"),
    ],
)
def test_logits_that_are_no_scores_are_refused(
    bundle: Bundle, command: Command, tmp_path: Path, logits: str, message: str
) -> None:
    broken = method_file(tmp_path, logits=logits)
    done = command(*FEW, "--method", broken, "--features", bundle())

    assert done.code == 2
    assert message in done.err
    assert "mine" in done.err
    assert not list(Path("out").rglob("mine-*"))


def test_the_record_of_another_cell_is_not_believed(bundle: Bundle, command: Command) -> None:
    words = (*FEW, "--method", "tip-adapter,zero-shot", "--features", bundle(), "--json")
    first = command(*words).records
    adapter, zero_shot = (Path(record["record"]) for record in first)
    adapter.write_bytes(zero_shot.read_bytes())
    write_predictions(adapter, read_predictions(zero_shot))

    again = command(*words)

    assert "is the record of another cell" in again.err
    assert [r["method"] for r in again.records] == ["tip-adapter", "zero-shot"]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """The signal means what it does in a terminal, whoever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_says_one_line_and_exits_130(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    stopper = method_file(tmp_path, logits="import os, signal; os.kill(os.getpid(), signal.SIGINT)")

    done = command(*FEW, "--method", stopper, "--features", bundle())

    assert done.code == 130
    assert done.err.strip() == "susx-bench: stopped; the next run continues from here."
