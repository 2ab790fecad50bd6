from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from susx_bench.methods.base import Context, UnfitError
from susx_bench.methods.regression import by_class
from susx_bench.methods.tag import ALPHA, KAPPA, TAG, deal, rest
from susx_bench.testing.task import clustered, make_context, unit
from tests.methods.task import apart, few_classes

BEST_ON_VAL = {
    "ucf101_vit-b-16": 84.48,
    "caltech101-named_vit-b-32_16shot": 96.69,
    "caltech101-named_vit-b-32_4shot": 96.98,
    "caltech101-named_vit-b-32_1shot": 95.04,
    "stanfordcars_vit-b-32_16shot": 79.47,
    "stanfordcars_vit-b-32_4shot": 69.25,
    "whurs19_rn50": 96.90,
    "whurs19-1prompt_vit-b-32": 98.36,
    "imagenet_vit-b-32_2shot": 64.65,
    "dtd-keys_vit-b-16": 65.16,
}
"""The best of the other methods tuned on val, ProKeR with a grid among them, see docs/tag.md."""


def gaussians(kappa: float, freedom: float, c: Context, images: Tensor) -> NDArray[np.float64]:
    """The Gaussians of the docstring, term by term, in double precision."""
    text, support = c.text.double().numpy(), c.support.double().numpy()
    labels = c.support_labels.tolist()
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
    rho = max(rho / max(sum(w[k] * (text[k] - t) @ (text[k] - t) for k in range(classes)), 1e-9), 0)
    m = [x + rho * (text[k] - t) for k in range(classes)]
    both = np.zeros((width, width))
    for f, y in zip(support, labels, strict=True):
        both += np.outer(f - mean[y], f - mean[y])
    for k in range(classes):
        both += w[k] * np.outer(mean[k] - m[k], mean[k] - m[k])
    prior = freedom * width
    sigma = (both + freedom * np.trace(both) / total * np.eye(width)) / (total + prior)

    root = np.linalg.cholesky(sigma)
    white = [np.linalg.solve(root, mean[k] - m[k]) for k in range(classes)]
    seen = sum(count > 0 for count in n)
    square, axes = np.linalg.eigh(
        sum(w[k] / seen * np.outer(white[k], white[k]) for k in range(classes))
    )
    square = square.clip(1e-12)
    telling = seen * (total - seen) / total
    apart = np.ones(width)
    if telling:
        apart = (telling * square + prior) / (telling + prior)
    mu = []
    for k in range(classes):
        of_text = np.minimum(1, kappa / (kappa + n[k]) / apart)
        kept = axes @ np.diag(1 - of_text) @ axes.T @ white[k]
        mu.append(m[k] + root @ kept if n[k] else m[k])
    each = total / classes
    known = 1 - np.minimum(1, kappa / (kappa + each) / apart)
    spread = root @ axes @ np.diag(1 + known / each) @ axes.T @ root.T
    inverse = np.linalg.inv(spread)
    out = np.zeros((len(images), classes))
    for i, f in enumerate(images.double().numpy()):
        for k in range(classes):
            out[i, k] = (f - mu[k] / 2) @ inverse @ mu[k]
    return out


def regression(c: Context, images: Tensor, kept: Tensor | None = None) -> NDArray[np.float64]:
    """Kernel ridge regression of the labels; the weights are those of the whole support."""
    rows = range(len(c.support)) if kept is None else kept.nonzero().flatten().tolist()
    f, labels = c.support.double().numpy(), c.support_labels.tolist()
    weight = np.array([1 / labels.count(y) for y in labels])
    weight /= weight.mean()
    gram = np.array([[math.exp(-2 * (1 - f[i] @ f[j])) for j in rows] for i in rows])
    gram += 0.05 * np.diag(1 / weight[list(rows)])
    y = np.array([[float(labels[i] == k) for k in range(c.num_classes)] for i in rows])
    solved = np.linalg.solve(gram, y - 1 / c.num_classes)
    g = images.double().numpy()
    out = np.array([[math.exp(-2 * (1 - x @ f[j])) for j in rows] for x in g])
    logits: NDArray[np.float64] = out @ solved
    return logits


