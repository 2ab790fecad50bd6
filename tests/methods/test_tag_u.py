from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy.special import digamma, gammaln
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.tag import Sums, posterior
from susx_bench.methods.tag_u import (
    TagU,
    TagUFewShot,
    TagUStream,
    TagUSupport,
    concentration,
    refits,
)
from susx_bench.methods.zero_shot import clip_logits
from susx_bench.testing.contract import MethodContract
from susx_bench.testing.task import clustered, make_context, unit
from tests.methods.task import apart, few_classes, without_support


class TestContract(MethodContract):
    method = TagU


def plain(method: TagU, c: Context, images: Tensor) -> Tensor:
    """The docstring's rounds, with the sums written out, in double precision."""
    f, text = images.double().numpy(), c.text.double().numpy()
    many, width, classes = len(f), f.shape[1], len(text)
    clip = c.logit_scale * f @ text.T
    z = softmax(clip)
    a = likeliest((z * z.max(1, keepdims=True)).sum(0))
    logits = clip
    for _ in range(method.rounds):
        z = softmax(logits)
        n = z.sum(0)
        mean = np.stack([sum(z[i, k] * f[i] for i in range(many)) / n[k] for k in range(classes)])
        w = method.kappa * n / (method.kappa + n)
        x, t = w @ mean / w.sum(), w @ text / w.sum()
        rho = (w[:, None] * (mean - x) * (text - t)).sum() / (w[:, None] * (text - t) ** 2).sum()
        m = x + max(rho, 0) * (text - t)
        both = np.zeros((width, width))
        for k in range(classes):
            both += w[k] * np.outer(mean[k] - m[k], mean[k] - m[k])
            for i in range(many):
                both += z[i, k] * np.outer(f[i] - mean[k], f[i] - mean[k])
        sigma = both + np.trace(both) / many * np.eye(width)
        root = np.linalg.cholesky(sigma / (many + width))
        white = np.linalg.solve(root, (mean - m).T).T
        square, axes = np.linalg.eigh((w[:, None] * white).T @ white / classes)
        telling = max(0, classes * (many - classes) / many)
        apart = (telling * square + width) / (telling + width)
        kept = 1 - np.minimum(1, method.kappa / (method.kappa + n[:, None]) / apart)
        mu = m + (kept * (white @ axes)) @ axes.T @ root.T
        each = many / classes
        known = 1 - np.minimum(1, method.kappa / (method.kappa + each) / apart)
        spread = root @ axes @ np.diag(1 + known / each) @ axes.T @ root.T
        solved = np.linalg.solve(spread, mu.T)
        gaussians = f @ solved - (mu.T * solved).sum(0) / 2
        logits = clip + min(method.alpha * each, 0.1 * each**0.5) * gaussians
        if a < 1:
            logits = logits + digamma(n + a)
    return torch.as_tensor(logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def likeliest(n: np.ndarray) -> float:
    def fit(a: float) -> float:
        whole = len(n) * a
        each = gammaln(n + a) - gammaln(a)
        return float(gammaln(whole) - gammaln(n.sum() + whole) + each.sum())

    return max((2 ** (half / 2) for half in range(-16, 9)), key=fit)


@pytest.mark.parametrize("method", [TagU(), TagU(alpha=0.5, kappa=2.0), TagU(rounds=0)])
@pytest.mark.parametrize("present", [4, 1])
def test_matches_the_formula(method: TagU, present: int) -> None:
    c = without_support(make_context(classes=4, width=8))
    images = clustered(torch.arange(20) % present, c.text, seed=7, noise=0.2)
    method.fit(c)

    expected = apart(plain(method, c, images))
    torch.testing.assert_close(apart(method.logits(images)), expected, rtol=1e-4, atol=1e-3)


def test_both_kinds_of_batches_are_met_above() -> None:
    c = make_context(classes=4, width=8)
    sparse = []
    for present in (4, 1):
        images = clustered(torch.arange(20) % present, c.text, seed=7, noise=0.2)
        z = torch.softmax(20 * images @ c.text.T, dim=-1).double()
        sparse.append(concentration((z * z.amax(-1, keepdim=True)).sum(0)) < 1)

    assert sparse == [False, True]


def test_the_concentration_is_that_of_the_counts() -> None:
    for counts in ([5.0, 0.1, 0.0, 0.0, 7.5], [3.0, 4.0, 2.0, 5.0], [9.0, 1.0, 4.0, 2.0, 6.0]):
        n = torch.tensor(counts, dtype=torch.float64)

        assert concentration(n) == pytest.approx(likeliest(n.numpy()))


def test_images_that_are_one_are_left_to_clip() -> None:
    c = without_support(make_context())
    images = unit(1, 16, seed=3).repeat(30, 1)
    method = TagU()
    method.fit(c)

    torch.testing.assert_close(method.logits(images), 20 * images @ c.text.T)


@pytest.mark.real
def test_matches_the_formula_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 6, step=10)
    c = without_support(c)
    method = TagU()
    method.fit(c)

    expected = apart(plain(method, c, images))
    torch.testing.assert_close(apart(method.logits(images)), expected, rtol=1e-3, atol=1e-2)


