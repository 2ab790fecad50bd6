from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from susx_bench.methods.base import Context
from susx_bench.methods.cache import cache_logits, class_weights
from susx_bench.methods.tip_adapter import TipAdapter
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import make_context, unit


def plain_loops(method: TipAdapter, c: Context, images: torch.Tensor) -> torch.Tensor:
    """Equation 7 of the paper, one number at a time, in double precision."""
    out = torch.zeros(len(images), c.num_classes, dtype=torch.float64)
    for i, f in enumerate(images.double()):
        for k in range(c.num_classes):
            value = c.logit_scale * float(f @ c.text[k].double())
            for j, key in enumerate(c.support.double()):
                if int(c.support_labels[j]) == k:
                    value += method.alpha * math.exp(-method.beta * (1 - float(f @ key)))
            out[i, k] = value
    return out


def test_matches_the_formula_in_plain_loops(context: Context) -> None:
    method = TipAdapter(alpha=1.7, beta=4.2)
    method.fit(context)
    images = unit(9, 16, seed=5)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, context, images), rtol=0, atol=1e-4
    )


def test_without_weight_it_is_zero_shot(context: Context) -> None:
    images = unit(9, 16, seed=5)
    method, zero_shot = TipAdapter(alpha=0.0), ZeroShot()
    method.fit(context)
    zero_shot.fit(context)

    assert torch.equal(method.logits(images), zero_shot.logits(images))


def test_repeating_the_images_of_one_class_changes_nothing_unless_official(
    context: Context,
) -> None:
    """An unbalanced support: class 0 three times over. Its weight in the sum stays the same."""
    keep = (context.support_labels == 0).nonzero().flatten()
    rows = torch.cat([torch.arange(15), keep, keep])
    uneven = context.part(rows)
    images = unit(9, 16, seed=5)
    results = {}
    for official in (False, True):
        for name, c in (("even", context), ("uneven", uneven)):
            # weights count against the mean class size, 21 / 5 instead of 15 / 5
            method = TipAdapter(alpha=1.0 * (15 / len(c.support) if not official else 1))
            method.official = official
            method.fit(c)
            results[official, name] = method.logits(images)

    torch.testing.assert_close(results[False, "even"], results[False, "uneven"])
    assert not torch.allclose(results[True, "even"], results[True, "uneven"])


def test_weights_are_exactly_one_where_classes_are_balanced() -> None:
    labels = torch.arange(7).repeat_interleave(3)

    assert torch.equal(class_weights(labels, 7), torch.ones(7))


def test_cache_is_bounded_by_the_number_of_images() -> None:
    c = make_context()
    values = torch.nn.functional.one_hot(c.support_labels, 5).float()

    logits = cache_logits(c.support @ c.support.T, values, beta=1e-6)

    torch.testing.assert_close(logits, torch.full_like(logits, 3.0))


@pytest.mark.parametrize("beta", [0.0, -1.0])
def test_refuses_a_sharpness_that_is_not_positive(beta: float) -> None:
    with pytest.raises(ValueError, match="beta must be positive"):
        cache_logits(torch.ones(1, 1), torch.ones(1, 1), beta)


def test_grid_is_the_published_one(context: Context) -> None:
    known = TipAdapter().space(dataclasses.replace(context, dataset="dtd"))
    other = TipAdapter().space(dataclasses.replace(context, dataset="mine"))

    beta, alpha = known.axes
    assert (beta.name, alpha.name, known.size) == ("beta", "alpha", 4000)
    assert beta.values[:2] == pytest.approx((0.1, 0.1 + 12.9 / 200))
    assert alpha.values[-1] == pytest.approx(0.1 + 19 * 12.9 / 20)
    assert other.axes[0].values[1] == pytest.approx(0.1 + 6.9 / 200)
    assert "mine" in other.source
