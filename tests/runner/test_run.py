"""Cells from the command line to records, on bundles and on the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from susx_bench.records.store import read, read_predictions
from tests.conftest import Bundle, Command

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


def test_two_processes_predict_what_one_does(bundle: Bundle, tmp_path: Path) -> None:
    """The demo's images through both Lightning modules, and a bundle, each by 1 and 2 processes."""
    for number, words in enumerate(
        (
            ["--features", str(bundle()), "--tune", "fixed"],
            ["--shots", "2", "--seed", "1", "--tune", "fixed"],
        )
    ):
        hashes = []
        for devices in ("1", "2"):
            env = os.environ | {"SUSX_BENCH_CACHE": str(tmp_path / f"cache-{number}-{devices}")}
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "susx_bench", "run", "--setting", "few-shot"),
                    *("--method", "zero-shot,tip-adapter,tipx", "--accelerator", "cpu", "--json"),
                    *("--devices", devices, "--out", str(tmp_path / f"out-{number}-{devices}")),
                    *words,
                ],
                capture_output=True,
                text=True,
                env=env,
                check=False,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
            records = [json.loads(line) for line in done.stdout.splitlines()]
            hashes.append([(r["method"], r["predictions_sha256"]) for r in records])
        assert len(hashes[0]) == 3
        assert hashes[0] == hashes[1]


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

    assert "wrote 3 records" in first.out
    assert "nothing to do" in second.out
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*")} == files
    table = [line for line in first.out.splitlines() if line.startswith(" ")]
    assert len([line for line in table if line.split()]) == 5  # heading, rule, three methods
    assert table == [line for line in second.out.splitlines() if line.startswith(" ")]


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


def test_a_killed_run_is_completed_by_the_next(bundle: Bundle, tmp_path: Path) -> None:
    words = [
        *(sys.executable, "-m", "susx_bench", "run", "--setting", "few-shot", "--tune", "val"),
        *("--method", "tipx", "--features", str(bundle()), "--shots", "1,2,3,4", "--json"),
    ]
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [*words, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(out.rglob("tipx-*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    written = {path: path.read_bytes() for path in out.rglob("tipx-*.json")}
    assert 1 <= len(written) < 12, "the kill came before the first record or after the last"

    done = subprocess.run([*words, "--out", str(out)], capture_output=True, text=True, check=True)
    whole = subprocess.run(
        [*words, "--out", str(tmp_path / "whole")], capture_output=True, text=True, check=True
    )

    for path, content in written.items():
        assert path.read_bytes() == content
    hashes = [
        [json.loads(line)["predictions_sha256"] for line in run.stdout.splitlines()]
        for run in (done, whole)
    ]
    assert len(hashes[0]) == 12
    assert hashes[0] == hashes[1]


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
    beside = command(*FEW, "--method", f"{spoiler},tipx", *words, "--out", "other").records

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
    adapter.with_suffix(".safetensors").write_bytes(
        zero_shot.with_suffix(".safetensors").read_bytes()
    )

    again = command(*words)

    assert "is the record of another cell" in again.err
    assert [r["method"] for r in again.records] == ["tip-adapter", "zero-shot"]


def test_ctrl_c_says_one_line_and_exits_130(bundle: Bundle, tmp_path: Path) -> None:
    stopper = method_file(tmp_path, logits="import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "susx_bench", "run", "--setting", "few-shot"),
            *("--method", stopper, "--features", str(bundle())),
        ],
        capture_output=True,
        text=True,
        check=False,
        # Whoever starts the tests in the background has it ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    assert done.returncode == 130
    assert done.stderr.strip() == "susx-bench: stopped; the next run continues from here."
