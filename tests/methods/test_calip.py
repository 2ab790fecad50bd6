from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Labelled
from susx_bench.methods.calip import CALIP, PUBLISHED
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import unit
from susx_bench.tuning.choose import choose
from susx_bench.tuning.grid import best, count_correct
from tests.methods.task import few_classes


def with_patches(images: Tensor, patches: int, seed: int) -> Tensor:
    """Images and made-up patches about them, ``(B, 1 + P, D)``."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(images), patches, images.shape[1], generator=generator)
    near = images[:, None] + 1.5 * noise / math.sqrt(images.shape[1])
    return torch.cat([images[:, None], F.normalize(near, dim=-1)], dim=1)


def in_loops(rows: Tensor, text: Tensor, scale: float, beta2: float, beta3: float) -> Tensor:
    """The published procedure, an image at a time and number by number, in double precision."""
    out = []
    for image, *patches in rows.double():
        classes, text_ = len(text), text.double()
        a = [[2 * float(patch @ t) for t in text_] for patch in patches]
        over_patches = [sum(math.exp(row[k]) for row in a) for k in range(classes)]
        told = []
        for row in a:
            whole = sum(math.exp(x) for x in row)
            told.append(sum(math.exp(x) / whole * t for x, t in zip(row, text_, strict=True)))
        pooled = torch.stack([torch.as_tensor(v) for v in told])
        blended = pooled.mean(0) + pooled.max(0).values
        logits = []
        for k in range(classes):
            seen = sum(
                math.exp(row[k]) / over_patches[k] * patch
                for row, patch in zip(a, patches, strict=True)
            )
            logits.append(
                scale * float(image @ text_[k])
                + beta2 * scale * float(image @ seen)
                + beta3 * scale * float(blended @ text_[k])
            )
        out.append(logits)
    return torch.tensor(out)


def test_logits_are_those_of_the_published_procedure(context: Context) -> None:
    method = CALIP(beta2=1.3, beta3=0.4)
    method.fit(context)
    rows = with_patches(unit(70, 16, seed=9), patches=7, seed=1)

    expected = in_loops(rows, context.text, context.logit_scale, 1.3, 0.4)

    torch.testing.assert_close(method.logits(rows), expected, atol=1e-4, rtol=0)


@pytest.mark.real
def test_logits_are_those_of_the_published_procedure_on_real_features(real: Path) -> None:
    context, images = few_classes(real, classes=12, step=40)
    rows = with_patches(images, patches=20, seed=2)
    method = CALIP(beta2=0.9, beta3=0.05)
    method.fit(context)

    expected = in_loops(rows, context.text, context.logit_scale, 0.9, 0.05)

    assert len(rows) >= 5
    torch.testing.assert_close(method.logits(rows), expected, atol=1e-4, rtol=0)


def test_without_weights_it_is_zero_shot(context: Context) -> None:
    images = unit(9, 16, seed=9)
    method, plain = CALIP(beta2=0.0, beta3=0.0), ZeroShot()
    method.fit(context)
    plain.fit(context)

    assert torch.equal(method.logits(with_patches(images, 4, seed=1)), plain.logits(images))


def test_the_grid_is_searched_exactly(context: Context) -> None:
    assert context.val is not None
    rows = with_patches(context.val.features, patches=5, seed=3)
    images = Labelled(rows, context.val.labels)
    method = CALIP()
    method.fit(context)
    space = method.space(context)
    counts = count_correct(method, images, space)

    choice = choose(method, context, "val", images)

    assert counts.min() < counts.max()
    assert choice.hparams == space.setting(best(counts))
    assert choice.score == 100 * int(counts.max()) / len(rows)
    assert choice.settings == 40_000


def test_the_grid_is_the_authors() -> None:
    beta2, beta3 = CALIP().space(Context(*(torch.eye(2),) * 2, torch.arange(2))).axes

    assert beta2.values == tuple(i * (2.0 - 0.001) / 200 + 0.001 for i in range(200))
    assert beta3.values == tuple(i * (0.1 - 0.001) / 200 + 0.001 for i in range(200))


def test_the_published_constants_are_those_of_eleven_datasets() -> None:
    assert len(PUBLISHED) == 11
    assert CALIP().published("eurosat") == {"beta2": 6.08, "beta3": 0.06}
    assert CALIP().published("cub") is None
