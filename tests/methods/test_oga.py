from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.oga import OGA
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import clustered, make_context
from tests.methods.task import apart, few_classes


def plain_numpy(method: OGA, c: Context, images: Tensor) -> Tensor:
    """The public procedure, all of it anew for every image, with its pseudo-inverses."""
    text = c.text.double().numpy()
    classes, width = text.shape
    memory: list[list[tuple[float, np.ndarray]]] = [[] for _ in text]
    means, precision = text.copy(), width * np.eye(width)
    rows = []
    for f in images.double().numpy():
        clip = c.logit_scale * text @ f
        p = np.exp(clip - clip.max())
        p /= p.sum()
        unsure = -sum(float(q) * math.log(float(q)) for q in p)
        mine = memory[int(clip.argmax())]
        if len(mine) < method.capacity:
            mine.append((unsure, f))
        elif unsure < max(u for u, _ in mine):
            mine[max(range(len(mine)), key=lambda j: mine[j][0])] = (unsure, f)
        for k in range(classes):
            if len(memory[k]) >= 2:
                means[k] = sum(x for _, x in memory[k]) / method.capacity
        if max(len(kept) for kept in memory) > 2:
            centred = np.array([x - means[k] for k in range(classes) for _, x in memory[k]])
            covariance, n = np.cov(centred.T), len(centred)
            if n <= 4 * width:
                shrunk = (n - 1) * covariance + np.trace(covariance) * np.eye(width)
                precision = width * np.linalg.pinv(shrunk)
            else:
                precision = np.linalg.pinv(covariance)
        rows.append(
            [
                clip[k] - method.tau * (f - mean) @ precision @ (f - mean) / 2
                for k, mean in enumerate(means)
            ]
        )
    return torch.tensor(np.array(rows))


@pytest.mark.parametrize(
    "method", [OGA(tau=0.05), OGA(tau=0.5, capacity=3), OGA(tau=0.05, capacity=20)]
)
def test_matches_the_public_procedure(method: OGA) -> None:
    """With 20 images per class the memory outgrows 4 D, and the covariance is inverted as it is."""
    c = make_context(classes=4)
    images = clustered(torch.arange(120) % 4, c.text, seed=7, noise=0.6)
    method.fit(c)

    logits = method.logits(images)
    torch.testing.assert_close(
        apart(logits), apart(plain_numpy(method, c, images)), rtol=0, atol=1e-3
    )


@pytest.mark.real
def test_matches_the_public_procedure_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 10, step=9)
    method = OGA()
    method.fit(c)

    torch.testing.assert_close(
        apart(method.logits(images)), apart(plain_numpy(method, c, images)), rtol=0, atol=2e-3
    )


def test_without_weight_it_is_zero_shot(context: Context) -> None:
    images = clustered(torch.arange(9) % 5, context.text, seed=7)
    method, zero_shot = OGA(tau=0.0), ZeroShot()
    method.fit(context)
    zero_shot.fit(context)

    assert torch.equal(method.logits(images), zero_shot.logits(images))
