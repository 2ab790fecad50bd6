"""The key-value cache of support images that Tip-Adapter introduced and TIP-X keeps."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context

NEAR = 0.8
"""Cosine of two images of one class, about what it is for every encoder tried (0.76 to 0.84)."""

_PADDED = 4  # the (shot, class) layout may be so many times as large as the support
_FEW_SHOTS = 4
_RESTART = 40  # steps after which a running product starts from an exponential again


def cache_logits(affinity: Tensor, values: Tensor, beta: float) -> Tensor:
    r"""Score images against a key-value cache.

    .. math:: \exp\bigl(-\beta\,(1 - f F^\top)\bigr)\,L

    Args:
        affinity: Cosine of image and support features :math:`f F^\top`, ``(B, M)``.
        values: Support labels :math:`L`, ``(M, K)``, see `class_values`.
        beta: Sharpness, > 0. No unit: it multiplies a cosine distance in [0, 2].

    Returns:
        Logits ``(B, K)``, each in ``[0, M]``: a sum of weights, not a mean, so more shots give
        larger values and `alpha` must follow.

    Raises:
        ValueError: If `beta` is not positive.

    Source:
        Zhang et al., *Tip-Adapter*, ECCV 2022, arXiv:2207.09519, equation 5.
    """
    if beta <= 0:
        raise ValueError(f"beta must be positive, got {beta}")
    return torch.exp(-(beta - beta * affinity)) @ values


def class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Weight of each class's support images, ``(K,)``: mean class count over its own count.

    Exactly 1 everywhere where the classes are balanced, 0 for a class without images. Without it
    a class with more support images has a larger cache sum, and in TIP-X a lower one, whatever
    the image shows.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    weights = (len(labels) / num_classes) / counts.clamp(min=1).double()
    return torch.where(counts > 0, weights, 0).float()


def class_values(context: Context, *, balance: bool) -> Tensor:
    """Support labels as cache values, ``(M, K)``: one-hot rows, weighted if `balance`."""
    labels = context.support_labels
    values = F.one_hot(labels, context.num_classes).to(context.text.dtype)
    if balance:
        values = values * class_weights(labels, context.num_classes).to(values.dtype)
    return values


def place_in_class(labels: Tensor) -> Tensor:
    """How many labels before each one are the same, ``(M,)``."""
    order = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    first = counts.cumsum(0) - counts
    place = torch.empty_like(labels)
    place[order] = torch.arange(len(labels), device=labels.device) - first[labels[order]]
    return place


def over_root_shots(setting: Mapping[str, float], context: Context) -> dict[str, float]:
    """A setting for one shot at the context's: weights fall with the root, ``beta`` stays."""
    root = math.sqrt(max(context.shots, 1.0))
    return {name: value if name == "beta" else value / root for name, value in setting.items()}


def falls(affinity: Tensor, betas: Sequence[float]) -> bool:
    """Whether `cache_sweep` falls from step to step: no cosine above 1, no beta below the last.

    Rows of a feature bundle may be longer than 1 by a rounding, and their cosines too.
    """
    return list(betas) == sorted(betas) and bool((affinity <= 1).all())


def sharpened(fixed: Mapping[str, float], multiples: Mapping[str, float]) -> dict[str, float]:
    """Multiples of a setting in which ``alpha`` makes up for ``beta``.

    A sharper cache is also a lower one. So that steps in the two do not undo each other, ``alpha``
    also moves with ``beta`` as keeps the weight of a support image at cosine `NEAR` the same.
    """
    scaled = {name: fixed[name] * multiples.get(name, 1.0) for name in fixed}
    scaled["alpha"] *= math.exp((1 - NEAR) * (scaled["beta"] - fixed["beta"]))
    return scaled


def cache_sweep(
    affinity: Tensor, values: Tensor, betas: Sequence[float]
) -> Iterator[tuple[Tensor, Tensor]]:
    """`cache_logits` at one sharpness after another, for less than one at a time.

    The sums over a class need no product with one-hot labels: the support is laid out as
    (shot, class) and summed over shots. On evenly spaced `betas` the exponential of one is that
    of the one before times a constant matrix.

    Args:
        affinity: Cosines ``(B, M)``.
        values: As of `class_values`: one non-zero a row, the same for all rows of a class.
        betas: Each > 0.

    Yields:
        Logits ``(B, K)``, in fp32 at least, and a bound on how far they and `cache_logits` may
        lie apart by rounding, ``(B,)``. The next step overwrites neither.
    """
    dtype = torch.promote_types(values.dtype, torch.float32)
    affinity = affinity.to(dtype)
    images, num_classes = len(affinity), values.shape[1]
    labels = values.argmax(-1)
    shots = int(torch.bincount(labels, minlength=num_classes).max())
    weights = values.to(dtype).amax(0)
    uneven = bool((weights != 1).any())
    unit = torch.finfo(values.dtype).eps
    if shots * num_classes > _PADDED * len(labels):  # one large class would pad all the others
        for beta in betas:
            logits = cache_logits(affinity, values.to(dtype), beta)
            yield logits, (4 * abs(beta) + shots + 8) * unit * logits.amax(-1)
        return
    # Place of each support image in the (shot, class) layout; what is left over is padding.
    distance = affinity.new_full((images, shots * num_classes), torch.inf)
    distance[:, place_in_class(labels) * num_classes + labels] = 1 - affinity

    # Only upwards: the other way the factor of a padding place is infinite.
    step = max(betas[1] - betas[0], 0.0) if len(betas) > 2 else 0.0
    factor = torch.exp(-step * distance) if step else distance
    product = distance
    for i, beta in enumerate(betas):
        even = i > 0 < step and abs(beta - betas[i - 1] - step) <= 1e-9 * abs(beta)
        if even and i % _RESTART:
            product *= factor
        else:
            product = torch.exp(-beta * distance)
        by_shot = product.view(images, shots, num_classes)
        # Plain additions are several times faster than a reduction over so short an axis.
        if 1 < shots <= _FEW_SHOTS:
            logits = functools.reduce(torch.add, by_shot.unbind(1))
        else:
            logits = by_shot.sum(1)
        if uneven:
            logits *= weights
        # Relative: beta roundings of the exponent, one per step of the product, one per summand.
        rounding = (4 * abs(beta) + 2 * _RESTART + shots + 8) * unit
        yield logits, rounding * logits.amax(-1)
