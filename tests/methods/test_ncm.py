"""The nearest class mean, against loops and scikit-learn."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from sklearn.neighbors import NearestCentroid
from torch import Tensor

from susx_bench.methods.base import Context, UnfitError
from susx_bench.methods.linear import linear_head
from susx_bench.methods.ncm import NCM
from susx_bench.testing.task import make_context, unit
from tests.methods.task import few_classes


def by_loops(c: Context, images: Tensor) -> list[list[float]]:
    """Half the squared distance to the mean of each class, negative, times the scale."""
    found = []
    for image in images.tolist():
        row = []
        for k in range(c.num_classes):
            own = [r for r, y in zip(c.support.tolist(), c.support_labels.tolist(), strict=True)
                   if y == k]  # fmt: skip
            mean = [math.fsum(values) / len(own) for values in zip(*own, strict=True)]
            square = math.fsum((f - m) ** 2 for f, m in zip(image, mean, strict=True))
            row.append(-c.logit_scale * square / 2)
        found.append(row)
    return found


def test_matches_loops() -> None:
    c = make_context().part(torch.tensor([0, 1, 3, 6, 7, 8, 9, 12]))
    images = unit(9, 16, seed=5)
    method = NCM()
    method.fit(c)

    logits = method.logits(images).double()

    expected = torch.tensor(by_loops(c, images), dtype=torch.float64)
    centred = [rows - rows.mean(1, keepdim=True) for rows in (logits, expected)]
    torch.testing.assert_close(*centred, rtol=0, atol=1e-5)


@pytest.mark.real
def test_matches_scikit_learn_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 20, step=10)
    method = NCM()
    method.fit(c)

    model = NearestCentroid().fit(c.support.numpy(), c.support_labels.numpy())

    assert method.logits(images).argmax(-1).tolist() == model.predict(images.numpy()).tolist()


def test_a_class_without_images_is_not_fitted() -> None:
    c = make_context()

    with pytest.raises(UnfitError, match="1 of 5 classes have no support image"):
        NCM().fit(c.part(c.support_labels > 0))


def test_it_is_linear() -> None:
    c = make_context()
    method = NCM()
    method.fit(c)
    images = unit(9, 16, seed=5)

    head = linear_head(method, c)

    torch.testing.assert_close(head.logits(images), method.logits(images))
