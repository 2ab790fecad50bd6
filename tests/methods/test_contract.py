"""What every registered method must hold to."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context, Method
from susx_bench.registry import METHODS
from tests.conftest import unit


def fitted(name: str, context: Context) -> Method:
    method = METHODS.get(name)()
    method.fit(context)
    return method


@pytest.fixture(params=METHODS.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_logits_do_not_depend_on_the_batch_size(
    name: str, batch_size: int, context: Context
) -> None:
    """Guards against statistics over the batch, and against a dropped last batch."""
    method = fitted(name, context)
    images = unit(107, 16, seed=9)

    whole = method.logits(images)
    parts = torch.cat([method.logits(part) for part in torch.split(images, batch_size)])

    assert torch.equal(parts.argmax(-1), whole.argmax(-1))
    torch.testing.assert_close(parts, whole)


def test_scores_every_class(name: str, context: Context) -> None:
    logits = fitted(name, context).logits(unit(3, 16, seed=9))

    assert logits.shape == (3, context.num_classes)
    assert logits.isfinite().all()


def test_relabelling_the_classes_relabels_the_answer(name: str, context: Context) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])  # new class k is old class order[k]
    new_of_old = order.argsort()
    relabelled = dataclasses.replace(
        context, text=context.text[order], support_labels=new_of_old[context.support_labels]
    )
    images: Tensor = unit(9, 16, seed=9)

    torch.testing.assert_close(
        fitted(name, relabelled).logits(images), fitted(name, context).logits(images)[:, order]
    )


def test_support_order_does_not_matter(name: str, context: Context) -> None:
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    shuffled = dataclasses.replace(
        context, support=context.support[order], support_labels=context.support_labels[order]
    )
    images = unit(9, 16, seed=9)

    torch.testing.assert_close(
        fitted(name, shuffled).logits(images), fitted(name, context).logits(images)
    )


def test_needs_no_gradient_and_no_global_generator(name: str, context: Context) -> None:
    state = torch.get_rng_state()
    logits = fitted(name, context).logits(unit(3, 16, seed=9))

    assert not logits.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
