from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.timo import Timo, TimoS
from susx_bench.testing.task import make_context, unit
from tests.methods.task import apart, few_classes


def plain_numpy(method: Timo, c: Context, images: Tensor) -> NDArray[np.float64]:
    """The public code, class by class and prompt by prompt, in double precision."""
    prompts = [
        [c.text[k].double().numpy()]
        if c.text_prompts is None
        else [row.double().numpy() for row in c.text_prompts[k]]
        for k in range(c.num_classes)
    ]
    text, rows, labels = [], [], []
    for k, mine in enumerate(prompts):
        shots = c.support[c.support_labels == k].double().numpy()
        prototype = shots.mean(0) / np.linalg.norm(shots.mean(0))
        match = [float(row @ prototype) for row in mine]
        norm = math.sqrt(sum(m * m for m in match))
        weights = [math.exp(method.gamma * m / norm) for m in match]
        guided = sum(w * row for w, row in zip(weights, mine, strict=True))
        text.append(guided / np.linalg.norm(guided))
        ranked = sorted(range(len(mine)), key=lambda j, match=match: -match[j])  # type: ignore[misc]
        for j in (ranked * 2)[: max(1, round(method.share * len(mine)))]:
            rows.append(match[j] * mine[j])
            labels.append(k)
    views = c.support[:, None] if c.support_views is None else c.support_views
    for image, label in zip(views.double().numpy(), c.support_labels.tolist(), strict=True):
        rows += list(image)
        labels += [label] * len(image)
    vectors, of = np.array(rows), np.array(labels)
    means = np.array([vectors[of == k].mean(0) for k in range(c.num_classes)])
    covariance, width = np.cov((vectors - means[of]).T), vectors.shape[1]
    shrunk = (len(vectors) - 1) * covariance + np.trace(covariance) * np.eye(width)
    inverse = width * np.linalg.pinv(shrunk)
    out = np.zeros((len(images), c.num_classes))
    for i, f in enumerate(images.double().numpy()):
        for k, mean in enumerate(means):
            gaussian = f @ inverse @ mean - mean @ inverse @ mean / 2
            out[i, k] = method.alpha * f @ text[k] + gaussian
    return out


@pytest.mark.parametrize(
    "method",
    [Timo(alpha=10.0), Timo(alpha=1.0, gamma=5.0, share=0.4), TimoS(alpha=1.0, share=1.7)],
    ids=["all", "the best", "some twice"],
)
@pytest.mark.parametrize("lacking", ["", "support_views", "text_prompts"])
def test_matches_the_public_procedure(method: Timo, lacking: str) -> None:
    c = make_context()
    if lacking:
        c = dataclasses.replace(c, **{lacking: None})  # type: ignore[arg-type]
    images = unit(9, 16, seed=5)
    method.fit(c)

    torch.testing.assert_close(
        apart(method.logits(images)), apart(plain_numpy(method, c, images)), rtol=0, atol=1e-4
    )


@pytest.mark.real
def test_matches_the_public_procedure_on_real_features(real: Path) -> None:
    """With single prompts made up around the class text, of which the features have none."""
    c, images = few_classes(real, 20, step=10)
    noise = torch.randn(20, 6, c.text.shape[1], generator=torch.Generator().manual_seed(1))
    prompts = torch.nn.functional.normalize(c.text[:, None] + 0.02 * noise, dim=-1)
    c = dataclasses.replace(c, text_prompts=list(prompts))
    method = Timo(alpha=10.0)
    method.fit(c)

    torch.testing.assert_close(
        apart(method.logits(images)), apart(plain_numpy(method, c, images)), rtol=0, atol=1e-4
    )


def test_classes_may_have_unlike_numbers_of_prompts() -> None:
    c = make_context()
    assert c.text_prompts is not None
    c = dataclasses.replace(c, text_prompts=[c.text_prompts[0][:1], *c.text_prompts[1:]])
    images = unit(9, 16, seed=5)
    method = TimoS(alpha=10.0, share=2.0)
    method.fit(c)

    torch.testing.assert_close(
        apart(method.logits(images)), apart(plain_numpy(method, c, images)), rtol=0, atol=1e-4
    )


def test_changing_gamma_and_share_back_and_forth_changes_nothing() -> None:
    """What is kept from one setting to the next belongs to it."""
    c, images = make_context(), unit(9, 16, seed=5)
    method = TimoS()
    method.fit(c)
    first = method.logits(images)
    method.set({"gamma": 5.0, "share": 2.0})
    other = method.logits(images)
    method.set(TimoS().hparams)

    assert not torch.allclose(other, first)
    assert torch.equal(method.logits(images), first)


def test_the_grids_are_the_published_ones() -> None:
    c = make_context()  # three prompts a class
    (alpha,) = Timo().space(c).axes
    gamma, share, same = TimoS().space(c).axes

    assert alpha == same
    assert alpha.values == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100, 1e3, 1e4])
    assert gamma.values == tuple(range(5, 101, 5))
    assert [round(3 * value) for value in share.values] == [1, 2, 3, 4, 5, 6]


def test_the_constants_of_a_dataset_are_the_published_ones() -> None:
    assert (Timo().published("flowers102") or {})["gamma"] == 100
    assert (Timo().published("imagenet") or {})["gamma"] == 1
    assert (Timo().published("dtd") or {})["gamma"] == 50
    assert Timo().published("mine") is None
    assert TimoS().published("dtd") is None
