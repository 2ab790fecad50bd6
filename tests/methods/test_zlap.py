from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.zlap import ZLaP
from susx_bench.testing.task import clustered, make_context
from tests.methods.task import few_classes


def plain_loops(method: ZLaP, c: Context, images: Tensor) -> Tensor:
    """The graph edge by edge and the linear system solved whole, in double precision."""
    f, text = images.double(), c.text.double()
    n, k = len(f), len(text)
    a = torch.zeros(k + n, k + n, dtype=torch.float64)
    for i in range(n):
        by_image = sorted(range(n), key=lambda j: -float(f[i] @ f[j]))[: method.neighbours]
        for j in by_image:
            a[k + i, k + j] = max(float(f[i] @ f[j]), 0.0)
        by_text = sorted(range(k), key=lambda j: -float(f[i] @ text[j]))[: method.neighbours]
        for j in by_text:
            a[k + i, j] = max(float(f[i] @ text[j]), 0.0) ** method.gamma
    s = a + a.T
    s.fill_diagonal_(0.0)
    degree = s.sum(1)
    degree[degree == 0] = 1.0
    wide = torch.diag(degree**-0.5)
    system = torch.eye(k + n, dtype=torch.float64) - method.alpha * wide @ s @ wide
    labels: Tensor = torch.linalg.solve(system, torch.eye(k + n, k, dtype=torch.float64))
    return labels[k:]


@pytest.mark.parametrize("method", [ZLaP(), ZLaP(neighbours=2, gamma=1.5, alpha=0.9)])
def test_matches_the_formula_in_plain_loops(method: ZLaP) -> None:
    c = make_context(classes=7)
    images = clustered(torch.arange(40) % 7, c.text, seed=7, noise=0.5)
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=1e-4, atol=1e-6
    )


@pytest.mark.real
def test_matches_the_formula_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 20, step=4)
    method = ZLaP()
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=1e-4, atol=1e-6
    )
