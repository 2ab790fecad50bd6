from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.transclip import TransClip, TransClipFewShot
from susx_bench.testing.task import clustered, make_context
from tests.methods.task import few_classes, without_support

Edge = tuple[int, int]


def nearest_edges(rows: Tensor, images: Tensor, n: int, *, same: bool) -> dict[Edge, float]:
    """Cosine of each row with its n nearest images."""
    found = {}
    for i, row in enumerate(rows):
        cosines = {j: float(row @ f) for j, f in enumerate(images) if not (same and i == j)}
        for j in sorted(cosines, key=lambda j: -cosines[j])[:n]:
            found[i, j] = cosines[j]
    return found


def plain_loops(method: TransClip, c: Context, images: Tensor) -> Tensor:
    """The updates of the paper, one image and class at a time, in double precision."""
    f, text, shots = images.double(), c.text.double(), c.support.double()
    n, k, m = len(f), len(text), len(shots)
    y = torch.stack([(c.logit_scale * text @ row).softmax(0) for row in f])
    own = nearest_edges(f, f, method.neighbours, same=True)
    given = nearest_edges(shots, f, method.neighbours, same=False)
    half = 2 * method.neighbours

    if m:
        means = [shots[c.support_labels == cls].mean(0) for cls in range(k)]
    else:
        means = []
        for cls in range(k):
            surest = sorted(range(n), key=lambda i: -float(y[i, cls]))[:8]
            means.append(torch.stack([y[i, cls] * f[i] for i in surest]).sum(0))
    means = [mean / mean.norm() for mean in means]
    sigma = torch.full_like(f[0], 1 / f.shape[1])
    z = y.clone()
    for iteration in range(method.iterations + 1):
        for _ in range(5):
            score = method.text_weight * y.log()
            for i in range(n):
                for cls in range(k):
                    score[i, cls] -= ((f[i] - means[cls]) ** 2 / sigma).sum() / 2 / 50
            for (i, j), w in own.items():
                score[i] += w * z[j] / half
                score[j] += w * z[i] / half
            for (s, i), w in given.items():
                score[i, c.support_labels[s]] += w / half
            z = score.softmax(1)
        if iteration == method.iterations:
            break
        weights = [[float(z[i, cls]) / n for i in range(n)] for cls in range(k)]
        for cls in range(k):
            weights[cls] += [
                50 * method.gamma / m * (int(label) == cls) for label in c.support_labels
            ]
        everything = [*f, *shots]
        for cls in range(k):
            mean = sum((w * x for w, x in zip(weights[cls], everything, strict=True)), 0 * f[0])
            means[cls] = mean / mean.norm()
        sigma, total = 0 * f[0], 0.0
        for cls in range(k):
            for w, x in zip(weights[cls], everything, strict=True):
                sigma = sigma + w * (x - means[cls]) ** 2
                total += w
        sigma = sigma / total
    return score.log_softmax(1)


@pytest.mark.parametrize(
    "method",
    [TransClip(), TransClip(iterations=0), TransClipFewShot(), TransClipFewShot(iterations=0)],
)
def test_matches_the_formula_in_plain_loops(method: TransClip) -> None:
    c = make_context(classes=3, shots=2, width=8)
    if not isinstance(method, TransClipFewShot):
        c = without_support(c)
    images = clustered(torch.arange(20) % 3, c.text, seed=7, noise=0.5)
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=0, atol=1e-4
    )


@pytest.mark.real
@pytest.mark.parametrize("method", [TransClip(), TransClipFewShot()])
def test_matches_the_formula_on_real_features(method: TransClip, real: Path) -> None:
    c, images = few_classes(real, 8, step=3)
    if not isinstance(method, TransClipFewShot):
        c = without_support(c)
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=0, atol=1e-4
    )


def test_a_heavy_support_decides_the_means() -> None:
    """Labels dealt wrongly on purpose: with enough weight the images follow them."""
    c = make_context(classes=3, shots=4)
    wrong = dataclasses.replace(c, support_labels=(c.support_labels + 1) % 3)
    labels = torch.arange(30) % 3
    images = clustered(labels, c.text, seed=7, noise=0.1)
    method = TransClipFewShot(gamma=100.0, text_weight=0.0)
    method.fit(wrong)

    assert torch.equal(method.logits(images).argmax(-1), (labels + 1) % 3)


def test_the_grid_of_the_support_is_the_published_one(context: Context) -> None:
    space = TransClipFewShot().space(context)

    assert space.setting((3,)) == {"gamma": 0.2}
    assert space.size == 4