def plain(method: TAG, c: Context, images: Tensor) -> NDArray[np.float64]:
    """All of the docstring's logits."""
    clip: NDArray[np.float64] = c.logit_scale * images.double().numpy() @ c.text.double().numpy().T
    normal = gaussians(method.kappa, method.freedom, c, images)
    return clip + method.alpha * normal + method.gamma * regression(c, images)


def fitted(c: Context, **hparams: float) -> TAG:
    method = TAG(**hparams)
    method.fit(c)
    return method


def agrees(c: Context, **hparams: float) -> None:
    method, images = fitted(c, **hparams), unit(9, c.text.shape[1], seed=5)

    expected = apart(plain(method, c, images))
    torch.testing.assert_close(apart(method.logits(images)), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("shots", "hparams"),
    [
        (3, {}),
        (1, {}),
        (4, {"kappa": 1.0, "freedom": 0.25, "alpha": 3.0, "gamma": 5.0}),
        (2, {"kappa": 64.0}),
        (6, {"freedom": 0.0, "gamma": 1.0}),
    ],
)
def test_matches_the_formula(shots: int, hparams: dict[str, float]) -> None:
    agrees(make_context(shots=shots), **hparams)


def test_more_classes_than_channels_match_the_formula() -> None:
    agrees(make_context(classes=12, shots=2, width=8), gamma=2.0)


def test_unequal_classes_and_one_without_an_image_match_the_formula() -> None:
    c = make_context(shots=4).part(torch.tensor([0, 1, 2, 3, 4, 8, 9, 12, 13, 14]))
    assert torch.bincount(c.support_labels, minlength=5).tolist() == [4, 1, 2, 3, 0]

    agrees(c, gamma=3.0)


def test_fewer_images_than_classes_match_the_formula() -> None:
    agrees(make_context(shots=1).part(torch.tensor([1, 3])), gamma=3.0)


def test_a_support_of_one_class_matches_the_formula() -> None:
    agrees(make_context(shots=4).part(torch.arange(8, 12)), gamma=3.0)


def test_text_that_points_away_from_the_images_is_not_turned_round() -> None:
    c = make_context()
    agrees(dataclasses.replace(c, text=-c.text))  # with rho = 0


@pytest.mark.real
def test_matches_the_formula_on_real_features(real: Path) -> None:
    c, images = few_classes(real, classes=6, step=20)
    method = fitted(c, gamma=10.0)

    expected = apart(plain(method, c, images))
    assert (apart(method.logits(images)) - expected).abs().max() < 2e-4


def test_without_weights_it_is_zero_shot() -> None:
    c, images = make_context(), unit(9, 16, seed=5)

    logits = fitted(c, alpha=0.0, gamma=0.0).logits(images)

    torch.testing.assert_close(logits, 20 * images @ c.text.T)


def through_four(values: NDArray[np.float64], nodes: list[int], at: float) -> NDArray[np.float64]:
    """The cubic through the four nearest rows, or the parabola through all three, at a place."""
    near = min(4, len(nodes))
    below = sum(node <= at for node in nodes[1:])
    first = min(max(below - 1, 0), len(nodes) - near)
    chosen = slice(first, first + near)
    cubics = np.polyfit(nodes[chosen], values[chosen].reshape(near, -1), near - 1)
    return np.asarray(np.polyval(cubics, at)).reshape(values.shape[1:])


def top(fit: Callable[[float], float]) -> float:
    """The largest value over half octaves of temperature, between them that of a parabola."""
    scores = [fit(2.0 ** (half / 2)) for half in range(-12, 9)]
    best = int(np.argmax(scores))
    if best in (0, len(scores) - 1):
        return scores[best]
    a, b, c = np.polyfit([-1, 0, 1], scores[best - 1 : best + 2], 2)
    return float(c - b * b / (4 * a))


