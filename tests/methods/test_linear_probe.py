from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.linear_probe import LinearProbe, train
from susx_bench.testing.task import make_context, unit
from tests.methods.task import few_classes


def by_scikit_learn(c: Context, images: Tensor, strength: float) -> Tensor:
    """Its logits, with the bias as the weight of a constant, which is penalised like the others."""
    with_one = [np.pad(rows.double().numpy(), ((0, 0), (0, 1)), constant_values=1.0)
                for rows in (c.support, images)]  # fmt: skip
    model = LogisticRegression(C=strength, fit_intercept=False, tol=1e-10, max_iter=10_000)
    model.fit(with_one[0], c.support_labels.numpy())
    return torch.from_numpy(model.decision_function(with_one[1]))


@pytest.mark.parametrize("strength", [0.01, 1.0, 31.6])
def test_matches_scikit_learn(strength: float) -> None:
    c = make_context()
    images = unit(9, 16, seed=5)
    method = LinearProbe(c=strength)
    method.fit(c)

    expected = by_scikit_learn(c, images, strength)
    torch.testing.assert_close(method.logits(images).double(), expected, rtol=0, atol=1e-3)


@pytest.mark.real
def test_matches_scikit_learn_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 20, step=10)
    method = LinearProbe()
    method.fit(c)

    expected = by_scikit_learn(c, images, method.c)
    torch.testing.assert_close(method.logits(images).double(), expected, rtol=0, atol=1e-3)


def test_the_gradient_vanishes_where_a_class_has_no_images() -> None:
    """In plain loops: the loss is convex, so this is its minimum."""
    c = make_context().part(torch.arange(3, 13))  # none of the first class, one of the last
    weights = train(c.support, c.support_labels, c.num_classes, c=2.0)

    gradient = weights / 2.0
    for x, label in zip(c.support.double(), c.support_labels.tolist(), strict=True):
        row = torch.cat([x, torch.ones(1, dtype=torch.float64)])
        scores = [math.exp(float(w @ row)) for w in weights]
        for k, score in enumerate(scores):
            gradient[k] += (score / sum(scores) - (k == label)) * row
    assert gradient.abs().max() < 1e-6
    assert weights[0].abs().max() > 0.1


def test_it_looks_at_no_text_and_is_trained() -> None:
    assert "text" not in LinearProbe.needs
    assert LinearProbe.trained


def test_it_trains_where_no_gradient_is_recorded() -> None:
    """Predictions are made in inference mode."""
    c, images = make_context(), unit(9, 16, seed=5)
    outside = LinearProbe()
    outside.fit(c)
    with torch.inference_mode():
        inside = LinearProbe()
        inside.fit(c)
        logits = inside.logits(images)

    assert torch.equal(logits, outside.logits(images))
