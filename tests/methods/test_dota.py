from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.dota import DOTA
from susx_bench.testing.task import clustered, make_context
from tests.methods.task import few_classes


def plain_loops(method: DOTA, c: Context, images: Tensor) -> Tensor:
    """Whole matrices and their inverse for every image, in double precision."""
    f, text = images.double(), c.text.double()
    k, width = text.shape
    eye = torch.eye(width, dtype=torch.float64)
    counts = [1.0] * k
    means = [torch.full((width,), method.omega, dtype=torch.float64)] * k
    sigmas = [method.sigma2 * eye] * k
    rows = []
    for x in f:
        clip = c.logit_scale * text @ x
        mixed = sum(sigmas, 0 * eye) / k
        inverse = torch.linalg.inv((1 - method.epsilon) * mixed + method.epsilon * eye)
        weight = min(method.rho * sum(counts) / k, method.eta)
        row = clip.clone()
        for of in range(k):
            row[of] += weight * (x @ inverse @ means[of] - means[of] @ inverse @ means[of] / 2)
        rows.append(row)
        for of, y in enumerate(clip.softmax(0).tolist()):
            away, total = x - means[of], counts[of] + y
            sigmas[of] = (counts[of] * sigmas[of] + y * torch.outer(away, away)) / total
            means[of] = (counts[of] * means[of] + y * x) / total
            counts[of] = total
    return torch.stack(rows)


@pytest.mark.parametrize("method", [DOTA(), DOTA(epsilon=0.1, rho=0.1, eta=1.0, omega=0.1)])
def test_matches_the_formula_in_plain_loops(method: DOTA) -> None:
    c = make_context(classes=4)
    images = clustered(torch.arange(60) % 4, c.text, seed=7, noise=0.6)
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(), plain_loops(method, c, images), rtol=1e-5, atol=1e-4
    )


@pytest.mark.real
def test_matches_the_formula_on_real_features(real: Path) -> None:
    """To 1e-3 in fp32: eigenvalues of the covariance lie a factor of hundreds apart."""
    c, images = few_classes(real, 10, step=4)
    method = DOTA()
    method.set(method.published("ucf101") or {})
    method.fit(c)
    expected = plain_loops(method, c, images)

    torch.testing.assert_close(method.logits(images).double(), expected, rtol=0, atol=1e-3)
    method.fit(dataclasses.replace(c, text=c.text.double(), support=c.support.double()))
    torch.testing.assert_close(method.logits(images.double()), expected, rtol=0, atol=1e-6)


def test_the_constants_of_a_dataset_are_the_published_ones() -> None:
    published = DOTA().published("caltech101")

    assert published == {
        "sigma2": 0.002, "omega": 0.001, "epsilon": 0.002, "rho": 0.02, "eta": 0.3
    }  # fmt: skip
    assert DOTA().published("mine") is None


def test_the_first_image_is_classified_as_by_clip(context: Context) -> None:
    """All classes start alike, so the Gaussians add the same to each."""
    method = DOTA(eta=100.0, rho=100.0)
    method.fit(context)
    image = clustered(torch.tensor([2]), context.text, seed=7)

    extra = method.logits(image) - context.logit_scale * image @ context.text.T

    torch.testing.assert_close(extra, extra[:, :1].expand(1, 5))
