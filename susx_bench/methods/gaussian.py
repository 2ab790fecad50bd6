r"""Mixtures of diagonal Gaussians over images, tied to text and to each other by a graph.

TransCLIP and StatA alternate between assignments :math:`z` and the Gaussians. Both divide the
log-likelihood by `TEMPERATURE` against the other terms.
"""

from __future__ import annotations

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


def unit_means(images: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the images of each class, at length 1.

    Args:
        images: ``(N, D)``.
        weights: >= 0, ``(N, K)``.

    Returns:
        ``(K, D)``; 0 for a class without any weight.
    """
    means = weights.T @ images / _positive(weights.sum(0))
    return torch.nn.functional.normalize(means, dim=-1)


def scatter(images: Tensor, weights: Tensor, means: Tensor) -> Tensor:
    r"""Weighted squares around the mean of each class, ``(K, D)``.

    .. math:: \sum_i w_{ik} (f_{id} - \mu_{kd})^2

    Args:
        images: :math:`f`, ``(N, D)``.
        weights: :math:`w`, >= 0, ``(N, K)``.
        means: :math:`\mu`, ``(K, D)``.
    """
    centre = images.mean(0)
    images, means = images - centre, means - centre
    mass = weights.sum(0)[:, None]
    squares = weights.T @ images.square() - 2 * means * (weights.T @ images) + mass * means.square()
    return squares.clamp_min(0)


def variances(images: Tensor, weights: Tensor, means: Tensor) -> Tensor:
    """Variance of each class around its mean, ``(K, D)``; 0 for a class without any weight."""
    return scatter(images, weights, means) / _positive(weights.sum(0))


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
    return mass.clamp_min(torch.finfo(mass.dtype).tiny)[:, None]