ZERO_SHOT = {
    "ucf101_vit-b-16": 70.26,
    "caltech101-named_vit-b-32_16shot": 94.25,
    "stanfordcars_vit-b-32_16shot": 57.88,
    "whurs19_rn50": 70.49,
    "whurs19-1prompt_vit-b-32": 75.77,
    "imagenet_vit-b-32_2shot": 61.90,
    "dtd-keys_vit-b-16": 56.12,
}


@pytest.mark.real
@pytest.mark.parametrize("name", ZERO_SHOT)
def test_not_below_zero_shot(real: Path, name: str) -> None:
    """Of ImageNet's 2000 images it loses two."""
    t = load_file(real / "features" / f"{name}.safetensors")

    assert accuracy(t, torch.arange(len(t["test"]))) > ZERO_SHOT[name] - 0.2


@pytest.mark.real
@pytest.mark.parametrize("name", ["ucf101_vit-b-16", "caltech101-named_vit-b-32_16shot"])
@pytest.mark.parametrize("classes", [4, 10])
def test_batches_of_few_classes_gain(real: Path, name: str, classes: int) -> None:
    """Where TransCLIP loses 20 to 30 points."""
    t = load_file(real / "features" / f"{name}.safetensors")
    generator = torch.Generator().manual_seed(classes)
    gained = []
    for _ in range(20):
        some = torch.randperm(len(t["text"]), generator=generator)[:classes]
        rows = torch.isin(t["test_labels"], some).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)[:64]]
        zero_shot = (t["test"][rows] @ t["text"].T).argmax(-1) == t["test_labels"][rows]
        gained.append(accuracy(t, rows) - 100 * float(zero_shot.double().mean()))

    assert sum(gained) / len(gained) > 1.5


def accuracy(t: dict[str, Tensor], rows: Tensor) -> float:
    method = TagU()
    method.fit(Context(t["text"], t["support"][:0], t["support_labels"][:0]))
    right = method.logits(t["test"][rows]).argmax(-1) == t["test_labels"][rows]
    return 100 * float(right.double().mean())


def test_labelled_images_keep_their_labels_in_every_round() -> None:
    """Against the formula written out, with the labels in the place of z."""
    whole = make_context()
    images = unit(40, whole.text.shape[1], seed=5)
    method = TagU(rounds=3)
    method.fit(whole)

    found = method.logits(images)

    rows = torch.cat([images, whole.support]).double()
    clip = clip_logits(rows.float(), whole).double()
    bare = whole.part(whole.support_labels[:0])
    each = len(rows) / whole.num_classes
    sure = clip[:40].softmax(-1)
    spread = concentration((sure * sure.amax(-1, keepdim=True)).sum(0))
    logits = clip
    for _ in range(3):
        z = logits.softmax(-1)
        shares = z[:40].sum(0)
        for i, label in enumerate(whole.support_labels.tolist()):
            z[40 + i] = 0
            z[40 + i, label] = 1
        count = z.sum(0)
        means = torch.stack([(z[:, k, None] * rows).sum(0) / count[k] for k in range(len(count))])
        away = [rows - mean for mean in means]
        within = torch.stack([(z[:, k, None] * d).T @ d for k, d in enumerate(away)]).sum(0)
        weights, bias = posterior(Sums(bare.text.double(), count, means, within), 8.0, 1.0)
        weight = min(0.01 * each, 0.1 * each**0.5)
        logits = clip + weight * (rows @ weights.double().T + bias.double())
        if spread < 1:
            logits = logits + torch.digamma(shares + spread)
    torch.testing.assert_close(found.double(), logits[:40], atol=1e-3, rtol=1e-4)


class TestStreamContract(MethodContract):
    method = TagUStream


