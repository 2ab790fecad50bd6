from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.tda import TDA
from susx_bench.testing.task import clustered, make_context
from tests.methods.task import few_classes

Item = tuple[float, Tensor, Tensor]


def put(cache: dict[int, list[Item]], label: int, item: Item, capacity: int) -> None:
    mine = cache.setdefault(label, [])
    if len(mine) < capacity:
        mine.append(item)
    elif item[0] < mine[-1][0]:
        mine[-1] = item
    mine.sort(key=lambda item: item[0])


def plain_loops(method: TDA, c: Context, images: Tensor) -> Tensor:
    """Lists sorted by entropy, one image after the other, in double precision."""
    f, text = images.double(), c.text.double()
    k = len(text)
    positive: dict[int, list[Item]] = {}
    negative: dict[int, list[Item]] = {}
    rows = []
    for x in f:
        clip = c.logit_scale * text @ x
        p = clip.softmax(0)
        unsure = -sum(float(q) * math.log(float(q)) for q in p)
        label = int(clip.argmax())
        put(positive, label, (unsure, x, p), method.capacity)
        if method.entropy_low < unsure / math.log2(k) < method.entropy_high:
            put(negative, label, (unsure, x, p), method.negative_capacity)
        row = clip.clone()
        for of, items in positive.items():
            for _, key, _ in items:
                row[of] += method.alpha * math.exp(-method.beta * (1 - float(key @ x)))
        for items in negative.values():
            for _, key, q in items:
                weight = math.exp(-method.negative_beta * (1 - float(key @ x)))
                for of in range(k):
                    if method.mask_low < q[of] < method.mask_high:
                        row[of] -= method.negative_alpha * weight
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize(
    "method", [TDA(), TDA(capacity=1, negative_alpha=2.0, negative_capacity=3, beta=2.0)]
)
def test_matches_the_formula_in_plain_loops(method: TDA) -> None:
    c = make_context(classes=4)
    images = clustered(torch.arange(60) % 4, c.text, seed=7, noise=0.6)
    method.fit(c)

    logits = method.logits(images)
    expected = plain_loops(method, c, images)
    positive = plain_loops(dataclasses.replace(method, negative_alpha=0.0), c, images)

    assert (positive - expected).max() > 1e-2, "no image was doubtful"
    torch.testing.assert_close(logits.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.real
def test_matches_the_formula_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 30, step=3)
    method = TDA()
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=0, atol=1e-4
    )


def test_the_constants_of_a_dataset_are_the_published_ones() -> None:
    published = TDA().published("ucf101")

    assert published is not None
    assert (published["alpha"], published["beta"]) == (3.0, 8.0)
    assert published["negative_alpha"] == 0.117
    assert TDA().published("mine") is None


def test_without_weight_it_is_zero_shot(context: Context) -> None:
    method = TDA(alpha=0.0, negative_alpha=0.0)
    method.fit(dataclasses.replace(context, logit_scale=1.0))
    images = clustered(torch.arange(9) % 5, context.text, seed=7)

    torch.testing.assert_close(method.logits(images), images @ context.text.T)