def average(c: Context, start: float, averaged: bool = False) -> dict[str, float]:
    """The posterior mean, refitting every fold by hand."""
    fold = deal(c)
    outs = [fold == number for number in range(4)]
    rests = [rest(c, fold, number) for number in range(4)]
    clip = c.logit_scale * c.support.double().numpy() @ c.text.double().numpy().T
    bent = np.zeros_like(clip)
    for out, kept in zip(outs, rests, strict=True):
        bent[out] = regression(c, c.support[out], kept)
    target, used = c.support_labels.numpy(), (fold >= 0).numpy()
    nodes = [[-1, 0, 1, 2], [-2, 0, 2] if averaged else [0], list(range(-4, 5))]
    found = np.zeros([*map(len, nodes), 7])
    for i, octave in enumerate(nodes[0]):
        for j, octave_2 in enumerate(nodes[1]):
            term = np.zeros_like(clip)
            for out, kept in zip(outs, rests, strict=True):
                settings = KAPPA * 2.0**octave, 2.0**octave_2
                term[out] = gaussians(*settings, c.part(kept), c.support[out])
            for k, step in enumerate(nodes[2]):
                for m, gamma in enumerate((0, 3, 6, 12, 25, 50, 100)):
                    logits = (clip + start * 2.0**step * term + gamma * bent)[used]

                    def fit(scale: float, logits: NDArray[np.float64] = logits) -> float:
                        z = scale * logits
                        z = z - z.max(1, keepdims=True)
                        log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
                        return float(log_p[range(len(z)), target[used]].sum())

                    found[i, j, k, m] = top(fit)
    for axis in range(3):
        if len(nodes[axis]) == 1:
            continue
        low, high = nodes[axis][0], nodes[axis][-1]
        finer = np.linspace(low, high, (len(nodes[axis]) - 1) * 8 + 1)
        rows = np.moveaxis(found, axis, 0)
        denser = [through_four(rows, nodes[axis], at) - at**2 / 2 for at in finer]
        found = np.moveaxis(np.stack(denser), 0, axis)
        nodes[axis] = finer.tolist()
    weight = np.exp(found - found.max())
    weight /= weight.sum()
    gammas = np.array([0, 3, 6, 12, 25, 50, 100])
    mean = [
        float(np.moveaxis(weight, axis, -1).reshape(-1, len(values)).sum(0) @ values)
        for axis, values in enumerate([*map(np.array, nodes), gammas])
    ]
    kappa, freedom, alpha = KAPPA * 2 ** mean[0], 2 ** mean[1], start * 2 ** mean[2]
    return {"kappa": kappa, "freedom": freedom, "alpha": alpha, "gamma": mean[3]}


def nearly(c: Context, start: float, averaged: bool = False) -> dict[str, object]:
    """The same as what the rounding to hundredths of an octave and tenths of gamma leaves."""
    mean = average(c, start, averaged)
    octave: dict[str, object] = {name: pytest.approx(v, rel=4e-3) for name, v in mean.items()}
    return octave | {"gamma": pytest.approx(mean["gamma"], abs=0.06)}


def doubtful() -> Context:
    """A task of which the text knows part, and the images the rest."""
    c = make_context(shots=5, classes=6, width=16)
    images = clustered(c.support_labels, c.text + unit(6, 16, seed=5), seed=6, noise=0.3)
    return dataclasses.replace(c, support=images, logit_scale=30.0)


def test_fixed_is_the_posterior_mean_given_the_held_out_labels() -> None:
    c = doubtful()

    found = fitted(c).fixed(c)

    assert found == nearly(c, ALPHA * math.sqrt(5))
    assert found["gamma"] > 1


def test_support_averages_over_the_freedom_as_well() -> None:
    c = doubtful()

    found = fitted(c).from_support(c)

    assert found == nearly(c, ALPHA * math.sqrt(5), averaged=True)
    assert found["freedom"] != pytest.approx(1, rel=1e-2)


def uneven() -> Context:
    c = doubtful()
    return c.part(torch.tensor([0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 17]))


def test_fixed_is_the_posterior_mean_of_uneven_classes() -> None:
    c = uneven()
    assert torch.bincount(c.support_labels, minlength=6).tolist() == [5, 1, 5, 3, 0, 0]
    harmonic = 4 / (1 / 5 + 1 / 1 + 1 / 5 + 1 / 3)

    assert fitted(c).fixed(c) == nearly(c, ALPHA * math.sqrt(harmonic))


def test_a_fold_has_classes_as_small_as_the_support_has() -> None:
    """Half the classes have 16 images and half have one: so it is in what a fold is scored by."""
    labels = torch.cat([torch.arange(12).repeat_interleave(16), torch.arange(12, 24)])
    c = Context(unit(24, 8, seed=1), unit(len(labels), 8, seed=0), labels)
    fold = deal(c)

    small = 0
    for number in range(4):
        kept = rest(c, fold, number)
        assert not kept[fold == number].any()
        sizes = torch.bincount(labels[kept], minlength=24)
        assert (sizes[12:] == 1).all()
        assert set(sizes[:12].tolist()) == {1, 12}
        small += int((sizes[:12] == 1).sum())
    assert 18 <= small <= 30  # about half of four times twelve


