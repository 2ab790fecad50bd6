from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.stata import StatA
from susx_bench.methods.transclip import TransClip
from susx_bench.testing.task import clustered, make_context
from tests.methods.task import few_classes, without_support
from tests.methods.test_transclip import nearest_edges


def plain_loops(method: StatA, c: Context, images: Tensor) -> Tensor:
    """The updates of the paper, one image and class at a time, in double precision."""
    f, text = images.double(), c.text.double()
    n, k = len(f), len(text)
    y = torch.stack([(c.logit_scale * text @ row).softmax(0) for row in f])
    graph = nearest_edges(f, f, method.neighbours, same=True)
    anchor = torch.zeros_like(f[0])
    for i in range(n):
        for cls in range(k):
            anchor += y[i, cls] * (f[i] - text[cls]) ** 2 / n
    means, sigmas = list(text), [anchor] * k
    z = y.clone()
    for iteration in range(method.iterations + 1):
        for _ in range(5):
            score = y.log()
            for i in range(n):
                for cls in range(k):
                    score[i, cls] -= ((f[i] - means[cls]) ** 2 / sigmas[cls]).sum() / 2 / 50
            for (i, j), w in graph.items():
                score[i] += w * z[j] / (2 * method.neighbours)
                score[j] += w * z[i] / (2 * method.neighbours)
            z = score.softmax(1)
        if iteration == method.iterations:
            break
        chosen = [int(row.argmax()) for row in z]
        for cls in range(k):
            beta = chosen.count(cls) / (method.alpha + chosen.count(cls))
            mass = float(z[:, cls].sum())
            mean = torch.zeros_like(f[0])
            for i in range(n):
                mean += z[i, cls] / mass * f[i]
            mean = beta * mean / mean.norm() + (1 - beta) * text[cls]
            mean = mean / mean.norm()
            sigma = (1 - beta) * (anchor + (text[cls] - mean) ** 2)
            for i in range(n):
                sigma += beta * z[i, cls] / mass * (f[i] - mean) ** 2
            means[cls], sigmas[cls] = mean, sigma
    return score.log_softmax(1)


@pytest.mark.parametrize("method", [StatA(), StatA(alpha=7.0, neighbours=2), StatA(iterations=0)])
def test_matches_the_formula_in_plain_loops(method: StatA) -> None:
    c = make_context(classes=4, width=8)
    images = clustered(torch.arange(20) % 3, c.text, seed=7, noise=0.5)  # class 3 has none
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=0, atol=1e-4
    )


@pytest.mark.real
def test_matches_the_formula_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 8, step=3)
    method = StatA()
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=0, atol=1e-4
    )


@pytest.mark.real
def test_keeps_the_classes_of_a_poor_batch_where_transclip_does_not(real: Path) -> None:
    """What it is for: a batch of a few classes out of many."""
    c, _ = few_classes(real, 101)
    _, images = few_classes(real, 3)
    right = {}
    for method in (StatA(), TransClip()):
        method.fit(without_support(c))
        right[method.name] = float((method.logits(images).argmax(-1) < 3).double().mean())

    assert right["stata"] > right["transclip"] + 0.1
