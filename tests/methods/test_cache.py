from __future__ import annotations

import pytest
import torch

from susx_bench.methods.base import Context
from susx_bench.methods.cache import (
    NEAR,
    cache_logits,
    cache_sweep,
    class_values,
    class_weights,
    falls,
    sharpened,
)
from susx_bench.testing.task import unit


@pytest.mark.parametrize("drop", [0, 4])
@pytest.mark.parametrize("betas", [[0.1 + 0.5 * i for i in range(95)], [1.0, 2.0, 7.0, 3.0], [5.5]])
def test_a_sweep_stays_within_its_own_bound(
    context: Context, betas: list[float], drop: int
) -> None:
    rows = torch.arange(len(context.support) - drop)
    c = context.part(rows)
    values = class_values(c, balance=True)
    affinity = unit(11, 16, seed=4) @ c.support.T

    swept = list(cache_sweep(affinity, values, betas))

    assert len(swept) == len(betas)
    for beta, (logits, bound) in zip(betas, swept, strict=True):
        literal = cache_logits(affinity, values, beta)
        assert ((logits - literal).abs() <= bound[:, None]).all()
        assert (bound <= 1e-3 * literal.amax(-1)).all(), "a bound that loose decides nothing"


def test_a_class_without_images_scores_nothing(context: Context) -> None:
    c = context.part(torch.arange(3, 15))
    affinity = unit(4, 16, seed=4) @ c.support.T
    values = class_values(c, balance=True)

    (logits, _), *_ = cache_sweep(affinity, values, [2.0, 3.0])

    assert (logits[:, 0] == 0).all()
    assert class_weights(c.support_labels, 5)[0] == 0
    torch.testing.assert_close(logits, cache_logits(affinity, values, 2.0))


def test_a_sharper_cache_keeps_the_weight_of_a_near_image() -> None:
    fixed = {"alpha": 3.0, "beta": 8.0, "gamma": 2.0}
    scaled = sharpened(fixed, {"beta": 2.0})

    weights = [
        s["alpha"] * torch.exp(torch.tensor(-s["beta"] * (1 - NEAR))) for s in (fixed, scaled)
    ]
    torch.testing.assert_close(*weights)
    assert scaled["gamma"] == 2.0


@pytest.mark.parametrize(
    ("largest", "betas", "expected"),
    [(1.0, [1.0, 2.0], True), (1.0009, [1.0, 2.0], False), (0.9, [2.0, 1.0], False)],
)
def test_only_cosines_up_to_one_fall_with_a_sharper_cache(
    largest: float, betas: list[float], expected: bool
) -> None:
    assert falls(torch.tensor([[0.2, largest]]), betas) is expected
