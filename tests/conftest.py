"""What the tests share: random tasks, bundles on disk, and the command line in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from susx_bench.cli import main
from susx_bench.methods.base import Context
from susx_bench.testing.task import clustered, make_context, unit

AS_ON_GPUS = str(Path(__file__).with_name("as_on_gpus.py"))
"""A program to start in place of ``-m susx_bench``."""

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    # Processes that share the cores: threads beyond one per core would wait for each other.
    threads = max(1, (os.cpu_count() or 1) // int(workers))
    torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", f"{threads}")  # of the processes that tests start


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Take back what libraries write into the environment: Lightning names a master there."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _no_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches and results out of the checkout and of the user's home."""
    monkeypatch.setenv("SUSX_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SUSX_BENCH_SUPPORT", str(tmp_path / "support"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def real() -> Path:
    """The folder of real input."""
    folder = os.environ.get("SUSX_BENCH_REAL")
    if not folder:
        pytest.skip("SUSX_BENCH_REAL is not set: no real input here")
    assert Path(folder).is_dir(), f"SUSX_BENCH_REAL names {folder}, which is no folder"
    return Path(folder)


@pytest.fixture
def context() -> Context:
    return make_context()


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    """The tensors of a good bundle: 5 classes, 4 shots, 30 val and 70 test images."""
    text = unit(5, 16, seed=10)
    out = {"text": text}
    for seed, (name, rows) in enumerate((("support", 20), ("val", 30), ("test", 70)), start=11):
        labels = torch.arange(rows) % 5
        out[name] = clustered(labels, text, seed, noise=0.4)
        out[f"{name}_labels"] = labels
    return out


META = {"dataset": "toy", "encoder": "made:up", "logit_scale": 50.0}
Bundle = Callable[..., Path]


@pytest.fixture
def bundle(tmp_path: Path, tensors: dict[str, Tensor]) -> Bundle:
    """Write a bundle; keyword arguments replace tensors, None drops one."""

    def write(
        name: str = "toy.safetensors", meta: dict[str, str] | None = None, **changes: Tensor | None
    ) -> Path:
        content = tensors | changes
        kept = {key: value.contiguous() for key, value in content.items() if value is not None}
        path = tmp_path / name
        save_file(kept, path, metadata={"bundle": json.dumps(META)} if meta is None else meta)
        return path

    return write


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """What ``--json`` printed."""
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Finished]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``susx-bench`` with these words, in this process."""

    def call(*words: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["susx-bench", *map(str, words)])
        capsys.readouterr()
        for stream in (sys.stdout, sys.stderr):  # as `susx_bench.process` has its own
            cast(TextIOWrapper, stream).reconfigure(errors="replace")
        code = 0
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return call