def test_a_stream_is_scored_by_the_gaussians_of_what_was_seen() -> None:
    """Image by image, with the counts that the last round had."""
    c = without_support(make_context(classes=4, width=8))
    images = clustered(torch.arange(23) % 4, c.text, seed=7, noise=0.2)
    rows, text = images.double(), c.text.double()
    clip = clip_logits(images, c).double()
    method = TagUStream(alpha=0.3, rounds=2)
    method.fit(c)

    found = method.logits(images)

    fitted_at = [4, 5, 7, 9, 12, 15, 19]  # a quarter more each time, and at least one
    assert refits(23, 4) == fitted_at
    for i in range(23):
        seen = max((r for r in fitted_at if r <= i), default=0)
        if not seen:
            torch.testing.assert_close(found[i].double(), clip[i])
            continue
        sure = clip[:seen].softmax(-1)
        a = likeliest((sure * sure.amax(-1, keepdim=True)).sum(0).numpy())
        logits, weight = clip[:seen], min(0.3 * seen / 4, 0.1 * (seen / 4) ** 0.5)
        for _ in range(2):
            z = logits.softmax(-1)
            n = z.sum(0)
            means = torch.stack([(z[:, k, None] * rows[:seen]).sum(0) / n[k] for k in range(4)])
            within = sum(
                z[j, k] * torch.outer(rows[j] - means[k], rows[j] - means[k])
                for j in range(seen)
                for k in range(4)
            )
            assert isinstance(within, Tensor)
            weights, bias = (p.double() for p in posterior(Sums(text, n, means, within), 8.0, 1.0))
            logits = clip[:seen] + weight * (rows[:seen] @ weights.T + bias)
            if a < 1:
                logits = logits + torch.digamma(n + a)
        harmonic = 4 / float((1 / n).sum())
        weight = min(0.3 * harmonic, 0.1 * harmonic**0.5)
        expected = clip[i] + weight * (rows[i] @ weights.T + bias)
        torch.testing.assert_close(found[i].double(), expected, atol=1e-3, rtol=1e-4)


STREAMS = {"whurs19-1prompt_vit-b-32": (75.77, 10), "caltech101-named_vit-b-32_16shot": (94.25, 1)}


@pytest.mark.real
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_gains_in_any_order_and_collapses_in_none(real: Path, name: str) -> None:
    """Shuffled, and with all images of one class before those of the next."""
    t = load_file(real / "features" / f"{name}.safetensors")
    method = TagUStream()
    method.fit(Context(t["text"], t["support"][:0], t["support_labels"][:0]))
    labels = t["test_labels"]
    zero_shot, gain = STREAMS[name]

    def right(order: Tensor) -> float:
        answers = method.logits(t["test"][order]).argmax(-1)
        return 100 * float((answers == labels[order]).double().mean())

    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    assert right(shuffled) > zero_shot + gain
    assert right(labels.argsort(stable=True)) > zero_shot - 4


class TestFewShotContract(MethodContract):
    method = TagUFewShot


class TestSupportContract(MethodContract):
    method = TagUSupport


def test_a_support_image_counts_as_many_times_as_it_is_worth() -> None:
    """Worth twice is given twice, worth once is a label's, worth nothing is not there."""
    c = make_context(classes=4, width=8)
    images = clustered(torch.arange(20) % 4, c.text, seed=7, noise=0.2)
    twice = c.part(torch.arange(len(c.support)).repeat(2))

    def logits(method: TagU, context: Context) -> Tensor:
        method.fit(context)
        return method.logits(images)

    labelled = logits(TagUFewShot(), c)
    for worth, same in (
        (2.0, logits(TagUFewShot(), twice)),
        (1.0, labelled),
        (0.0, logits(TagU(), without_support(c))),
    ):
        torch.testing.assert_close(logits(TagUSupport(worth=worth), c), same, atol=1e-3, rtol=1e-4)
    assert (logits(TagUSupport(), c) - labelled).abs().max() > 0.01


def found_by_names(t: dict[str, Tensor], pool: Sequence[Tensor], per_class: int) -> Context:
    """A support set as `sus-lc` finds it with one prompt: images nearest to the class's text."""
    images = F.normalize(torch.cat(list(pool)), dim=-1)
    text = F.normalize(t["text"], dim=-1)
    nearest = (text @ images.T).topk(per_class, dim=-1).indices
    labels = torch.arange(len(text)).repeat_interleave(per_class)
    return Context(text, images[nearest.flatten()], labels)


POOLS = {  # of the same encoder
    "caltech101-named_vit-b-32_16shot": "imagenet_vit-b-32_2shot",
    "whurs19-1prompt_vit-b-32": "imagenet_vit-b-32_2shot",
    "stanfordcars_vit-b-32_16shot": "imagenet_vit-b-32_2shot",
    "ucf101_vit-b-16": "dtd-keys_vit-b-16",
    "dtd-keys_vit-b-16": "ucf101_vit-b-16",
}


@pytest.mark.real
@pytest.mark.parametrize("per_class", [4, 16])
@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("own", [False, True])
def test_a_support_set_found_by_names_does_little_harm(
    real: Path, name: str, own: bool, per_class: int
) -> None:
    """In the images of another task, most of which show none of the classes, and in its own."""
    t = load_file(real / "features" / f"{name}.safetensors")
    if own:
        pool = [t["support"]]
    else:
        other = load_file(real / "features" / f"{POOLS[name]}.safetensors")
        pool = [other[part] for part in ("support", "val", "test")]
    c = found_by_names(t, pool, per_class)
    images = F.normalize(t["test"], dim=-1)

    def right(method: TagU) -> float:
        method.fit(c)
        return 100 * float((method.logits(images).argmax(-1) == t["test_labels"]).double().mean())

    assert right(TagUSupport()) > right(TagUSupport(worth=0)) - 0.75
