from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.tip_adapter import TipAdapter
from susx_bench.methods.tipx import (
    TipX,
    drop_last_part,
    kl_divergence,
    leave_one_out_psi,
    log_signatures,
)
from susx_bench.testing.task import make_context, unit


def signature(image: Tensor, text: Tensor) -> list[float]:
    scores = [math.exp(float(image.double() @ t.double()) / 0.5) for t in text]
    return [score / sum(scores) for score in scores]


def kl_loops(images: Tensor, support: Tensor, text: Tensor) -> Tensor:
    """scipy's relative entropy, pair by pair."""
    return torch.tensor(
        [
            [scipy.stats.entropy(signature(f, text), signature(g, text)) for g in support]
            for f in images
        ],
        dtype=torch.float64,
    )


def plain_loops(method: TipX, c: Context, images: Tensor) -> Tensor:
    """The whole formula with the frozen rescaling, one number at a time."""
    m = len(c.support)
    kl_support = kl_loops(c.support, c.support, c.text)
    pairs = [(i, j) for i in range(m) for j in range(m) if i != j]
    low, high = min(kl_support[p] for p in pairs), max(kl_support[p] for p in pairs)
    cosines = [float(c.support[i].double() @ c.support[j].double()) for i, j in pairs]
    kl = kl_loops(images, c.support, c.text)
    counts = torch.bincount(c.support_labels, minlength=c.num_classes)
    out = torch.zeros(len(images), c.num_classes, dtype=torch.float64)
    for i, f in enumerate(images.double()):
        for k in range(c.num_classes):
            out[i, k] = c.logit_scale * float(f @ c.text[k].double())
        for j, key in enumerate(c.support.double()):
            k = int(c.support_labels[j])
            weight = m / c.num_classes / int(counts[k])
            psi = (kl[i, j] - low) / (high - low) * (max(cosines) - min(cosines)) + min(cosines)
            out[i, k] += weight * (
                method.alpha * math.exp(-method.beta * (1 - float(f @ key))) - method.gamma * psi
            )
    return out


def test_divergence_matches_scipy(context: Context) -> None:
    images = unit(6, 16, seed=8)

    kl = kl_divergence(
        log_signatures(images, context.text), log_signatures(context.support, context.text)
    )

    torch.testing.assert_close(
        kl.double(), kl_loops(images, context.support, context.text), rtol=1e-4, atol=1e-7
    )


def test_divergence_keeps_its_digits_for_many_classes() -> None:
    """Nearly uniform signatures: entropies near 7 nats differ in the fourth digit."""
    text, images = unit(1000, 64, seed=1), unit(5, 64, seed=2)
    p, q = log_signatures(images, text), log_signatures(unit(5, 64, seed=3), text)

    kl, exact = kl_divergence(p, q), kl_divergence(p.double(), q.double())

    torch.testing.assert_close(kl.double(), exact, rtol=2e-5, atol=0)


@pytest.mark.parametrize("balanced", [True, False])
def test_matches_the_formula_in_plain_loops(context: Context, balanced: bool) -> None:
    if not balanced:
        keep = torch.tensor([0, 3, 4, 6, 7, 8, 9, 12, 13])
        context = context.part(keep)
    method = TipX(alpha=1.3, beta=6.1, gamma=2.4)
    method.fit(context)
    images = unit(9, 16, seed=5)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, context, images), rtol=0, atol=1e-4
    )


def test_without_the_divergence_it_is_tip_adapter(context: Context) -> None:
    images = unit(9, 16, seed=5)
    tipx, tip_adapter = TipX(alpha=1.5, beta=3.0, gamma=0.0), TipAdapter(alpha=1.5, beta=3.0)
    tipx.fit(context)
    tip_adapter.fit(context)

    assert torch.equal(tipx.logits(images), tip_adapter.logits(images))


def test_rescaling_in_chunks_is_the_rescaling_of_the_whole(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_q = log_signatures(context.support, context.text)
    whole = leave_one_out_psi(context.support, log_q)

    monkeypatch.setattr("susx_bench.methods.tipx._CHUNK", 4)

    chunked = leave_one_out_psi(context.support, log_q)

    assert chunked.source == pytest.approx(whole.source)
    assert chunked.target == pytest.approx(whole.target)


def test_one_support_image_gives_no_divergence_term() -> None:
    c = make_context(classes=2, shots=1)
    c = c.part(torch.arange(1))
    method = TipX()
    method.fit(c)

    assert method.logits(unit(3, 16, seed=1)).isfinite().all()


def official_loops(
    c: Context, images: Tensor, target: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """The public code: rows past the last whole hundred stay 0, ranges are global."""
    kl = kl_loops(images, c.support, c.text)
    kl[len(images) // 100 * 100 :] = 0
    scaled = (kl - kl.min()) / (kl.max() - kl.min())
    scaled = scaled * (target.max() - target.min()) + target.min()
    one_hot = torch.nn.functional.one_hot(c.support_labels, c.num_classes).double()
    cache = torch.exp(-(beta - beta * images.double() @ c.support.double().T)) @ one_hot
    return cache, -scaled @ one_hot


def test_official_form_reproduces_the_public_code(context: Context) -> None:
    images = unit(230, 16, seed=5)
    assert context.val is not None
    method = TipX(alpha=1.3, beta=6.1, gamma=2.4)
    method.official = True
    method.fit(context)

    val_cosines = context.val.features.double() @ context.support.double().T
    cache, kl_term = official_loops(context, images, val_cosines, beta=6.1)
    clip = 20 * images.double() @ context.text.double().T

    assert method.regime == "transductive"
    torch.testing.assert_close(
        method.logits(images).double(), clip + 1.3 * cache + 2.4 * kl_term, rtol=0, atol=1e-4
    )


def test_official_form_drops_the_last_part_of_a_hundred() -> None:
    kl = drop_last_part(torch.ones(250, 3))

    assert kl[:200].all()
    assert not kl[200:].any()


def test_grid_is_the_published_one(context: Context) -> None:
    space = TipX().space(context)

    assert [axis.name for axis in space.axes] == ["alpha", "beta", "gamma"]
    assert space.shape == (20, 200, 50)
    assert space.axes[0].values[18] == pytest.approx(45.01)
    assert space.axes[1].values[90] == pytest.approx(23.05)
    assert space.axes[2].values[7] == pytest.approx(4.286)
