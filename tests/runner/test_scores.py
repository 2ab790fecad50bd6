"""The numbers of a record against plain loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from susx_bench.methods.ties import top1
from susx_bench.runner.scores import BINS, TOP, confidence, score

N, K = 211, 9


@pytest.fixture
def answers() -> tuple[Tensor, Tensor]:
    """Logits and labels: class 7 has no image, and some logits tie."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 7, (N,), generator=generator)
    logits = 2 * torch.randn(N, K, generator=generator)
    logits[torch.arange(N), labels] += 1.5
    logits[::5] = logits[::5].round()
    return logits, labels


def scored(logits: Tensor, labels: Tensor, no_logits: str = "") -> dict[str, Any]:
    names = [f"class {k}" for k in range(logits.shape[1])]
    return score(top1(logits), logits, labels, names, no_logits)


def probabilities(logits: Tensor) -> list[list[float]]:
    rows = []
    for row in logits.tolist():
        highest = max(row)
        weights = [math.exp(value - highest) for value in row]
        rows.append([weight / sum(weights) for weight in weights])
    return rows


def test_macro_f1(answers: tuple[Tensor, Tensor]) -> None:
    logits, labels = answers
    told, scores = top1(logits).tolist(), []
    for k in range(K):
        pairs = [(t == k, p == k) for t, p in zip(labels.tolist(), told, strict=True)]
        hit, either = pairs.count((True, True)), len(pairs) - pairs.count((False, False))
        if either:
            precision = hit / max(told.count(k), 1)
            recall = hit / max(labels.tolist().count(k), 1)
            scores.append(2 * precision * recall / max(precision + recall, 1e-300))

    assert scored(*answers)["macro_f1"] == pytest.approx(100 * sum(scores) / len(scores), abs=1e-4)


def test_top5_and_that_the_first_of_equals_counts(answers: tuple[Tensor, Tensor]) -> None:
    logits, labels = answers
    hits = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        hits += label in sorted(range(K), key=lambda k: (-row[k], k))[:TOP]

    assert scored(logits, labels)["top5"] == 100 * hits / N


def test_nll(answers: tuple[Tensor, Tensor]) -> None:
    logits, labels = answers
    rows = probabilities(logits)
    losses = [-math.log(row[label]) for row, label in zip(rows, labels.tolist(), strict=True)]

    assert scored(logits, labels)["nll"] == pytest.approx(math.fsum(losses) / N, abs=1e-9)


def test_ece(answers: tuple[Tensor, Tensor]) -> None:
    logits, labels = answers
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for row, told, label in zip(
        probabilities(logits), top1(logits).tolist(), labels.tolist(), strict=True
    ):
        bins[min(int(row[told] * BINS), BINS - 1)].append((row[told], told == label))
    error = 0.0
    for each in filter(None, bins):
        sure = sum(p for p, _ in each) / len(each)
        right = sum(hit for _, hit in each) / len(each)
        error += len(each) / N * abs(sure - right)

    assert scored(logits, labels)["ece"] == pytest.approx(100 * error, abs=1e-4)


def test_the_confidence_is_that_of_the_answer(answers: tuple[Tensor, Tensor]) -> None:
    logits, _ = answers
    told = top1(logits)
    wanted = [row[k] for row, k in zip(probabilities(logits), told.tolist(), strict=True)]

    torch.testing.assert_close(confidence(logits, told), torch.tensor(wanted).double())


def test_blanks_say_why(answers: tuple[Tensor, Tensor]) -> None:
    logits, labels = answers
    few = scored(logits[labels < 3][:, :4], labels[labels < 3])
    sums = scored(logits, labels, "its scores are sums")
    logits = logits.clone()
    logits[4, labels[4]] = -torch.inf
    impossible = scored(logits, labels)

    assert few["blank"] == {"top5": "of 4 classes all are among the first 5"}
    assert "top5" not in few
    assert sums["blank"] == {"nll": "its scores are sums", "ece": "its scores are sums"}
    assert "nll" not in sums
    assert sums["top5"] == scored(*answers)["top5"]
    assert impossible["blank"] == {"nll": f"1 of {N} test images have probability 0"}
    assert impossible["ece"] > 0
