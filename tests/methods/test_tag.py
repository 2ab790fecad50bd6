from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.optimize import minimize_scalar
from torch import Tensor

from susx_bench.methods.base import Context, UnfitError
from susx_bench.methods.tag import ALPHA, TAG, deal_alike, held_out
from susx_bench.testing.task import clustered, make_context, unit
from susx_bench.tuning.choose import choose
from tests.methods.task import apart, few_classes

BUNDLES = (
    "ucf101_vit-b-16",
    "caltech101-named_vit-b-32_16shot",
    "caltech101-named_vit-b-32_4shot",
    "caltech101-named_vit-b-32_1shot",
)


def plain(method: TAG, c: Context, images: Tensor) -> NDArray[np.float64]:
    """The formula of the docstring, term by term, in double precision."""
    text, support = c.text.double().numpy(), c.support.double().numpy()
    labels, kappa = c.support_labels.tolist(), method.kappa
    classes, width, total = len(text), text.shape[1], len(labels)
    n = [labels.count(k) for k in range(classes)]
    mean = [
        sum(f for f, y in zip(support, labels, strict=True) if y == k) / max(n[k], 1)
        for k in range(classes)
    ]
    w = [kappa * n[k] / (kappa + n[k]) for k in range(classes)]
    x = sum(w[k] * mean[k] for k in range(classes)) / sum(w)
    t = sum(w[k] * text[k] for k in range(classes)) / sum(w)
    rho = sum(w[k] * (mean[k] - x) @ (text[k] - t) for k in range(classes))
    rho = max(rho / sum(w[k] * (text[k] - t) @ (text[k] - t) for k in range(classes)), 0)
    m = [x + rho * (text[k] - t) for k in range(classes)]
    mu = [(n[k] * mean[k] + kappa * m[k]) / (n[k] + kappa) for k in range(classes)]
    s = np.zeros((width, width))
    for f, y in zip(support, labels, strict=True):
        s += np.outer(f - mean[y], f - mean[y]) / total
    for k in range(classes):
        s += w[k] * np.outer(mean[k] - m[k], mean[k] - m[k]) / total
    share = method.freedom * width / (method.freedom * width + total)
    sigma = (1 - share) * s + share * np.trace(s) / width * np.eye(width)
    inverse = np.linalg.inv(sigma)
    out = np.zeros((len(images), classes))
    for i, f in enumerate(images.double().numpy()):
        for k in range(classes):
            gaussian = f @ inverse @ mu[k] - mu[k] @ inverse @ mu[k] / 2
            out[i, k] = c.logit_scale * f @ text[k] + method.alpha * gaussian
    return out


def fitted(c: Context, **hparams: float) -> TAG:
    method = TAG(**hparams)
    method.fit(c)
    return method


@pytest.mark.parametrize(
    ("shots", "hparams"),
    [(3, {}), (1, {}), (4, {"kappa": 1.0, "freedom": 0.25, "alpha": 3.0}), (2, {"kappa": 64.0})],
)
def test_matches_the_formula(shots: int, hparams: dict[str, float]) -> None:
    c, images = make_context(shots=shots), unit(9, 16, seed=5)
    method = fitted(c, **hparams)

    expected = apart(plain(method, c, images))
    torch.testing.assert_close(apart(method.logits(images)), expected, rtol=1e-5, atol=1e-4)


def test_unequal_classes_and_one_without_an_image_match_the_formula() -> None:
    c = make_context(shots=4).part(torch.tensor([0, 1, 2, 3, 4, 8, 9, 12, 13, 14]))
    assert torch.bincount(c.support_labels, minlength=5).tolist() == [4, 1, 2, 3, 0]
    method, images = fitted(c), unit(9, 16, seed=5)

    expected = apart(plain(method, c, images))
    torch.testing.assert_close(apart(method.logits(images)), expected, rtol=1e-5, atol=1e-4)


