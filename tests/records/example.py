"""A record to change in tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from susx_bench.records.record import Record, Search, Seconds, pack


def make_record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "method": "tipx",
        "method_version": "1",
        "method_source": "",
        "regime": "inductive",
        "trained": False,
        "hparams": {"alpha": 1.0, "beta": 5.5, "gamma": 1.0},
        "tuned_on": "val",
        "search": Search(space="tipx", settings=200_000, images=30, score=70.0),
        "official": False,
        "chosen_here": False,
        "dataset": "toy",
        "dataset_given": "toy",
        "encoder": "RN50:openai",
        "setting": "few-shot",
        "prompts": "single",
        "support": "few-shot",
        "support_images": 20,
        "shots": 4,
        "seed": 1,
        "draw": "balanced",
        "views": 1,
        "protocol": "susx",
        "skipped": [],
        "logit_scale": 100.0,
        "precision": "fp32",
        "order": 0,
        "batches": "",
        "accuracy": 200 / 3,
        "mean_per_class": 50.0,
        "n_test": 3,
        "correct": 2,
        "num_classes": 5,
        "right": pack(np.array([True, True, False])),
        "classes": [("a", 2, 2), ("b", 0, 1), ("c", 0, 0), ("d", 0, 0), ("e", 0, 0)],
        "confusions": [("b", "a", 1)],
        "input_sha256": "ab" * 32,
        "split_sha256": "1" * 64,
        "support_sha256": "2" * 64,
        "prompts_sha256": "3" * 64,
        "weights_sha256": "4" * 64,
        "predictions_sha256": "5" * 64,
        "versions": {"torch": "2.6.0"},
        "git": "installed",
        "device": "cpu x86_64",
        "seconds": Seconds(encode=0.0, fit=0.1, search=2.0, predict=0.2),
        "started": "2026-01-01T00:00:00+00:00",
    }
    return Record(**(values | changes))
