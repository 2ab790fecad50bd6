"""How long a large leaderboard takes, and how much memory.

    python benchmarks/speed/leaderboard.py                  # 6,840 records
    python benchmarks/speed/leaderboard.py --encoders 22    # 150,480 records, 3 GB

A record for each of 19 datasets x 24 methods x 5 shots x 3 seeds x encoders. The records
are made up; number of test images and classes are those of the 19 datasets, so files are as
large as real ones. Measured are whole commands, each in its own process: a first build, one where
nothing changed, one where 100 records were measured anew, and a check. The rival is the least that
could be done: reading the same files with `json` and nothing else. Computing includes the processes
that a command starts, and the peak is that of the largest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from susx_bench.records.files import sha256_json
from susx_bench.records.record import Record, Search, Seconds, pack

SHOTS = (1, 2, 4, 8, 16)
SEEDS = (1, 2, 3)
METHODS = 24


def write(folder: Path, encoders: int) -> None:
    """Write the suite and its records."""
    folder.mkdir(parents=True, exist_ok=True)
    from susx_bench.registry import DATASETS
    from susx_bench.registry import METHODS as REGISTRY
    from susx_bench.runner.suite import Suite

    ours = sorted(REGISTRY.names(), key=lambda name: name != "tip-adapter")[:METHODS]
    names = sorted(Suite.read(Path("name-only")).run[0].dataset or ())
    (folder / "large.toml").write_text(
        f'name = "large"\ntitle = "Large"\n[[run]]\nmethod = {json.dumps(ours)}\n'
        f"dataset = {json.dumps(names)}\n"
    )
    for d, name in enumerate(names):
        spec = DATASETS.get(name)
        images, classes = spec.sizes["test"], len(spec.classnames)
        labels = np.arange(images) % classes
        ease = np.random.default_rng(d).random(images, dtype=np.float32)
        start = example(name, spec.classnames, images)
        for e in range(encoders):
            encoder = f"RN50-{e}:openai"
            home = folder / "leaderboards" / "records" / "large" / name / encoder.replace(":", "-")
            home.mkdir(parents=True)
            for m, method in enumerate(ours):
                for s, shots in enumerate(SHOTS):
                    for seed in SEEDS:
                        noise = np.random.default_rng([d, e, m, s, seed])
                        shift = 0.2 * noise.random(images, dtype=np.float32)
                        right = ease + shift < 0.6 + 0.01 * m + 0.02 * s
                        record = measured(start, labels, right, encoder, method, shots, seed)
                        path = home / f"{method}-{record['input_sha256'][:12]}.json"
                        text = json.dumps(record, sort_keys=True, indent=2)
                        path.write_text(text + "\n")


def measured(
    start: dict[str, Any],
    labels: np.ndarray,
    right: np.ndarray,
    encoder: str,
    method: str,
    shots: int,
    seed: int,
) -> dict[str, Any]:
    """A record of a cell nobody measured, with its checksum."""
    dataset, names = start["dataset"], [name for name, *_ in start["classes"]]
    sizes = np.bincount(labels, minlength=len(names))
    hits = np.bincount(labels[right], minlength=len(names))
    accuracy = 100 * int(right.sum()) / len(right)
    inputs = sha256_json([dataset, encoder, method, shots, seed])
    wrong = [w for w in zip(names, names[1:], (sizes - hits).tolist(), strict=False) if w[2]]
    record = start | {
        "encoder": encoder,
        "method": method,
        "support_images": shots * len(names),
        "shots": shots,
        "seed": seed,
        "accuracy": accuracy,
        "mean_per_class": 100 * float((hits / sizes).mean()),
        "macro_f1": accuracy - 0.5,
        "top5": (100 + accuracy) / 2,
        "nll": 2 - accuracy / 100,
        "ece": 10 - accuracy / 20,
        "correct": int(right.sum()),
        "right": pack(right),
        "classes": list(zip(names, hits.tolist(), sizes.tolist(), strict=True)),
        "confusions": wrong[:20],
        "input_sha256": inputs,
        "support_sha256": sha256_json([dataset, shots, seed]),
        "predictions_sha256": sha256_json([inputs, "predictions"]),
    }
    del record["checksum"]
    return record | {"checksum": sha256_json(record)}


def example(dataset: str, classnames: tuple[str, ...], images: int) -> dict[str, Any]:
    """The fields that all records of a dataset share."""
    return Record(
        method="tipx",
        method_version="1",
        method_source="",
        regime="inductive",
        trained=False,
        hparams={"alpha": 1.17, "beta": 5.5},
        tuned_on="val",
        search=Search(space="tip-adapter", settings=4000, images=1000, score=61.0),
        official=False,
        chosen_here=False,
        dataset=dataset,
        dataset_given=dataset,
        encoder="RN50:openai",
        setting="few-shot",
        prompts="single",
        support="few-shot",
        support_images=0,
        shots=1,
        seed=1,
        draw="balanced",
        views=10,
        protocol="susx",
        skipped=[],
        logit_scale=100.0,
        precision="fp32",
        order=0,
        batches="",
        accuracy=0.0,
        mean_per_class=0.0,
        n_test=images,
        correct=0,
        num_classes=len(classnames),
        right="",
        classes=[(name, 0, 0) for name in classnames],
        confusions=[],
        input_sha256="",
        split_sha256=sha256_json(dataset),
        support_sha256="",
        prompts_sha256=sha256_json("prompts"),
        weights_sha256=sha256_json("weights"),
        predictions_sha256="",
        versions={"susx-bench": "0", "torch": "2.6.0"},
        git="installed",
        device="cpu x86_64",
        seconds=Seconds(encode=0.0, fit=0.01, search=1.5, predict=0.1),
        started="2026-01-01T00:00:00+00:00",
    ).as_dict()


READ = (
    "import json, pathlib\n"
    "for path in pathlib.Path('leaderboards').rglob('*.json'): json.loads(path.read_text())"
)


ANEW = "100 records anew"


def measure_anew(path: Path) -> None:
    """Write a record as if its search had taken a second longer."""
    record = json.loads(path.read_text())
    record["seconds"]["search"] += 1.0
    del record["checksum"]
    record["checksum"] = sha256_json(record)
    path.write_text(json.dumps(record, sort_keys=True, indent=2) + "\n")


def run(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Seconds, seconds of computing, and peak GiB of a Python process."""
    clock = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - clock
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="only write suite and records to this folder")
    parser.add_argument("--encoders", type=int, default=1, help="6,840 records each")
    parser.add_argument("--repeats", type=int, default=5, help="of each command, in turn")
    options = parser.parse_args()
    if options.write:
        write(options.write, options.encoders)
        return
    ours = ["-m", "susx_bench", "leaderboard"]
    commands = {
        "reading with json": ["-c", READ],
        "leaderboard build": [*ours, "build", "large.toml"],
        "nothing changed": [*ours, "build", "large.toml"],
        ANEW: [*ours, "build", "large.toml"],
        "leaderboard check": [*ours, "check", "large.toml"],
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # Elsewhere: a child's peak starts at its parent's, so this process stays small.
        made = ["--write", temporary, "--encoders", str(options.encoders)]
        subprocess.run([sys.executable, __file__, *made], check=True)
        paths = list(folder.rglob("*.json"))
        size = sum(path.stat().st_size for path in paths) / 1e6
        for _ in range(options.repeats):
            for name, command in commands.items():
                if name == ANEW:
                    for path in paths[:100]:
                        measure_anew(path)
                found[name].append(run(command, folder))
            for path in (folder / "leaderboards").glob("*"):  # nothing is there already
                if path.name != "records":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    table = Table(
        *("command", "seconds, median", "fastest", "slowest", "computing", "peak GiB"),
        title=f"{len(paths):,} records, {size:.0f} MB, {options.repeats} runs",
    )
    for name, runs in found.items():
        seconds, computing, peak = zip(*runs, strict=True)
        median = statistics.median
        shown = median(seconds), min(seconds), max(seconds), median(computing)
        table.add_row(name, *(f"{value:.1f}" for value in shown), f"{max(peak):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