def test_text_that_points_away_from_the_images_is_not_turned_round() -> None:
    c = make_context()
    c = dataclasses.replace(c, text=-c.text)
    method, images = fitted(c), unit(9, 16, seed=5)

    expected = apart(plain(method, c, images))  # with rho = 0
    torch.testing.assert_close(apart(method.logits(images)), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.real
def test_matches_the_formula_on_real_features(real: Path) -> None:
    c, images = few_classes(real, classes=6, step=20)
    method = fitted(c)

    expected = apart(plain(method, c, images))
    assert (apart(method.logits(images)) - expected).abs().max() < 1e-4


def test_alpha_zero_is_zero_shot() -> None:
    c, images = make_context(), unit(9, 16, seed=5)

    torch.testing.assert_close(fitted(c, alpha=0.0).logits(images), 20 * images @ c.text.T)


def likelihood(c: Context, fold: Tensor, setting: dict[str, float]) -> float:
    """Of the held-out labels, refitting by hand and with a scalar optimiser for the temperature."""
    logits = torch.zeros(len(fold), c.num_classes).double()
    for number in range(4):
        out = fold == number
        logits[out] = torch.as_tensor(plain(TAG(**setting), c.part(~out), c.support[out]))

    def badness(log_factor: float) -> float:
        log_p = torch.log_softmax(math.exp(log_factor) * logits, dim=-1)
        return -float(log_p.gather(1, c.support_labels[:, None]).sum())

    return -float(minimize_scalar(badness, bounds=(-9, 9), method="bounded").fun)


def doubtful() -> Context:
    """A task of which the text knows part, and the images the rest."""
    c = make_context(shots=16, classes=8, width=32)
    images = clustered(c.support_labels, c.text + unit(8, 32, seed=5), seed=6, noise=0.375)
    return dataclasses.replace(c, support=images, logit_scale=30.0)


def test_alpha_is_the_likeliest_of_the_held_out_labels() -> None:
    c = doubtful()
    fold = deal_alike(c.support, c.support_labels, 4)
    steps = range(-6, 9)
    scores = []
    for step in steps:
        setting = {"kappa": 8.0, "freedom": 1.0, "alpha": ALPHA * math.sqrt(2) ** step}
        scores.append(likelihood(c, fold, setting) - step**2 / 2)
    best = steps[int(np.argmax(scores))]
    assert sorted(scores)[-1] - sorted(scores)[-2] > 1e-3  # no tie to break
    assert best != 0

    assert fitted(c).fixed(c)["alpha"] == pytest.approx(ALPHA * math.sqrt(2) ** best)


def test_support_stops_where_no_step_is_likelier() -> None:
    c = doubtful()
    fold = deal_alike(c.support, c.support_labels, 4)
    centre = {"kappa": 8.0, "freedom": 1.0, "alpha": ALPHA}

    def score(setting: dict[str, float]) -> float:
        octaves = [math.log2(setting[name] / centre[name]) for name in centre]
        return likelihood(c, fold, setting) - 2 * sum(octave**2 for octave in octaves)

    found = fitted(c).from_support(c)

    assert score(found) > score(centre) + 0.5
    for name in centre:
        for step in (math.sqrt(2), math.sqrt(0.5)):
            assert score(found | {name: found[name] * step}) < score(found) + 1e-6


def test_images_that_are_alike_are_held_out_together() -> None:
    """Four scenes a class with four frames each: a fold is a scene."""
    scenes = unit(12, 32, seed=2).repeat_interleave(4, 0)
    images = torch.nn.functional.normalize(scenes + 0.05 * unit(48, 32, seed=3), dim=-1)
    labels = torch.arange(3).repeat_interleave(16)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(1))

    fold = torch.empty_like(labels)
    fold[order] = deal_alike(images[order], labels[order], 4)

    of_scene = fold.view(3, 4, 4)
    assert (of_scene == of_scene[:, :, :1]).all()
    assert torch.equal(of_scene[:, :, 0].sort(1).values, torch.arange(4).expand(3, 4))


