r"""Mixtures of diagonal Gaussians over images, tied to text and to each other by a graph.

TransCLIP and StatA alternate between assignments :math:`z` and the Gaussians. Both divide the
log-likelihood by `TEMPERATURE` against the other terms.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TEMPERATURE = 50.0
"""What the authors divide log-likelihoods by."""

_INNER = 5  # steps on z between two on the Gaussians
_FLOOR = 1e-10  # least variance, where the images of a class are one image


def log_likelihood(images: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    r"""Log-density of each image under each class, without the normalising constant.

    .. math:: -\tfrac12 \sum_d (f_d - \mu_{kd})^2 / \sigma^2_{kd}

    Args:
        images: :math:`f`, ``(N, D)``.
        means: :math:`\mu`, ``(K, D)``.
        variances: :math:`\sigma^2`, ``(K, D)``, or ``(1, D)`` where the classes share them.

    Returns:
        ``(N, K)``, each <= 0 but for rounding.
    """
    centre = images.mean(0)  # the large common part of CLIP features would cancel below
    images, means = images - centre, means - centre
    precision = 1 / variances.clamp_min(_FLOOR)
    squares = images.square() @ precision.T + (precision * means.square()).sum(-1)
    return images @ (precision * means).T - squares / 2


class Moments(NamedTuple):
    """Weighted sums over images, one row per class. Those of two sets of images add up.

    Attributes:
        centre: Point they are taken around, because the large common part of CLIP features would
            cancel in their squares, ``(D,)``.
        mass: Sum of the weights, ``(K, 1)``.
        first: Of the images, less the centre, ``(K, D)``.
        second: Of the squares of that, ``(K, D)``.
    """

    centre: Tensor
    mass: Tensor
    first: Tensor
    second: Tensor

    def plus(self, other: Moments, factor: float) -> Moments:
        """With other images, around the same centre, whose weights are multiplied by a factor."""
        pairs = zip(self[1:], other[1:], strict=True)
        return Moments(self.centre, *(mine + factor * theirs for mine, theirs in pairs))

    def unit_means(self) -> Tensor:
        """Weighted mean of each class at length 1, ``(K, D)``; 0 for one without any weight."""
        means = (self.first + self.mass * self.centre) / _positive(self.mass)
        return torch.nn.functional.normalize(means, dim=-1)

    def scatter(self, means: Tensor) -> Tensor:
        r"""Weighted squares around a point of each class, ``(K, D)``.

        .. math:: \sum_i w_{ik} (f_{id} - \mu_{kd})^2

        Args:
            means: :math:`\mu`, ``(K, D)``.
        """
        away = means - self.centre
        squares = self.second - 2 * away * self.first + self.mass * away.square()
        return squares.clamp_min(0)

    def variances(self, means: Tensor) -> Tensor:
        """Variance of each class around a point, ``(K, D)``; 0 for one without any weight."""
        return self.scatter(means) / _positive(self.mass)


def moments(images: Tensor, weights: Tensor, centre: Tensor) -> Moments:
    """Sum up images.

    Args:
        images: ``(N, D)``.
        weights: >= 0, ``(N, K)``.
        centre: Somewhere in their middle, ``(D,)``.
    """
    away = images - centre
    return Moments(centre, weights.sum(0)[:, None], weights.T @ away, weights.T @ away.square())


def assign(evidence: Tensor, affinity: Tensor, z: Tensor) -> Tensor:
    r"""Let the images of a graph agree on their classes.

    .. math:: z \leftarrow \text{softmax}(e + A z)

    five times over; each step lowers the bound the authors minimise.

    Args:
        evidence: :math:`e`, what speaks for each class besides the neighbours, ``(N, K)``.
        affinity: :math:`A`, sparse and symmetric, ``(N, N)``.
        z: Assignments to start from, rows of probabilities, ``(N, K)``.

    Returns:
        :math:`\log z`, ``(N, K)``.
    """
    log_z = z.log()
    for _ in range(_INNER):
        log_z = torch.log_softmax(evidence + affinity @ log_z.exp(), dim=-1)
    return log_z


def _positive(mass: Tensor) -> Tensor:
    return mass.clamp_min(torch.finfo(mass.dtype).tiny)
