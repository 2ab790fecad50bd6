from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.methods.ape import APE
from susx_bench.methods.base import Context, Labelled
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import clustered, make_context, unit
from susx_bench.tuning.exact import exact_search
from susx_bench.tuning.grid import best, count_correct
from tests.methods.task import few_classes


def channels(method: APE, c: Context) -> list[int]:
    """The channels chosen, by the sum over all pairs that the public code loops over."""
    width, k = c.text.shape[1], c.num_classes
    groups = [[c.text[of].double(), *c.support[c.support_labels == of].double()] for of in range(k)]
    total, pairs = torch.zeros(width, dtype=torch.float64), 0
    for i in range(k):
        for j in range(k):
            if i == j:
                continue
            for one in groups[i]:
                for other in groups[j]:
                    total += one * other
                    pairs += 1
    score = -method.similarity * total / pairs
    score += (1 - method.similarity) * c.text.double().var(dim=0)
    kept = int(method.channels * width)
    return sorted(range(width), key=lambda d: -float(score[d]))[:kept]


def plain_loops(method: APE, c: Context, images: Tensor) -> Tensor:
    """The public code one number at a time, in double precision."""
    chosen = channels(method, c)

    def refined(rows: Tensor) -> list[Tensor]:
        return [row[chosen] / row[chosen].norm() for row in rows.double()]

    text, keys, own = refined(c.text), refined(c.support), refined(images)
    weights = []
    for key, label in zip(keys, c.support_labels.tolist(), strict=True):
        exponents = [math.exp(float(key @ t)) for t in text]
        probability = exponents[label] / sum(exponents)
        divergence = math.log2((1 + 1e-6) / (probability + 1e-6))
        weights.append(math.exp(method.gamma * divergence))
    out = c.logit_scale * images.double() @ c.text.double().T
    for i, f in enumerate(own):
        for key, weight, label in zip(keys, weights, c.support_labels.tolist(), strict=True):
            out[i, label] += method.alpha * weight * math.exp(-method.beta * (1 - float(f @ key)))
    return out


@pytest.mark.parametrize(
    "method",
    [APE(), APE(alpha=1.3, beta=6.0, gamma=0.8, channels=0.7, similarity=0.2)],
    ids=["fixed", "other"],
)
def test_matches_the_formula_in_plain_loops(method: APE, context: Context) -> None:
    method.fit(context)
    images = unit(9, 16, seed=5)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, context, images), rtol=0, atol=1e-4
    )


@pytest.mark.real
def test_matches_the_formula_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 8, step=10)
    method = APE()
    method.set(method.published("ucf101") or {})
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=0, atol=1e-4
    )


def test_without_weight_it_is_zero_shot(context: Context) -> None:
    images = unit(9, 16, seed=5)
    method, zero_shot = APE(alpha=0.0), ZeroShot()
    method.fit(context)
    zero_shot.fit(context)

    assert torch.equal(method.logits(images), zero_shot.logits(images))


def test_a_channel_that_tells_nothing_is_left_out() -> None:
    """One that all images and texts share, large as it is."""
    c = make_context()

    def with_shared(rows: Tensor) -> Tensor:
        return torch.nn.functional.normalize(torch.cat([rows, torch.ones(len(rows), 1)], 1), dim=-1)

    method = APE(channels=16.5 / 17)
    method.fit(Context(with_shared(c.text), with_shared(c.support), c.support_labels))

    assert sorted(method._refined().channels.tolist()) == list(range(16))


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("shots", [3, 6])
def test_the_search_finds_what_the_loops_find(official: bool, uneven: bool, shots: int) -> None:
    """The sweep, with its sums of few shots and of many, against a setting at a time."""
    c = make_context(classes=4, shots=shots)
    if uneven:
        c = c.part(torch.tensor([0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]))
    labels = torch.arange(20) % 4
    val = Labelled(clustered(labels, c.text, seed=5, noise=1.0), labels)  # hard: ties are rare
    method = APE()
    method.official = official
    method.fit(c)
    space = method.space(c)
    space = dataclasses.replace(
        space,
        axes=tuple(dataclasses.replace(axis, values=axis.values[::7]) for axis in space.axes),
    )
    counts = count_correct(method, val, space)
    found = exact_search(method, val, space)

    assert found.index == best(counts)
    assert (found.lower <= counts).all()
    assert (counts <= found.upper).all()
    assert len(set(counts.flatten().tolist())) > 2


@pytest.mark.parametrize("shots", [3, 6])
def test_a_sweep_says_rightly_where_its_term_falls_and_rises(shots: int) -> None:
    c = make_context(classes=4, shots=shots)
    method = APE()
    method.fit(c)
    prepared = method.prepare(unit(9, 16, seed=5))
    settings = [
        {"beta": beta, "gamma": gamma}
        for beta, gamma in [(1.0, 0.1), (2.0, 0.1), (1.0, 0.4), (2.0, 0.4), (2.0, 0.8), (1.0, 0.9)]
    ]

    swept = [(t.weighted["alpha"].clone(), t) for t in method.sweep(prepared, settings)]

    assert [bool(t.falling) for _, t in swept] == [False, True, False, True, False, False]
    assert [bool(t.rising) for _, t in swept] == [False, False, False, False, True, False]
    for (before, _), (now, terms) in itertools.pairwise(swept):
        assert not terms.falling or bool((now <= before + 1e-6).all())
        assert not terms.rising or bool((now >= before - 1e-6).all())
    for setting, (now, terms) in zip(settings, swept, strict=True):
        method.set(setting)
        apart = (now - method.terms(prepared).weighted["alpha"]).abs()
        assert bool((apart <= terms.slack["alpha"][:, None]).all())


@pytest.mark.parametrize(
    ("dataset", "highest", "sizes"),
    [
        ("ucf101", (9.9505, 6.655, 1.425), (200, 20, 20)),
        ("imagenet", (6.9655, 6.655, 0.4), (200, 20, 5)),
        ("mine", (6.9655, 6.655, 0.95), (200, 20, 20)),
    ],
)
def test_the_grid_is_the_published_one(
    dataset: str, highest: tuple[float, ...], sizes: tuple[int, ...], context: Context
) -> None:
    space = APE().space(dataclasses.replace(context, dataset=dataset))

    assert [axis.name for axis in space.axes] == ["beta", "alpha", "gamma"]
    assert space.shape == sizes
    assert tuple(axis.values[-1] for axis in space.axes) == pytest.approx(highest)
    assert tuple(axis.values[0] for axis in space.axes) == (0.1, 0.1, 0)