def test_folds_are_even() -> None:
    labels = torch.tensor([0] * 7 + [1] * 4 + [2] * 5)

    fold = deal_alike(unit(16, 8, seed=0), labels, 4)

    sizes = [sorted(torch.bincount(fold[labels == k], minlength=4).tolist()) for k in range(3)]
    assert sizes == [[1, 2, 2, 2], [1, 1, 1, 1], [1, 1, 1, 2]]


def test_alpha_grows_where_the_text_knows_nothing() -> None:
    c = make_context(shots=8, classes=8, width=32)
    images = clustered(c.support_labels, c.text, seed=1, noise=0.15)
    lost = dataclasses.replace(c, support=images, text=unit(8, 32, seed=9), logit_scale=30.0)

    assert fitted(lost).fixed(lost)["alpha"] > 4 * ALPHA


def test_one_shot_has_nothing_to_hold_out() -> None:
    c = make_context(shots=1)
    values = TAG().hparams

    assert fitted(c).fixed(c) == values == {"kappa": 8.0, "freedom": 1.0, "alpha": ALPHA}
    assert held_out(c, values, tuple(values)) == values


def test_the_choice_does_not_depend_on_the_order_of_the_support() -> None:
    c = make_context(shots=6)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))

    assert fitted(c).fixed(c) == fitted(c).fixed(c.part(order))
    assert fitted(c).from_support(c) == fitted(c).from_support(c.part(order))


def test_a_support_that_says_nothing_is_an_error() -> None:
    c = make_context(classes=2, shots=2)
    same = dataclasses.replace(
        c, support=c.support[:1].expand(4, -1), text=c.text[:1].expand(2, -1)
    )

    with pytest.raises(UnfitError, match="Give more shots or more classes"):
        fitted(same)


@pytest.mark.real
def test_fixed_is_above_what_others_reach_on_val(real: Path) -> None:
    """Nothing tuned; the best of the others tuned on val is GDA with 83.40 / 96.05 / 96.33."""
    found = [accuracy(*bundle(real, name)) for name in BUNDLES]

    for reached, wanted in zip(found, (83.5, 96.6, 96.7, 95.7), strict=True):
        assert reached >= wanted


@pytest.mark.real
def test_support_on_real_features(real: Path) -> None:
    """What it chooses is not worse than `fixed`, and above all others tuned on val."""
    for name, wanted in zip(BUNDLES[:3], (84.8, 96.7, 97.0), strict=True):
        c, images, labels = bundle(real, name)
        method = fitted(c)
        choice = choose(method, c, "support")
        assert choice.images == len(c.support)
        right = method.logits(images).argmax(-1) == labels
        assert 100 * float(right.double().mean()) >= wanted


@pytest.mark.real
@pytest.mark.parametrize("shots", [1, 2, 4])
@pytest.mark.parametrize("name", BUNDLES)
def test_never_below_zero_shot_on_a_draw(real: Path, name: str, shots: int) -> None:
    """By more than 0.3 points, whatever the draw."""
    c, images, labels = bundle(real, name)
    if shots > c.shots:
        pytest.skip(f"{name} has {c.shots:g} shots")
    zero_shot = 100 * float(((images @ c.text.T).argmax(-1) == labels).double().mean())
    order = torch.randperm(len(c.support), generator=torch.Generator().manual_seed(shots))
    order = order[c.support_labels[order].argsort(stable=True)]
    drawn = order.view(c.num_classes, -1)[:, :shots].flatten()

    assert accuracy(c.part(drawn), images, labels) > zero_shot - 0.3


def bundle(real: Path, name: str) -> tuple[Context, Tensor, Tensor]:
    t = load_file(real / "features" / f"{name}.safetensors")
    return Context(t["text"], t["support"], t["support_labels"]), t["test"], t["test_labels"]


def accuracy(c: Context, images: Tensor, labels: Tensor) -> float:
    method = fitted(c)
    method.set(method.fixed(c))
    return 100 * float((method.logits(images).argmax(-1) == labels).double().mean())
