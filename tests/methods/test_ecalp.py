from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.ecalp import ECALP, ECALPFewShot
from susx_bench.testing.task import clustered, make_context
from tests.methods.task import few_classes, without_support


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def plain_loops(method: ECALP, c: Context, images: Tensor) -> Tensor:
    """The graph edge by edge, then one label at a time, in double precision."""
    f, text, shots = images.double(), c.text.double(), c.support.double()
    n, k, m = len(f), len(text), len(shots)
    by_text = text.var(dim=0)
    by_shots = 1 / shots.var(dim=0) if m else torch.ones(0)
    size = k + m + n
    a = torch.zeros(size, size, dtype=torch.float64)
    for i in range(n):
        to_text = {j: cosine(f[i], text[j]) for j in range(k)}
        to_shots = {k + j: cosine(f[i] * by_shots, shots[j]) for j in range(m)}
        to_images = {k + m + j: cosine(f[i] * by_text, f[j]) for j in range(n)}
        for edges, most in (
            (to_text, method.text_neighbours),
            (to_shots, method.support_neighbours),
            (to_images, method.image_neighbours),
        ):
            for j in sorted(edges, key=lambda j, edges=edges: -edges[j])[:most]:  # type: ignore[misc]
                a[k + m + i, j] = max(edges[j], 0.0) ** method.gamma
    s = a + a.T
    degree = s.sum(1)
    y = torch.zeros(size, k, dtype=torch.float64)
    for j in range(k):
        y[j, j] = 1
    for j, label in enumerate(c.support_labels):
        y[k + j, label] = 1
    for _ in range(method.iterations):
        after = y.clone()
        for i in range(k + m, size):
            after[i] = 0
            for j in s[i].nonzero().flatten().tolist():
                after[i] += method.alpha * s[i, j] / (degree[i] * degree[j]).sqrt() * y[j]
        y = after
    return 1e4 * y[k + m :]


@pytest.mark.parametrize(
    "method",
    [
        ECALP(),
        ECALP(text_neighbours=2, image_neighbours=4, gamma=3.0, alpha=0.7, iterations=5),
        ECALPFewShot(),
        ECALPFewShot(support_neighbours=2, gamma=3.0),
    ],
)
def test_matches_the_formula_in_plain_loops(method: ECALP) -> None:
    c = make_context(classes=7)
    if not isinstance(method, ECALPFewShot):
        c = without_support(c)
    images = clustered(torch.arange(40) % 7, c.text, seed=7, noise=0.5)
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=1e-4, atol=1e-3
    )


@pytest.mark.real
@pytest.mark.parametrize("method", [ECALP(), ECALPFewShot()])
def test_matches_the_formula_on_real_features(method: ECALP, real: Path) -> None:
    c, images = few_classes(real, 10, step=3)
    if not isinstance(method, ECALPFewShot):
        c = without_support(c)
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=1e-4, atol=1e-3
    )


def test_survives_a_support_of_one_image() -> None:
    c = make_context(classes=3)
    c = c.part(torch.arange(1))
    method = ECALPFewShot()
    method.fit(c)

    assert method.logits(clustered(torch.arange(9) % 3, c.text, seed=7)).isfinite().all()
