from __future__ import annotations

import itertools

import pytest
import torch

from susx_bench.methods.base import Axis, Context, Labelled, Method, SearchSpace
from susx_bench.methods.tip_adapter import TipAdapter
from susx_bench.methods.tipx import TipX
from susx_bench.tuning.grid import best, count_correct

ALPHA = Axis("alpha", (0.1, 2.0, 30.0), weight=True)
BETA = Axis("beta", (0.5, 4.0, 9.0, 20.0))
GAMMA = Axis("gamma", (0.1, 1.0, 7.0, 12.0, 50.0), weight=True)


@pytest.mark.parametrize(
    ("method", "axes"),
    [
        (TipX(), (ALPHA, BETA, GAMMA)),
        (TipX(), (BETA, ALPHA, GAMMA)),
        (TipAdapter(), (BETA, ALPHA)),
        (TipAdapter(), (ALPHA, BETA)),
    ],
)
def test_counts_are_those_of_plain_loops(
    method: Method, axes: tuple[Axis, ...], context: Context
) -> None:
    assert context.val is not None
    space = SearchSpace(axes, "test")
    method.fit(context)

    counts = count_correct(method, context.val, space)

    for index in itertools.product(*(range(n) for n in space.shape)):
        method.set(space.setting(index))
        right = method.logits(context.val.features).argmax(-1) == context.val.labels
        assert counts[index] == right.sum()
    assert counts.max() > counts.min(), "a grid without a choice proves nothing"


def test_the_first_setting_met_wins_a_tie() -> None:
    counts = torch.tensor([[3, 7, 7], [7, 1, 7]])

    assert best(counts) == (0, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_that_of_the_methods_own_logits(
    dtype: torch.dtype, context: Context
) -> None:
    assert context.val is not None
    c = Context(context.text.to(dtype), context.support.to(dtype), context.support_labels, 20.0)
    images = Labelled(context.val.features.to(dtype), context.val.labels)
    method = TipAdapter()
    method.fit(c)
    space = SearchSpace((BETA, Axis.even("alpha", 0.1, 50, 40, weight=True)), "test")

    counts = count_correct(method, images, space)

    for index in itertools.product(*(range(n) for n in space.shape)):
        method.set(space.setting(index))
        right = method.logits(images.features).argmax(-1) == images.labels
        assert counts[index] == right.sum()
