"""Calibrate probabilities: fit a temperature on held-out labelled images, and test it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Labelled, Method, UnfitError
from susx_bench.methods.tag import FOLDS, deal, rest

BINS = 15
"""Bins of the expected calibration error, as usual."""
FEWEST = 8
"""Fewest held-out images for a temperature; with fewer it would be a guess."""

_LOW, _HIGH = math.log(1 / 1000), math.log(1000)  # range of the temperature
_STEPS = 60  # of a golden-section search: the interval shrinks by 1e-12
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Calibration:
    """Quality of probabilities on labelled images that the method had not seen.

    Attributes:
        images: Number of held-out images.
        accuracy: Percent of them that are classified right.
        nll: Mean negative log-likelihood of their labels, in nats.
        ece: Expected calibration error over `BINS` bins, percentage points.
    """

    images: int
    accuracy: float
    nll: float
    ece: float


@dataclass(frozen=True)
class HeldOut:
    """Logits of labelled images by a method that was fitted without them.

    Attributes:
        logits: ``(M, K)``.
        labels: ``(M,)``.
        fold: The fold in which each was held out, ``(M,)``.
    """

    logits: Tensor
    labels: Tensor
    fold: Tensor


def held_out(
    method: Method,
    context: Context,
    hparams: Mapping[str, float],
    labelled: Labelled,
    logits: Callable[[Method, Tensor], Tensor],
) -> HeldOut | None:
    """Score labelled images by a method fitted without them.

    A method without support has never seen them. Otherwise they are dealt into four folds as in
    TAG, and each fold is scored by the method fitted on the others.

    Args:
        method: The method; it is copied, not changed.
        context: The context to fit it on.
        hparams: The chosen hyper-parameters.
        labelled: Labelled images; those of `context` if it has any.
        logits: Scores images ``(B, D)`` by a fitted method.

    Returns:
        The scores, in the order of the folds; None if no image can be held out.
    """
    as_support = Context(
        context.text,
        labelled.features,
        labelled.labels,
        context.logit_scale,
        classes=context.num_classes,
    )
    fold = deal(as_support)
    if not len(context.support):
        return HeldOut(logits(method, labelled.features), labelled.labels, fold.clamp(min=0))
    parts = []
    for number in range(FOLDS):
        out = fold == number
        if not out.any():
            continue
        part = context.part(rest(as_support, fold, number))
        fitted = copy.copy(method)
        try:
            fitted.fit(part)
        except UnfitError:
            continue
        fitted.set(hparams)
        parts.append((logits(fitted, labelled.features[out]), labelled.labels[out], fold[out]))
    if not parts:
        return None
    scores, labels, folds = (torch.cat(values) for values in zip(*parts, strict=True))
    return HeldOut(scores, labels, folds)


def calibrate(held: HeldOut | None) -> tuple[float, Calibration | None]:
    """Fit a temperature on held-out images, and test it by cross-validation over the folds.

    Returns:
        The temperature, fitted on all images, and the quality of the probabilities if each fold
        has the temperature of the others; 1 and None if there are too few images.
    """
    folds = [] if held is None else sorted(set(held.fold.tolist()))
    if held is None or len(held.labels) < FEWEST or len(folds) < 2:
        return 1.0, None
    scaled = torch.empty_like(held.logits)
    for number in folds:
        out = held.fold == number
        scaled[out] = held.logits[out] / temperature(held.logits[~out], held.labels[~out])
    return temperature(held.logits, held.labels), assess(scaled, held.labels)


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that maximises the likelihood of the labels, by a golden-section search.

    Each label is smoothed: a share of 1 / (M + 2) goes to the highest other class. Otherwise no
    finite temperature would be small enough if all M images are right. The likelihood is concave in
    the inverse of the temperature, so it has one maximum.

    Args:
        logits: ``(M, K)``.
        labels: ``(M,)``.

    Source:
        Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017, arXiv:1706.04599; for
        the smoothing, Platt, *Probabilistic Outputs for Support Vector Machines*, 1999.
    """
    rows, label_column = logits.double(), labels[:, None]
    other = rows.scatter(1, label_column, -torch.inf).argmax(-1)
    doubt = 1 / (len(labels) + 2)

    def loss(log_t: float) -> float:
        log_p = torch.log_softmax(rows / math.exp(log_t), dim=-1)
        at_own, at_other = (
            log_p.gather(1, column)[:, 0].mean() for column in (label_column, other[:, None])
        )
        return -float((1 - doubt) * at_own + doubt * at_other)

    low, high = _LOW, _HIGH
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return math.exp((low + high) / 2)


def confidence(logits: Tensor, temperature: float = 1.0) -> float:
    """The mean probability of the highest class of logits ``(N, K)``, in [1/K, 1]."""
    return float((logits.double() / temperature).softmax(-1).amax(-1).mean())


def matched(logits: Tensor, target: float) -> float:
    """The temperature under which the mean confidence of logits ``(N, K)`` equals a target.

    A method that sees all images at once is overconfident. Without labels, the encoder's own
    confidence is the only reference. The answers do not change.
    """
    low, high = _LOW, _HIGH
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if confidence(logits, math.exp(middle)) > target:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def assess(logits: Tensor, labels: Tensor) -> Calibration:
    """Quality of the softmax of logits ``(M, K)``, given the labels ``(M,)``."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    ece = multiclass_calibration_error(
        logits.softmax(-1), labels, num_classes=logits.shape[1], n_bins=BINS, norm="l1"
    )
    return Calibration(
        images=len(labels),
        accuracy=100 * float((logits.argmax(-1) == labels).double().mean()),
        nll=float(F.cross_entropy(logits.double(), labels)),
        ece=100 * float(ece),
    )
