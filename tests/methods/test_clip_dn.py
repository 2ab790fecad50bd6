from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context, Labelled
from susx_bench.methods.clip_dn import ClipDN, ClipDNVal
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import unit
from tests.methods.task import few_classes


def stretched(rows: Tensor, seed: int) -> Tensor:
    """Rows of all lengths from 5 to 15."""
    generator = torch.Generator().manual_seed(seed)
    return rows * (5 + 10 * torch.rand(len(rows), 1, generator=generator))


def in_full(context: Context) -> Context:
    val = context.val
    return dataclasses.replace(
        context,
        text=stretched(context.text, 1),
        support=stretched(context.support, 2),
        val=val and Labelled(stretched(val.features, 3), val.labels),
        in_full=True,
    )


def in_loops(images: Tensor, text: Tensor, others: Tensor, scale: float, share: float) -> Tensor:
    """The published procedure, pair by pair, in double precision."""
    text, others = text.double(), others.double()
    image_mean = sum(others[i] for i in range(len(others))) / len(others)
    text_mean = sum(text[k] for k in range(len(text))) / len(text)
    out = torch.empty(len(images), len(text))
    for i, image in enumerate(images.double()):
        for k in range(len(text)):
            f, t = image - share * image_mean, text[k] - share * text_mean
            out[i, k] = scale * (f @ t) / (torch.sqrt(f @ f) * torch.sqrt(t @ t))
    return out


@pytest.mark.parametrize("kind", [ClipDN, ClipDNVal])
def test_logits_are_those_of_the_published_procedure(kind: type[ClipDN], context: Context) -> None:
    given, images = in_full(context), stretched(unit(20, 16, seed=9), 4)
    assert given.val is not None
    others = given.support if kind is ClipDN else given.val.features
    method = kind(share=0.4)
    method.fit(given)

    expected = in_loops(images, given.text, others, 20.0, 0.4)

    torch.testing.assert_close(method.logits(images), expected, atol=1e-4, rtol=0)


@pytest.mark.real
def test_logits_are_those_of_the_published_procedure_on_real_features(real: Path) -> None:
    context, images = few_classes(real, classes=15, step=20)
    given, images = in_full(context), stretched(images, 4)
    method = ClipDN()
    method.fit(given)

    expected = in_loops(images, given.text, given.support, given.logit_scale, 0.25)

    assert len(images) > 10
    torch.testing.assert_close(method.logits(images), expected, atol=1e-4, rtol=0)


def test_without_a_share_it_is_zero_shot(context: Context) -> None:
    images = unit(20, 16, seed=9)
    method, plain = ClipDN(share=0.0), ZeroShot()
    method.fit(in_full(context))
    plain.fit(context)

    torch.testing.assert_close(method.logits(stretched(images, 4)), plain.logits(images))


def test_lengths_matter(context: Context) -> None:
    """The reason why unit rows will not do."""
    images = unit(20, 16, seed=9)
    full, short = ClipDN(), ClipDN()
    full.fit(in_full(context))
    short.fit(dataclasses.replace(context, in_full=True))

    assert not torch.allclose(full.logits(stretched(images, 4)), short.logits(images), atol=0.01)
