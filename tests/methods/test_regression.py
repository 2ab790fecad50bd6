from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor

from susx_bench.methods import regression
from susx_bench.methods.regression import LabelRegression, by_class
from susx_bench.testing.task import unit

LABELS = torch.tensor([2, 0, 0, 1, 0, 2, 1, 0])
WEIGHTS = np.array([2.0, 1, 1, 2, 1, 2, 2, 1]) / 1.5
"""Such that three classes of two, four and two images weigh the same, with mean 1."""


def oracle(support: Tensor, images: Tensor, rows: list[int]) -> Tensor:
    """The same by scikit-learn: exp(-2 (1 - cos)) is its RBF kernel at gamma 1 for unit rows."""
    model = KernelRidge(alpha=0.05, kernel="rbf", gamma=1.0)
    targets = np.eye(3)[LABELS[rows]] - 1 / 3
    model.fit(support[rows].double().numpy(), targets, sample_weight=WEIGHTS[rows])
    return torch.as_tensor(model.predict(images.double().numpy())).float()


def test_is_kernel_ridge_regression() -> None:
    support, images = unit(8, 6, seed=0), unit(5, 6, seed=1)

    logits = LabelRegression(support, LABELS, 3).logits(images)

    torch.testing.assert_close(logits, oracle(support, images, list(range(8))))


def test_without_some_images_it_is_the_regression_of_the_others() -> None:
    support, images = unit(8, 6, seed=0), unit(5, 6, seed=1)
    out = torch.tensor([False, True, False, False, True, False, True, False])
    fitted = LabelRegression(support, LABELS, 3)
    before = fitted.logits(images)

    logits = fitted.without(images, out)

    torch.testing.assert_close(logits, oracle(support, images, [0, 2, 3, 5, 7]))
    torch.testing.assert_close(fitted.logits(images), before)


def test_more_images_than_go_together_are_the_mean_of_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(regression, "TOGETHER", 4)
    support, images = unit(8, 6, seed=0), unit(5, 6, seed=1)
    order = by_class(support, LABELS)
    parts = [sorted(order[start::2].tolist()) for start in range(2)]
    assert [sorted(LABELS[part].tolist()) for part in parts] == [[0, 0, 1, 2], [0, 0, 1, 2]]
    out = torch.tensor([False, True, False, False, True, False, False, False])
    fitted = LabelRegression(support, LABELS, 3)

    whole, rest = fitted.logits(images), fitted.without(images, out)

    mean = torch.stack([oracle(support, images, part) for part in parts]).mean(0)
    torch.testing.assert_close(whole, mean)
    left = [[row for row in part if not out[row]] for part in parts]
    mean = torch.stack([oracle(support, images, part) for part in left]).mean(0)
    torch.testing.assert_close(rest, mean)


def test_of_more_images_than_all_parts_take_an_even_choice_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(regression, "TOGETHER", 2)
    monkeypatch.setattr(regression, "PARTS", 2)
    support, images = unit(8, 6, seed=0), unit(5, 6, seed=1)
    every_other = by_class(support, LABELS)[::2].tolist()

    logits = LabelRegression(support, LABELS, 3).logits(images)

    parts = [every_other[start::2] for start in range(2)]
    mean = torch.stack([oracle(support, images, part) for part in parts]).mean(0)
    torch.testing.assert_close(logits, mean)


def test_copies_of_an_image_are_no_trouble() -> None:
    support, images = unit(1, 6, seed=0).repeat(8, 1), unit(5, 6, seed=1)

    assert LabelRegression(support, LABELS, 3).logits(images).isfinite().all()


def test_classes_come_in_turn_and_in_each_the_images_along_one_direction() -> None:
    support = unit(8, 6, seed=0)

    order = by_class(support, LABELS)

    assert LABELS[order].tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    golden = (5**0.5 - 1) / 2
    places = [sum(v * (d * golden % 1 - 0.5) for d, v in enumerate(f, 1)) for f in support.tolist()]
    assert sorted(order[:4].tolist(), key=places.__getitem__) == order[:4].tolist()


def test_two_images_of_a_class_have_an_order_of_their_own() -> None:
    """Both are equally like their mean, so what is like it more would be a matter of rounding."""
    labels, support = torch.arange(64).repeat_interleave(2), unit(128, 6, seed=0)
    swapped = torch.arange(128).view(64, 2).flip(1).flatten()
    order = by_class(support, labels)

    assert torch.equal(swapped[by_class(support[swapped], labels)], order)
    other = torch.randn(support.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(by_class(support * (1 + 1e-6 * other), labels), order)