def test_a_fold_lacks_classes_where_the_support_does() -> None:
    labels = torch.arange(12).repeat_interleave(4)
    c = Context(unit(24, 8, seed=1), unit(48, 8, seed=0), labels)

    missing = 0
    for number in range(4):
        sizes = torch.bincount(labels[rest(c, deal(c), number)], minlength=24)
        assert set(sizes[:12].tolist()) == {0, 3}
        missing += int((sizes[:12] == 0).sum())
    assert 18 <= missing <= 30


def test_where_all_classes_are_equal_a_fold_has_all_the_others() -> None:
    c = doubtful()

    for number in range(4):
        assert torch.equal(rest(c, deal(c), number), deal(c) != number)


def test_folds_are_even_and_the_only_image_of_a_class_stays() -> None:
    labels = torch.tensor([0] * 7 + [1] * 4 + [2] * 5 + [3])

    fold = deal(Context(unit(4, 8, seed=1), unit(17, 8, seed=0), labels))

    sizes = [sorted(torch.bincount(fold[labels == k], minlength=4).tolist()) for k in range(3)]
    assert sizes == [[1, 2, 2, 2], [1, 1, 1, 1], [1, 1, 1, 2]]
    assert fold[16] == -1


def test_folds_are_dealt_in_turn_along_the_order_of_a_class() -> None:
    labels, images = torch.zeros(16, dtype=torch.int64), unit(16, 8, seed=0)

    fold = deal(Context(unit(2, 8, seed=1), images, labels))

    assert fold[by_class(images, labels)].tolist() == [0, 1, 2, 3] * 4


def test_images_decide_where_the_text_knows_nothing() -> None:
    c = make_context(shots=8, classes=8, width=32)
    images = clustered(c.support_labels, c.text, seed=1, noise=0.15)
    lost = dataclasses.replace(c, support=images, text=unit(8, 32, seed=9), logit_scale=30.0)
    others = clustered(c.support_labels, c.text, seed=2, noise=0.15)
    method = fitted(lost)

    zero_shot = (others @ lost.text.T).argmax(-1) == lost.support_labels
    method.set(method.fixed(lost))

    assert zero_shot.double().mean() < 0.3
    right = method.logits(others).argmax(-1) == lost.support_labels
    assert right.double().mean() > 0.9


def test_one_shot_has_nothing_to_hold_out() -> None:
    c = make_context(shots=1)

    assert fitted(c).fixed(c) == fitted(c).from_support(c) == TAG().hparams
    assert TAG().hparams == {"kappa": KAPPA, "freedom": 1.0, "alpha": ALPHA, "gamma": 0.0}


def test_folds_that_leave_copies_of_one_image_are_not_scored() -> None:
    c = make_context(classes=2, shots=2)
    text = c.text[:1].expand(2, -1)
    images = c.support[[0, 0, 0, 1]]
    c = dataclasses.replace(c, support=images, text=text)

    found = fitted(c).fixed(c)

    assert all(math.isfinite(value) for value in found.values())


def test_the_choice_does_not_depend_on_the_order_of_the_support() -> None:
    c = make_context(shots=6)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))

    for tune in ("fixed", "from_support"):
        first, second = (getattr(fitted(x), tune)(x) for x in (c, c.part(order)))
        assert first == second


@pytest.mark.parametrize("shots", [2, 3, 5])
def test_the_last_bits_of_the_features_choose_nothing(shots: int) -> None:
    """Two images are equally like their mean: an order by likeness would be one by rounding."""
    c = make_context(classes=24, shots=shots, width=32)

    expected = fitted(c).fixed(c)

    for other in (shaken(c, 1e-7), shaken(c, 1e-6), *map(c.part, within_classes(c))):
        assert fitted(other).fixed(other) == expected


def shaken(c: Context, relative: float) -> Context:
    """The same features with other last bits."""
    generator = torch.Generator().manual_seed(3)
    text, support = (
        x * (1 + relative * torch.randn(x.shape, generator=generator)) for x in (c.text, c.support)
    )
    return dataclasses.replace(c, text=text, support=support)


