from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from susx_bench.methods.base import Context, UnfitError
from susx_bench.methods.gda import GDA
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import make_context, unit
from tests.methods.task import apart, few_classes


def plain_numpy(method: GDA, c: Context, images: Tensor) -> NDArray[np.float64]:
    """The public code's estimate, with its pseudo-inverse, one view a row, in double precision."""
    views = c.support[:, None] if c.support_views is None else c.support_views
    rows, labels = [], []
    for image, label in zip(views.double().numpy(), c.support_labels.tolist(), strict=True):
        for view in image:
            rows.append(view)
            labels.append(label)
    vectors, of = np.array(rows), np.array(labels)
    means = np.array([vectors[of == k].mean(0) for k in range(c.num_classes)])
    centred = np.array([v - means[k] for v, k in zip(vectors, of, strict=True)])
    covariance, width = np.cov(centred.T), vectors.shape[1]
    shrunk = (len(centred) - 1) * covariance + np.trace(covariance) * np.eye(width)
    inverse = width * np.linalg.pinv(shrunk)
    out = np.zeros((len(images), c.num_classes))
    for i, f in enumerate(images.double().numpy()):
        for k, mean in enumerate(means):
            gaussian = f @ inverse @ mean - mean @ inverse @ mean / 2
            out[i, k] = c.logit_scale * f @ c.text[k].double().numpy() + method.alpha * gaussian
    return out


@pytest.mark.parametrize("alpha", [0.1, 2.0])
@pytest.mark.parametrize("with_views", [True, False])
def test_matches_the_public_procedure(alpha: float, with_views: bool) -> None:
    c = make_context()
    if not with_views:
        c = dataclasses.replace(c, support_views=None)
    images = unit(9, 16, seed=5)
    method = GDA(alpha=alpha)
    method.fit(c)

    torch.testing.assert_close(
        apart(method.logits(images)), apart(plain_numpy(method, c, images)), rtol=0, atol=1e-4
    )


@pytest.mark.real
def test_matches_the_public_procedure_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 20, step=10)
    method = GDA()
    method.fit(c)

    torch.testing.assert_close(
        apart(method.logits(images)), apart(plain_numpy(method, c, images)), rtol=0, atol=1e-4
    )


def test_single_views_are_images() -> None:
    """Not their mean: as many copies of it as there are views say something else."""
    c = make_context()
    assert c.support_views is not None
    copies = c.support[:, None].expand_as(c.support_views)
    images = unit(9, 16, seed=5)
    answers = []
    for views in (c.support_views, copies):
        method = GDA()
        method.fit(dataclasses.replace(c, support_views=views))
        answers.append(method.logits(images))

    assert (answers[0] - answers[1]).abs().max() > 0.1


def test_one_shot_needs_views() -> None:
    c = make_context(shots=1)
    GDA().fit(c)

    for views in (None, c.support[:, None].repeat(1, 10, 1)):
        with pytest.raises(UnfitError, match="alike"):
            GDA().fit(dataclasses.replace(c, support_views=views))


def test_a_class_without_images_is_refused() -> None:
    c = make_context()
    with pytest.raises(UnfitError, match="2 of 5 classes have no support image"):
        GDA().fit(c.part(c.support_labels < 3))


def test_without_weight_it_is_zero_shot(context: Context) -> None:
    images = unit(9, 16, seed=5)
    method, zero_shot = GDA(alpha=0.0), ZeroShot()
    method.fit(context)
    zero_shot.fit(context)

    assert torch.equal(method.logits(images), zero_shot.logits(images))


def test_the_grid_is_the_published_one(context: Context) -> None:
    space = GDA().space(context)

    assert space is not None
    (axis,) = space.axes
    assert axis.values == (1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100)
    assert axis.weight
