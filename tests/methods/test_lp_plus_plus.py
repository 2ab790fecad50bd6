from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from susx_bench.methods.base import Context
from susx_bench.methods.lp_plus_plus import LPPlusPlus
from susx_bench.testing.task import make_context, unit
from tests.methods.task import few_classes


def by_autograd(c: Context, images: Tensor, epochs: int) -> Tensor:
    """The public procedure by torch's own gradients, layer and optimiser, with a bias from 0."""
    f, text, labels = c.support.double(), c.text.double(), c.support_labels
    present = sorted(set(labels.tolist()))
    own = [float((f[labels == k] @ text[k]).mean()) for k in present]
    layer = nn.Linear(f.shape[1], len(text)).double()
    with torch.no_grad():
        layer.weight.copy_(torch.stack([f[labels == k].sum(0) for k in range(len(text))]))
        layer.bias.zero_()
    start = 250 * sum(own) / len(own)
    alpha = torch.full((len(text),), start, dtype=torch.float64, requires_grad=True)
    step = 4 * len(f) / float(torch.linalg.eigvalsh(f.T @ f).max())
    alpha_step = len(f) / (4 * max(float(column.square().sum()) for column in (f @ text.T).T))
    optimiser = torch.optim.SGD(layer.parameters(), step, momentum=0.9)
    for epoch in range(1, epochs + 1):
        loss = F.cross_entropy(layer(f) + alpha * (f @ text.T), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if epoch % 10 == 0:  # what no step has taken up stays in its gradient, as published
            assert alpha.grad is not None
            alpha.data -= alpha_step * alpha.grad
    with torch.no_grad():
        x = images.double()
        logits: Tensor = layer(x) + alpha * (x @ text.T)
        return logits


@pytest.mark.parametrize("epochs", [1, 9, 10, 35, 300])
@pytest.mark.parametrize("rows", [slice(None), slice(3, 13)], ids=["balanced", "uneven"])
def test_matches_the_public_procedure(epochs: int, rows: slice) -> None:
    c = make_context()
    c = c.part(torch.arange(len(c.support))[rows])
    images = unit(9, 16, seed=5)
    method = LPPlusPlus(epochs=epochs)
    method.fit(c)

    expected = by_autograd(c, images, epochs)
    torch.testing.assert_close(method.logits(images).double(), expected, rtol=0, atol=1e-3)


@pytest.mark.real
def test_matches_the_public_procedure_on_real_features(real: Path) -> None:
    c, images = few_classes(real, 20, step=10)
    method = LPPlusPlus()
    method.fit(c)

    expected = by_autograd(c, images, 300)
    torch.testing.assert_close(method.logits(images).double(), expected, rtol=0, atol=1e-3)


def test_of_epochs_that_tie_the_last_is_taken() -> None:
    (axis,) = LPPlusPlus().space(make_context()).axes

    assert axis.values == tuple(range(300, 0, -10))


@pytest.mark.parametrize(("multiple", "epochs"), [(0.25, 75), (2**-0.5, 212), (2.0, 600)])
def test_multiples_are_whole_epochs(multiple: float, epochs: int) -> None:
    scaled = LPPlusPlus().scaled(make_context(), {"epochs": multiple})

    assert scaled == {"epochs": epochs}


def test_it_is_trained() -> None:
    assert LPPlusPlus.trained
