from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Method
from susx_bench.methods.cupl import CuPL, CuPLEnsemble
from susx_bench.methods.visdesc import VisDesc
from susx_bench.methods.waffle import Waffle
from susx_bench.testing.task import unit
from tests.methods.task import few_classes


def some_prompts(text: Tensor, each: list[int], seed: int) -> list[Tensor]:
    """Unit rows about each text, so many of them a class."""
    generator = torch.Generator().manual_seed(seed)
    width = text.shape[1]
    return [
        F.normalize(row + torch.randn(n, width, generator=generator) / width**0.5, dim=-1)
        for row, n in zip(text, each, strict=True)
    ]


def worded(context: Context, prompts: list[Tensor]) -> Context:
    text = F.normalize(torch.stack([rows.mean(0) for rows in prompts]), dim=-1)
    return dataclasses.replace(context, text=text, text_prompts=prompts)


def in_loops(images: Tensor, prompts: list[Tensor], scale: float) -> Tensor:
    """The mean cosine with a class's descriptors, one at a time, in double precision."""
    out = torch.empty(len(images), len(prompts))
    for i, image in enumerate(images.double()):
        for k, rows in enumerate(prompts):
            cosines = [float(image @ row) for row in rows.double()]
            out[i, k] = scale * sum(cosines) / len(cosines)
    return out


@pytest.mark.parametrize("kind", [VisDesc, Waffle])
def test_logits_are_the_mean_over_the_descriptors(kind: type[Method], context: Context) -> None:
    prompts = some_prompts(context.text, [1, 2, 7, 3, 4], seed=1)
    method, images = kind(), unit(20, 16, seed=9)
    method.fit(worded(context, prompts))

    expected = in_loops(images, prompts, 20.0)

    torch.testing.assert_close(method.logits(images), expected, atol=1e-4, rtol=0)


@pytest.mark.real
def test_logits_are_the_mean_over_the_descriptors_on_real_features(real: Path) -> None:
    context, images = few_classes(real, classes=10, step=20)
    prompts = some_prompts(context.text, [3, 5] * 5, seed=1)
    method = VisDesc()
    method.fit(worded(context, prompts))

    expected = in_loops(images, prompts, context.logit_scale)

    torch.testing.assert_close(method.logits(images), expected, atol=1e-4, rtol=0)


def test_descriptors_that_disagree_lower_a_class_here_and_not_in_cupl(context: Context) -> None:
    """What tells the two published means apart."""
    prompts = some_prompts(context.text, [30] * 5, seed=1)
    given, images = worded(context, prompts), unit(20, 16, seed=9)
    mean, scaled = VisDesc(), CuPL()
    mean.fit(given)
    scaled.fit(given)

    shrunk = torch.stack([rows.mean(0).norm() for rows in prompts])

    assert (shrunk < 0.9).all()
    torch.testing.assert_close(mean.logits(images), scaled.logits(images) * shrunk)


def test_each_names_the_prompts_it_brings() -> None:
    brought = {method.name: method.prompts for method in (CuPL, CuPLEnsemble, VisDesc, Waffle)}

    assert brought == {
        "cupl": "cupl", "cupl-e": "combined", "visdesc": "visdesc", "waffle": "waffle",
    }  # fmt: skip
