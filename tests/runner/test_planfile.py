"""Plans in files: any number of workers, of which some are killed, measure every cell once."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from susx_bench.records.kept import CACHE_VARIABLE
from tests.conftest import Bundle, Command

METHOD = """
import os, time
from pathlib import Path
from susx_bench import Method
class Slow(Method):
    name = "slow"
    def fit(self, context):
        self._context = context
        with Path(os.environ.get("MEASURED", os.devnull)).open("a") as file:
            file.write(f"{os.getpid()} {context.support_labels.sum()}\\n")
        time.sleep(float(os.environ.get("SLOWLY", 0)))
    def logits(self, images):
        return images @ self._context.text.T + self._context.support_labels.sum() * 0
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Ten cells on the demo, one of them blank."""
    path = tmp_path / "toy.toml"
    path.write_text(
        'name = "toy"\ntitle = "Toy"\n[[run]]\nmethod = ["zero-shot", "tip-adapter", "gda"]\n'
        'setting = "few-shot"\nshots = [1, 2, 4]\nseed = [1]\ntune = ["fixed"]\n'
    )
    return path


def content(plan: Path) -> dict[str, Any]:
    """A plan as JSON."""
    read: dict[str, Any] = json.loads(plan.read_text())
    return read


def hashes(folder: Path) -> dict[str, tuple[str, str]]:
    """Inputs and predictions of the records in a folder."""
    found = (json.loads(path.read_text()) for path in folder.rglob("*.json"))
    return {r["input_sha256"]: (r["method"], r["predictions_sha256"]) for r in found}


def test_the_stages_of_a_plan_measure_what_the_suite_does(
    suite: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    planned = command("plan", "--suite", suite, "--out", "plan.json", "--records", "planned")
    assert planned.code == 0, planned.err
    assert "7 cells, 0 with a record" in planned.out
    assert not (tmp_path / "cache" / "features").exists()  # planning encodes nothing
    plan = content(Path("plan.json"))
    assert sum(each["rows"] for p in plan["parts"] for each in p["encodings"]) > 700

    early = command("run", "--plan", "plan.json", "--only", "measure")
    assert early.code == 3
    assert "left: 7 cells, digits demo is not encoded" in early.out
    assert not Path("planned").exists()

    encoded = command("run", "--plan", "plan.json", "--only", "encode")
    assert (encoded.code, "rows encoded" in encoded.out) == (0, True)
    assert not list(Path("planned").rglob("*.json"))

    measured = command("run", "--plan", "plan.json", "--only", "measure")
    assert measured.code == 0, measured.err
    assert "wrote 6 records, 0 were there, 1 blank" in measured.out
    again = command("run", "--plan", "plan.json")
    assert "wrote 0 records, 6 were there, 1 blank" in again.out

    command("run", "--suite", suite, "--out", "whole")
    assert hashes(Path("planned")) == hashes(Path("whole"))


def test_a_plan_is_refused_where_it_does_not_fit(
    suite: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("plan", "--suite", suite, "--out", "plan.json")
    for words, said in (
        (("--devices", "2"), "--devices does not go with --plan"),
        (("--shots", "2"), "--shots does not go with --plan"),
        (("--suite", suite), "--suite does not go with --plan"),
        (("--force",), "--force does not go with --plan"),
    ):
        refused = command("run", "--plan", "plan.json", *words)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    alone = command("run", "--method", "tipx", "--only", "encode")
    assert (alone.code, "--only goes with --plan" in alone.err) == (2, True)

    for text in ("", "[]", "{}", '{"layout": 1, "suite": 3}'):
        Path("no.json").write_text(text)
        refused = command("run", "--plan", "no.json")
        assert (refused.code, "it is no plan" in refused.err) == (2, True), refused.err
    Path("new.json").write_text(json.dumps(content(Path("plan.json")) | {"layout": 9}))
    assert "has layout 9" in command("run", "--plan", "new.json").err

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    refused = command("run", "--plan", tmp_path / "plan.json")
    assert (refused.code, "Change to that folder" in refused.err) == (2, True)


def test_data_that_changed_since_the_plan_is_told(
    suite: Path, command: Command, bundle: Bundle
) -> None:
    bundle()
    suite.write_text(
        'name = "toy"\ntitle = "Toy"\n[[run]]\nmethod = ["zero-shot"]\nsetting = "few-shot"\n'
        'features = ["toy.safetensors"]\n'
    )
    assert command("plan", "--suite", suite, "--out", "plan.json").code == 0
    plan = content(Path("plan.json"))
    plan["parts"][0]["cells"][0]["input_sha256"] = "0" * 64
    Path("plan.json").write_text(json.dumps(plan))
    refused = command("run", "--plan", "plan.json")
    assert refused.code == 3
    assert "1 cell of 1 on toy.safetensors cannot be found again" in refused.err


def test_the_script_for_slurm_is_one_that_a_shell_reads(
    suite: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    printed = command("plan", "--suite", suite, "--out", "plan.json", "--slurm", "--tasks", "3").out
    assert printed.startswith("#!/bin/bash\n#SBATCH --job-name=susx-bench-toy\n")
    assert "#SBATCH --array=1-3\n" in printed
    last = printed.rstrip().splitlines()[-1]
    assert shlex.split(last) == [
        *("srun", "susx-bench", "run", "--plan", str(folder / "plan.json"), "$@"),
    ]
    Path("work.sbatch").write_text(printed)
    subprocess.run(["bash", "-n", "work.sbatch"], check=True)


def worker(folder: Path, **more: str) -> subprocess.Popen[bytes]:
    """A worker in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "susx_bench", "run", "--plan", "plan.json"],
        cwd=folder,
        env=os.environ | {"MEASURED": "measured.txt"} | more,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_three_workers_one_of_them_killed_measure_every_cell(
    suite: Path, command: Command, bundle: Bundle, tmp_path: Path
) -> None:
    bundle()
    (tmp_path / "slow.py").write_text(METHOD)
    suite.write_text(
        'name = "toy"\ntitle = "Toy"\n'
        + "".join(
            f'[[run]]\nmethod = ["./slow.py:Slow", "tip-adapter"]\nsetting = "{setting}"\n'
            f'features = ["toy.safetensors"]\ntune = ["fixed"]\nshots = {shots}\nseed = [1, 2]\n'
            for setting, shots in (("few-shot", "[1, 2]"), ("name-only", "[1]"))
        )
    )
    assert command("plan", "--suite", suite, "--out", "plan.json").code == 0
    cells = [cell for part in content(Path("plan.json"))["parts"] for cell in part["cells"]]

    victim = worker(tmp_path, SLOWLY="60")
    log = tmp_path / "measured.txt"
    while not log.exists() and victim.poll() is None:  # it holds the lock of a cell
        time.sleep(0.1)
    others = [worker(tmp_path) for _ in range(2)]
    time.sleep(1)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    for other in others:
        assert other.wait(timeout=300) == 0

    found = hashes(tmp_path / "results")
    assert found.keys() == {cell["input_sha256"] for cell in cells}
    by_worker = [line.split()[0] for line in log.read_text().splitlines()]
    slow = sum(cell["method"] == "slow" for cell in cells)
    assert len(by_worker) == slow + 1  # nothing twice but what the killed one had begun
    assert command("run", "--suite", suite, "--out", "whole").code == 0
    assert found == hashes(tmp_path / "whole")
