from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.dmn import DMN, DMNFewShot
from susx_bench.testing.task import clustered, make_context
from tests.methods.task import few_classes, without_support


def plain_loops(method: DMN, c: Context, images: Tensor) -> Tensor:
    """Lists of vectors, one image after the other, in double precision."""
    f, text, shots = images.double(), c.text.double(), c.support.double()
    k = len(text)
    static = [
        [text[of], *(x for x, label in zip(shots, c.support_labels, strict=True) if label == of)]
        for of in range(k)
    ]
    kept: list[list[tuple[float, Tensor]]] = [[] for _ in range(k)]

    def read(memory: list[list[Tensor]], x: Tensor) -> Tensor:
        scores = []
        for vectors in memory:
            v = torch.zeros_like(x)
            for vector in vectors:
                v += math.exp(-method.beta * (1 - float(x @ vector))) * vector
            scores.append(c.logit_scale * float(x @ v / v.norm()))
        return torch.tensor(scores, dtype=torch.float64).softmax(0)

    rows = []
    for x in f:
        p = (c.logit_scale * text @ x).softmax(0)
        mine = kept[int(p.argmax())]
        mine.append((-sum(float(q) * math.log(float(q)) for q in p), x))
        mine.sort(key=lambda item: item[0])
        del mine[method.capacity :]
        dynamic = [a + [vector for _, vector in b] for a, b in zip(static, kept, strict=True)]
        row = p + method.dynamic_weight * read(dynamic, x)
        if len(shots):
            row += method.static_weight * read(static, x)
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize(
    "method",
    [
        DMN(),
        DMN(beta=2.0, capacity=3, dynamic_weight=0.3),
        DMNFewShot(),
        DMNFewShot(capacity=3, static_weight=0.3),
    ],
)
@pytest.mark.parametrize("uneven", [False, True])
def test_matches_the_formula_in_plain_loops(method: DMN, uneven: bool) -> None:
    c = make_context(classes=4)
    if uneven:
        rows = torch.tensor([7, 0, 5, 3, 8, 1])  # classes 2 0 1 1 2 0, and 3 has none
        c = c.part(rows)
    if not isinstance(method, DMNFewShot):
        c = without_support(c)
    images = clustered(torch.arange(60) % 4, c.text, seed=7, noise=0.6)
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=0, atol=1e-4
    )


@pytest.mark.real
@pytest.mark.parametrize("method", [DMN(capacity=10), DMNFewShot(capacity=10)])
def test_matches_the_formula_on_real_features(method: DMN, real: Path) -> None:
    c, images = few_classes(real, 10, step=3)
    if not isinstance(method, DMNFewShot):
        c = without_support(c)
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=0, atol=1e-4
    )


def test_without_weights_it_is_zero_shot(context: Context) -> None:
    method = DMNFewShot(dynamic_weight=0.0, static_weight=0.0)
    method.fit(context)
    images = clustered(torch.arange(9) % 5, context.text, seed=7)

    torch.testing.assert_close(
        method.logits(images), (context.logit_scale * images @ context.text.T).softmax(-1)
    )
