from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.ss_text import SSText, SSTextPlus
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import make_context, unit
from tests.methods.task import without_support


def normed(row: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def plain_loops(c: Context, images: Tensor, *, plus: bool) -> Tensor:
    total = len(c.support)
    labels = c.support_labels.tolist()
    prototypes = []
    for k, text in enumerate(c.text.double().tolist()):
        mine = [x for x, of in zip(c.support.double().tolist(), labels, strict=True) if of == k]
        row = list(text)
        for image in mine:
            for d, value in enumerate(image):
                row[d] += c.logit_scale * len(mine) / total * value
        prototypes.append(row)
    if plus:
        mean = [sum(column) / len(prototypes) for column in zip(*prototypes, strict=True)]
        prototypes = [
            [
                p - away
                for p, away in zip(
                    row, normed([2 * p - m for p, m in zip(row, mean, strict=True)]), strict=True
                )
            ]
            for row in prototypes
        ]
    prototypes = [normed(row) for row in prototypes]
    return torch.tensor(
        [
            [c.logit_scale * sum(a * b for a, b in zip(f, p, strict=True)) for p in prototypes]
            for f in images.double().tolist()
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("rows", [slice(None), slice(3, 13)], ids=["balanced", "uneven"])
def test_matches_the_formula_in_plain_loops(plus: bool, rows: slice) -> None:
    c = make_context()
    c = c.part(torch.arange(len(c.support))[rows])
    images = unit(9, 16, seed=5)
    method = SSTextPlus() if plus else SSText()
    method.fit(c)

    expected = plain_loops(c, images, plus=plus)
    torch.testing.assert_close(method.logits(images).double(), expected, rtol=0, atol=1e-4)


def test_a_class_without_images_keeps_its_text() -> None:
    c = make_context().part(torch.arange(3, 13))
    images = unit(9, 16, seed=5)
    method, zero_shot = SSText(), ZeroShot()
    method.fit(c)
    zero_shot.fit(c)

    torch.testing.assert_close(method.logits(images)[:, 0], zero_shot.logits(images)[:, 0])
    assert not torch.allclose(method.logits(images)[:, 1:], zero_shot.logits(images)[:, 1:])


def test_without_any_images_it_is_zero_shot() -> None:
    c, images = without_support(make_context()), unit(9, 16, seed=5)
    method, zero_shot = SSText(), ZeroShot()
    method.fit(c)
    zero_shot.fit(c)

    torch.testing.assert_close(method.logits(images), zero_shot.logits(images))
