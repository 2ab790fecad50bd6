from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from susx_bench.methods.base import Context
from susx_bench.methods.proker import ProKeR
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import make_context, unit
from tests.methods.task import few_classes


def plain_loops(method: ProKeR, c: Context, images: Tensor) -> NDArray[np.float64]:
    """The formula, one image and one class after the other, by a general solver."""
    text, support, labels = c.text.double(), c.support.double(), c.support_labels.tolist()

    def kernel(x: Tensor, y: Tensor) -> float:
        return math.exp(-method.beta * (1 - float(x @ y)))

    system = np.array([[kernel(x, y) / method.ridge for y in support] for x in support])
    system += np.eye(len(support))
    wrong = np.array(
        [[float(of == k) - float(x @ t) for k, t in enumerate(text)]
         for x, of in zip(support, labels, strict=True)]
    )  # fmt: skip
    weights = np.linalg.solve(system, wrong)
    out = np.zeros((len(images), len(text)))
    for i, f in enumerate(images.double()):
        near = np.array([kernel(f, x) for x in support])
        for k, t in enumerate(text):
            out[i, k] = c.logit_scale * (float(f @ t) + near @ weights[:, k])
    return out


@pytest.mark.parametrize("method", [ProKeR(beta=1.5, ridge=0.05), ProKeR(beta=4.0, ridge=2.0)])
@pytest.mark.parametrize("rows", [slice(None), slice(3, 13)], ids=["balanced", "uneven"])
def test_matches_the_formula_in_plain_loops(method: ProKeR, rows: slice) -> None:
    c = make_context()
    c = c.part(torch.arange(len(c.support))[rows])
    images = unit(9, 16, seed=5)
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(),
        torch.from_numpy(plain_loops(method, c, images)),
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.real
def test_matches_the_formula_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 10, step=20)
    method = ProKeR()
    method.fit(c)

    torch.testing.assert_close(
        method.logits(images).double(),
        torch.from_numpy(plain_loops(method, c, images)),
        rtol=0,
        atol=1e-3,
    )


@pytest.mark.parametrize(
    ("shots", "beta", "ridge"),
    [
        (1, 3.0, 0.05),
        (2, 2.6, 0.05),
        (3, 2.6 - 1.1 * math.log2(1.5), 0.05),
        (16, 1.7, 0.1),
        (40, 1.7, 0.1),
    ],
)
def test_fixed_is_the_authors_setting_for_the_shots(shots: int, beta: float, ridge: float) -> None:
    c = make_context(shots=shots)
    method = ProKeR()
    method.fit(c)

    assert method.hparams == pytest.approx({"beta": beta, "ridge": ridge}, abs=1e-5)


def test_fewer_images_than_one_a_class_are_one_shot() -> None:
    c = make_context(shots=1).part(torch.tensor([2]))
    method = ProKeR()
    method.fit(c)

    assert method.hparams == {"beta": 3.0, "ridge": 0.05}


def test_with_a_vanishing_ridge_it_is_zero_shot(context: Context) -> None:
    """The authors' form, in which a small `ridge` also makes the correction small."""
    images = unit(9, 16, seed=5)
    method, zero_shot = ProKeR(ridge=1e-9), ZeroShot()
    method.fit(context)
    zero_shot.fit(context)

    torch.testing.assert_close(method.logits(images), zero_shot.logits(images))


def test_the_grid_is_the_published_one() -> None:
    c = make_context()
    beta, ridge = ProKeR().space(c).axes

    assert (beta.values[0], beta.values[-1], len(beta.values)) == (1.5, 3.0, 10)
    assert (ridge.values[0], ridge.values[-1], len(ridge.values)) == (0.05, 0.25, 10)
    assert beta.values == pytest.approx(torch.linspace(1.5, 3, 10).tolist())
