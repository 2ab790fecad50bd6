"""ProKeR: kernel ridge regression to what CLIP gets wrong on the support."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Axis, Context, Follows, Method, Need, SearchSpace
from susx_bench.methods.zero_shot import clip_logits

# shots: (beta, ridge), the authors' setting chosen on ImageNet with RN50.
IMAGENET: dict[int, tuple[float, float]] = {
    1: (3.0, 0.05),
    2: (2.6, 0.05),
    4: (1.5, 0.05),
    8: (1.66, 0.07),
    16: (1.7, 0.1),
}


class Grid(NamedTuple):
    """Lowest value, highest value and number of values of both axes."""

    beta: tuple[float, float, int]
    ridge: tuple[float, float, int]


_DEFAULT = Grid((1.5, 3.0, 10), (0.05, 0.25, 10))  # ImageNet's

# The authors' configs/RN50/configs_proker/*.yaml.
PUBLISHED_GRIDS: dict[str, Grid] = {
    "caltech101": Grid((0.5, 3.0, 20), (0.001, 1.0, 10)),
    "dtd": Grid((0.1, 10.0, 20), (0.001, 10.0, 100)),
    "eurosat": Grid((0.5, 3.0, 20), (0.001, 1.0, 100)),
    "fgvcaircraft": Grid((0.5, 3.0, 20), (0.001, 1.0, 10)),
    "flowers102": Grid((0.1, 10.0, 20), (0.001, 10.0, 100)),
    "food101": Grid((0.5, 3.0, 20), (0.001, 1.0, 10)),
    "imagenet": _DEFAULT,
    "imagenet-r": _DEFAULT,
    "imagenet-sketch": _DEFAULT,
    "oxfordpets": Grid((0.01, 5.0, 40), (0.01, 0.3, 20)),
    "stanfordcars": Grid((0.1, 10.0, 5), (0.01, 1.0, 5)),
    "sun397": Grid((0.1, 10.0, 20), (0.01, 10.0, 10)),
    "ucf101": Grid((0.5, 3.0, 20), (0.001, 1.0, 10)),
}


@dataclass
class ProKeR(Method):
    r"""Zero-shot cosines, corrected by kernel ridge regression to their error on the support.

    .. math:: \text{logits} = s\, \bigl(f W^\top + k(f, F)\, A\bigr), \qquad
        A = \bigl(\tfrac1\lambda\, k(F, F) + I\bigr)^{-1} (L - F W^\top)

    with :math:`k(x, y) = e^{-\beta (1 - x^\top y)}` and :math:`L` the one-hot labels. Labels of 1
    and 0 stand beside cosines, which the scale :math:`s` does not multiply before the fit. It
    multiplies the result, which changes no answer.

    A class without support images has a column of zeros in :math:`L`. Where classes have unequal
    numbers of images each image counts the same. Where the encoder reads no text, :math:`W` has no
    rows: it is a regression to the labels.

    Attributes:
        beta: :math:`\beta`, > 0: sharpness of the kernel.
        ridge: :math:`\lambda`, > 0. Not only the ridge: the authors' :math:`A` lacks a factor
            :math:`1 / \lambda` of ridge regression, so a small one also makes the correction small.

    The defaults are the authors' for one shot of ImageNet. `fixed` takes those of the shots,
    interpolated over the logarithm of the mean number of images per class. ``val`` searches their
    grid for the dataset, elsewhere ImageNet's.

    Source:
        Bendou et al., *ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large Vision-Language
        Models*, CVPR 2025, arXiv:2501.11175, section 4; constants and grids as in the authors'
        code.
    """

    name: ClassVar[str] = "proker"
    needs: ClassVar[frozenset[Need]] = frozenset({"support"})
    uses: ClassVar[frozenset[Need]] = frozenset({"text"})
    nonlinear: ClassVar[str] = "its kernel has exponentials of the affinities to the support"
    reference: ClassVar[str] = "bendou2025proker"
    seen: ClassVar[frozenset[str]] = frozenset({"imagenet"})

    beta: float = Follows(3.0)
    ridge: float = Follows(0.05)

    def fit(self, context: Context) -> None:
        self._context = context
        labels = F.one_hot(context.support_labels, context.num_classes)
        # In double precision: the kernel of near-duplicates is nearly singular.
        self._residual = labels.double()
        if context.has_text:
            self._residual -= context.support.double() @ context.text.double().T
        self._cosines = context.support.double() @ context.support.double().T
        self._solved: tuple[tuple[float, float], Tensor] | None = None

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` of unit image features ``(B, D)``."""
        c = self._context
        kernel = torch.exp(-self.beta * (1 - images @ c.support.T))
        return clip_logits(images, c) + c.logit_scale * kernel @ self._weights()

    def _weights(self) -> Tensor:
        r""":math:`A`, ``(M, K)``, kept for the images that follow."""
        key = self.beta, self.ridge
        if self._solved is None or self._solved[0] != key:
            kernel = torch.exp(-self.beta * (1 - self._cosines)) / self.ridge
            kernel.diagonal().add_(1)
            weights = torch.cholesky_solve(self._residual, torch.linalg.cholesky(kernel))
            self._solved = key, weights.to(self._context.text.dtype)
        return self._solved[1]

    def fixed(self, context: Context) -> dict[str, float]:
        """The authors' constants for the shots; between theirs on a line over log shots."""
        beta, ridge = _between(IMAGENET, context.shots)
        return {"beta": beta, "ridge": ridge}

    def space(self, context: Context) -> SearchSpace:
        """The authors' grid: beta outermost."""
        known = PUBLISHED_GRIDS.get(context.dataset)
        whose = context.dataset if known else f"ImageNet's, '{context.dataset}' has none published"
        axes = zip(("beta", "ridge"), known or _DEFAULT, strict=True)
        return SearchSpace(
            tuple(Axis(name, _even(*values)) for name, values in axes), source=f"proker ({whose})"
        )


def _even(low: float, high: float, steps: int) -> tuple[float, ...]:
    """`steps` values from `low` to `high`, both among them."""
    return tuple(low + i * (high - low) / (steps - 1) for i in range(steps))


def _between(table: Mapping[int, tuple[float, float]], shots: float) -> tuple[float, float]:
    """A row of a table by shots; the first or last outside, interpolated over log shots inside."""
    known = sorted(table)
    shots = min(max(shots, known[0]), known[-1])
    low = max(s for s in known if s <= shots)
    high = min(s for s in known if s >= shots)
    share = math.log(shots / low) / math.log(high / low) if high > low else 0.0
    first, second = table[low], table[high]
    return (
        first[0] + share * (second[0] - first[0]),
        first[1] + share * (second[1] - first[1]),
    )
