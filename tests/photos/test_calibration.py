"""Temperatures and calibration errors against plain loops, and held-out images against leaks."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Labelled, Method
from susx_bench.methods.tag import TAG
from susx_bench.methods.tip_adapter import TipAdapter
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.photos.calibration import BINS, assess, calibrate, held_out, temperature

K, D = 5, 16


def task(counts: list[int], seed: int = 0) -> Context:
    """Clusters around noisy texts, so many images of each class."""
    generator = torch.Generator().manual_seed(seed)
    text = F.normalize(torch.randn(K, D, generator=generator), dim=-1)
    labels = torch.repeat_interleave(torch.arange(K), torch.tensor(counts))
    noise = 0.5 * torch.randn(len(labels), D, generator=generator)
    return Context(text, F.normalize(text[labels] + noise, dim=-1), labels, 20.0)


def scores(method: Method, images: Tensor) -> Tensor:
    return method.logits(images)


def loop_ece(logits: Tensor, labels: Tensor) -> float:
    """Guo et al., equation 3, one image after another."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for row, label in zip(logits.softmax(-1).tolist(), labels.tolist(), strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        bins[min(int(row[best] * BINS), BINS - 1)].append((row[best], best == label))
    total = 0.0
    for each in bins:
        if each:
            total += abs(sum(p for p, _ in each) - sum(right for _, right in each))
    return 100 * total / len(labels)


def test_the_temperature_is_the_likeliest_of_a_fine_lattice() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(200, K, generator=generator)
    labels = torch.multinomial((logits / 2.5).softmax(-1), 1, generator=generator)[:, 0]

    found = temperature(logits, labels)

    lattice = [math.exp(i / 1000) for i in range(-3000, 4000)]
    best = min(lattice, key=lambda t: float(F.cross_entropy(logits.double() / t, labels)))
    assert found == pytest.approx(best, rel=0.02)  # but for the one image more
    assert found == pytest.approx(2.5, rel=0.2)


@pytest.mark.parametrize("count", [8, 100])
def test_one_more_image_might_be_wrong_where_all_are_right(count: int) -> None:
    """Laplace's rule: M of M right says (M + 1) / (M + 2), and not certainty."""
    labels = torch.arange(count) % 2
    logits = 10.0 * F.one_hot(labels, 2)

    found = temperature(logits, labels)

    sure = float((logits / found).softmax(-1).amax(-1).mean())
    assert sure == pytest.approx((count + 1) / (count + 2), abs=1e-4)


def test_the_calibration_error_is_the_one_of_a_loop() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = 2 * torch.randn(300, K, generator=generator)
    labels = torch.randint(K, (300,), generator=generator)

    found = assess(logits, labels)

    assert found.ece == pytest.approx(loop_ece(logits, labels), abs=1e-3)
    assert found.images == 300


@pytest.mark.parametrize("method", [TAG(), TipAdapter()])
def test_held_out_images_are_not_in_the_support_they_are_scored_by(method: Method) -> None:
    """Each fold's logits are those of a method fitted here on other images alone."""
    context = task([6, 4, 9, 1, 0])
    method.fit(context)
    labelled = Labelled(context.support, context.support_labels)
    fitted: list[Tensor] = []

    def watch(made: Method, images: Tensor) -> Tensor:
        fitted.append((made._context.support[:, None] == images[None]).all(-1))  # type: ignore[attr-defined]
        return made.logits(images)

    held = held_out(method, context, method.hparams, labelled, watch)

    assert held is not None
    assert fitted
    assert not any(bool(same.any()) for same in fitted)
    assert len(held.labels) == 19  # the only image of a class stays in the support


def test_a_method_without_support_needs_no_folds() -> None:
    context = task([3, 3, 3, 3, 3])
    method = ZeroShot()
    bare = context.part(context.support_labels[:0])
    method.fit(bare)
    labelled = Labelled(context.support, context.support_labels)

    held = held_out(method, bare, {}, labelled, scores)

    assert held is not None
    torch.testing.assert_close(held.logits, method.logits(context.support))


def test_probabilities_are_better_after_the_temperature() -> None:
    context = task([40] * K)
    method = ZeroShot()
    bare = context.part(context.support_labels[:0])
    method.fit(bare)
    labelled = Labelled(context.support, context.support_labels)
    held = held_out(method, bare, {}, labelled, lambda m, x: 10 * m.logits(x))
    assert held is not None

    found, quality = calibrate(held)

    assert quality is not None
    assert found > 3
    assert quality.ece < assess(held.logits, held.labels).ece


def test_too_few_images_calibrate_nothing() -> None:
    context = task([1, 1, 1, 1, 1])
    method = TAG()
    method.fit(context)
    labelled = Labelled(context.support, context.support_labels)

    assert held_out(method, context, method.hparams, labelled, scores) is None
    assert calibrate(None) == (1.0, None)
