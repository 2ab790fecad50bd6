"""A linear probe: logistic regression on the support features, the trained method users ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Axis, Context, Method, Need, SearchSpace

_STEPS = 1000  # as CLIP's own linear probes
_GRADIENT = 1e-7  # largest entry of the gradient, over `c`, that counts as 0


@dataclass
class LinearProbe(Method):
    r"""Multinomial logistic regression with an L2 penalty. It looks at no text.

    .. math:: \text{logits} = f V^\top + b, \qquad
        \min_{V, b}\; \tfrac12 \lVert V \rVert^2 + \tfrac12 \lVert b \rVert^2
        - C \sum_i \log \text{softmax}(f_i V^\top + b)_{y_i}

    The bias is penalised as a weight is. So there is one minimum, and a class without support
    images has finite logits; it is hardly ever the answer. L-BFGS finds the minimum from zeros in
    double precision, in at most 1000 steps. Nothing is random.

    Attributes:
        c: :math:`C`, > 0: the inverse of the L2 strength. CLIP's own example has 0.316, chosen on
            CIFAR-100 for features as long as the encoder made them, about 10 for ViT-B/32; on unit
            rows the same penalty is 31.6. ``val`` searches the seven values that CLIP's sweep
            starts from, without the halving of the steps around the best that follows there.

    Source:
        Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*,
        ICML 2021, arXiv:2103.00020, appendix A.3.
    """

    name: ClassVar[str] = "linear-probe"
    needs: ClassVar[frozenset[Need]] = frozenset({"support"})
    reference: ClassVar[str] = "radford2021clip"
    seen: ClassVar[frozenset[str]] = frozenset({"cifar100"})
    trained: ClassVar[bool] = True

    c: float = 31.6

    def fit(self, context: Context) -> None:
        self._context = context
        self._solved: tuple[float, Tensor] | None = None

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` of unit image features ``(B, D)``."""
        if self._solved is None or self._solved[0] != self.c:
            given = self._context
            weights = train(given.support, given.support_labels, given.num_classes, self.c)
            self._solved = self.c, weights.to(given.text.dtype)
        weights = self._solved[1]
        return images @ weights[:, :-1].T + weights[:, -1]

    def space(self, context: Context) -> SearchSpace:
        """Every second power of ten from 1e-6 to 1e6."""
        return SearchSpace((Axis("c", tuple(10.0**i for i in range(-6, 7, 2))),), source="clip")


def train(images: Tensor, labels: Tensor, num_classes: int, c: float) -> Tensor:
    """Fit logistic regression, see `LinearProbe`.

    Args:
        images: ``(M, D)``.
        labels: ``(M,)``.
        num_classes: K.
        c: Inverse of the L2 strength, > 0.

    Returns:
        Weights, the bias last, ``(K, D + 1)`` in double precision.
    """
    rows = F.pad(images.double(), (0, 1), value=1.0)
    targets = F.one_hot(labels, num_classes).double()
    weights = torch.zeros(num_classes, rows.shape[1], dtype=rows.dtype, device=rows.device)
    # The loss over C: its size then says little about C, which the stopping rules look at.
    optimiser = torch.optim.LBFGS(
        [weights],
        max_iter=_STEPS,
        max_eval=2 * _STEPS,
        tolerance_grad=_GRADIENT,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        log_p = torch.log_softmax(rows @ weights.T, dim=-1)
        # By hand: predictions are made where nothing may record a gradient.
        weights.grad = (log_p.exp() - targets).T @ rows + weights / c
        return weights.square().sum() / (2 * c) - (targets * log_p).sum()

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights
