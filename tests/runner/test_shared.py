"""The cells of a task share one Trainer and the test features; no prediction notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from susx_bench.features import predict
from susx_bench.features.launch import Launch
from tests.conftest import Bundle, Command

WRITES = """
from susx_bench import Method

class Writes(Method):
    name = "writes"
    needs = {"text"}
    def fit(self, context):
        self.context = context
    def logits(self, images):
        images *= 0
        return images @ self.context.text.T
"""
METHODS = ("gda", "tda", "tip-adapter", "transclip", "zero-shot")


def hashes(records: list[dict[str, Any]]) -> dict[str, set[str]]:
    return {
        name: {r["predictions_sha256"] for r in records if r["method"] == name} for name in METHODS
    }


def test_one_trainer_serves_all_cells(
    command: Command, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundle()
    words = ["run", "--setting", "few-shot", "--features", path, "--tune", "fixed", "--json"]
    alone = []
    for name in METHODS:
        alone += command(*words, "--method", name, "--out", tmp_path / name).records
    made: list[Launch] = []
    real = predict.trainer

    def counted(launch: Launch) -> Any:
        made.append(launch)
        return real(launch)

    monkeypatch.setattr(predict, "trainer", counted)
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\n[[run]]\nmethod = ["tda", "gda", "./writes.py:Writes", '
        '"zero-shot", "transclip", "tip-adapter"]\nsetting = "few-shot"\n'
        'features = ["toy.safetensors"]\ntune = ["fixed"]\n'
    )
    (tmp_path / "writes.py").write_text(WRITES)

    done = command("run", "--suite", "mine.toml", "--json", "--out", tmp_path / "together")

    assert done.code == 3
    assert "writes into the images" in done.err
    assert len(made) == 2, "one, and another after the method that failed"
    assert hashes(done.records) == hashes(alone)
    assert all(len(found) == 1 for found in hashes(done.records).values())
