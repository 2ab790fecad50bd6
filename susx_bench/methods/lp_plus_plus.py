"""LP++: a linear probe and the text, blended class by class, in gradient steps of derived sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Axis, Context, Method, SearchSpace

EPOCHS = 300
"""Gradient steps of the authors' code."""

_KEPT = 10  # a head is kept every so many steps, and the blend moves as often
_MOMENTUM = 0.9


class _Head(NamedTuple):
    """What scores images: weights ``(K, D)``, bias ``(K,)``, blend ``(K,)``."""

    weights: Tensor
    bias: Tensor
    alpha: Tensor


@dataclass
class LPPlusPlus(Method):
    r"""A linear probe plus text logits with a multiplier of its own for each class.

    .. math:: \text{logits} = f V^\top + b + \alpha \odot f W^\top

    trained on the mean cross-entropy of the :math:`N` support images. :math:`V` starts as the sum
    of each class's images, :math:`b` at 0, and all :math:`\alpha_k` at 250 times the mean over
    classes of the mean cosine of a class's images with its text. :math:`V` and :math:`b` take one
    step of gradient descent with momentum 0.9 per epoch, of size
    :math:`4 N / \lambda_{\max}(F^\top F)`. :math:`\alpha` takes one every ten epochs, of size
    :math:`N / (4 \max_k \sum_i (f_i^\top w_k)^2)`, along its gradient added up over all epochs so
    far, as in the authors' code.

    Their bias starts at random and here at 0, so that nothing is random. Means over classes leave
    out those without images.

    Attributes:
        epochs: Steps on :math:`V`, >= 1. The authors take the one of 300 that does best on val;
            ``val`` searches every tenth of these and, as they do, takes the last of the best.
            The default is their last.

    Source:
        Huang et al., *LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP*, CVPR
        2024; initial values, step sizes and order of updates as in the authors' code.
    """

    name: ClassVar[str] = "lp++"
    reference: ClassVar[str] = "huang2024lp"
    trained: ClassVar[bool] = True

    epochs: int = EPOCHS

    def fit(self, context: Context) -> None:
        self._context = context
        self._heads: dict[float, _Head] = {}

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` of unit image features ``(B, D)``."""
        if self.epochs not in self._heads:
            self._heads = train(self._context, self.epochs)
        head = self._heads[self.epochs]
        return images @ head.weights.T + head.bias + head.alpha * (images @ self._context.text.T)

    def scaled(self, context: Context, multiples: Mapping[str, float]) -> dict[str, float]:
        """`fixed` with the epochs multiplied, whole and at least one."""
        return {"epochs": max(1, round(EPOCHS * multiples.get("epochs", 1.0)))}

    def space(self, context: Context) -> SearchSpace:
        """Every tenth epoch, the last first: of several that tie it wins."""
        steps = tuple(float(epoch) for epoch in range(EPOCHS, 0, -_KEPT))
        return SearchSpace((Axis("epochs", steps),), source="lp++")


def train(context: Context, epochs: float) -> dict[float, _Head]:
    """Train a head, see `LPPlusPlus`.

    Returns:
        The heads after each tenth epoch and the last.
    """
    f, w = context.support.double(), context.text.double()
    cosines = f @ w.T
    labels = F.one_hot(context.support_labels, context.num_classes).double()
    counts = labels.sum(0)
    own = (labels * cosines).sum(0) / counts.clamp(min=1)

    v, b = labels.T @ f, f.new_zeros(len(w))
    alpha = 250 * own.sum() / (counts > 0).sum() * f.new_ones(len(w))
    step = 4 * len(f) / float(torch.linalg.matrix_norm(f, ord=2)) ** 2
    alpha_step = len(f) / (4 * cosines.square().sum(0).max())
    v_speed, b_speed = torch.zeros_like(v), torch.zeros_like(b)
    summed = torch.zeros_like(alpha)

    heads = {}
    for epoch in range(1, int(epochs) + 1):
        error = ((f @ v.T + b + alpha * cosines).softmax(-1) - labels) / len(f)
        v_speed = _MOMENTUM * v_speed + error.T @ f
        b_speed = _MOMENTUM * b_speed + error.sum(0)
        summed = summed + (error * cosines).sum(0)
        v, b = v - step * v_speed, b - step * b_speed
        if epoch % _KEPT == 0:
            alpha = alpha - alpha_step * summed
        if epoch % _KEPT == 0 or epoch == epochs:
            heads[float(epoch)] = _Head(*(part.to(context.text.dtype) for part in (v, b, alpha)))
    return heads