def within_classes(c: Context) -> list[Tensor]:
    """Orders of the support that move images within their classes alone."""
    orders = []
    for seed in range(3):
        order = torch.randperm(len(c.support_labels), generator=torch.Generator().manual_seed(seed))
        orders.append(order[c.support_labels[order].argsort(stable=True)])
    return orders


def test_a_support_that_says_nothing_is_an_error() -> None:
    c = make_context(classes=2, shots=2)
    same = dataclasses.replace(
        c, support=c.support[:1].expand(4, -1), text=c.text[:1].expand(2, -1)
    )

    with pytest.raises(UnfitError, match="Give more shots or more classes"):
        fitted(same)


@pytest.mark.real
@pytest.mark.parametrize("name", BEST_ON_VAL)
def test_fixed_is_level_with_the_best_of_others_tuned_on_val(real: Path, name: str) -> None:
    """With no label beyond the support; the most it is below is one of WHU-RS19's 549 images."""
    c, images, labels = bundle(real, name)

    assert accuracy(c, images, labels) > BEST_ON_VAL[name] - 0.4


@pytest.mark.real
@pytest.mark.parametrize("name", BEST_ON_VAL)
def test_real_last_bits_choose_nothing(real: Path, name: str) -> None:
    """Other last bits of the features, and another order of sums."""
    c, images, _ = bundle(real, name)
    c, images = first_classes(c, 40), images[::4]
    method = fitted(c)
    method.set(method.fixed(c))

    for other in (shaken(c, 1e-6), shaken(c.part(within_classes(c)[0]), 1e-7)):
        again = fitted(other)
        again.set(again.fixed(other))

        assert_same_answers(method, again, images)


@pytest.mark.real
def test_the_number_of_threads_chooses_nothing(real: Path) -> None:
    c, images, _ = bundle(real, "ucf101_vit-b-16")
    c = first_classes(c, 40)
    threads = torch.get_num_threads()
    fits = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            fits.append(fitted(c))
            fits[-1].set(fits[-1].fixed(c))
    finally:
        torch.set_num_threads(threads)

    assert_same_answers(fits[0], fits[1], images[::4])


def assert_same_answers(one: TAG, other: TAG, images: Tensor) -> None:
    """The same hyper-parameters, and the same answers where rounding cannot decide them."""
    assert other.hparams == one.hparams
    top = one.logits(images).topk(2)
    sure = top.values[:, 0] - top.values[:, 1] > 0.005
    answers = torch.cat([other.logits(x) for x in torch.split(images, 100)]).argmax(-1)
    assert torch.equal(answers[sure], top.indices[:, 0][sure])
    assert sure.double().mean() > 0.98


def first_classes(c: Context, classes: int) -> Context:
    """The first classes of a task."""
    ours = c.support_labels < classes
    return Context(c.text[:classes], c.support[ours], c.support_labels[ours])


@pytest.mark.real
@pytest.mark.parametrize("shots", [1, 2, 4])
@pytest.mark.parametrize("name", [name for name in BEST_ON_VAL if "imagenet" not in name])
def test_never_below_zero_shot_on_a_draw(real: Path, name: str, shots: int) -> None:
    """Whatever the draw."""
    c, images, labels = bundle(real, name)
    if shots > c.shots:
        pytest.skip(f"{name} has {c.shots:g} shots")
    zero_shot = 100 * float(((images @ c.text.T).argmax(-1) == labels).double().mean())
    order = torch.randperm(len(c.support), generator=torch.Generator().manual_seed(shots))
    order = order[c.support_labels[order].argsort(stable=True)]
    drawn = order.view(c.num_classes, -1)[:, :shots].flatten()

    assert accuracy(c.part(drawn), images, labels) > zero_shot


def bundle(real: Path, name: str) -> tuple[Context, Tensor, Tensor]:
    t = load_file(real / "features" / f"{name}.safetensors")
    return Context(t["text"], t["support"], t["support_labels"]), t["test"], t["test_labels"]


def accuracy(c: Context, images: Tensor, labels: Tensor) -> float:
    method = fitted(c)
    method.set(method.fixed(c))
    return 100 * float((method.logits(images).argmax(-1) == labels).double().mean())
