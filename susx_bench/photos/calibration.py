"""Probabilities that can be believed: a temperature from held-out labelled images, and its test."""

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
"""Fewest held-out images that a temperature is fitted on: with fewer it is a guess."""

_LOW, _HIGH = math.log(1 / 1000), math.log(1000)  # of the temperature
_STEPS = 60  # of a golden-section search: the interval shrinks by 1e-12
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Calibration:
    """How good probabilities are on labelled images that the method had not seen.

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
        fold: Which fold each was held out with, ``(M,)``.
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

    A method that was fitted on no support has not seen them in any case. For one that was, four
    folds are dealt as TAG deals them, and each is scored by what is fitted on the rest.

    Args:
        method: The method; it is copied, not changed.
        context: What it is fitted on.
        hparams: The chosen hyper-parameters.
        labelled: Labelled images; those of `context` where it has some.
        logits: Scores images ``(B, D)`` by a fitted method.

    Returns:
        The scores, in the order of the folds; None where no image can be held out.
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
        made = copy.copy(method)
        try:
            made.fit(part)
        except UnfitError:
            continue
        made.set(hparams)
        parts.append((logits(made, labelled.features[out]), labelled.labels[out], fold[out]))
    if not parts:
        return None
    scores, labels, folds = (torch.cat(each) for each in zip(*parts, strict=True))
    return HeldOut(scores, labels, folds)


def calibrate(held: HeldOut | None) -> tuple[float, Calibration | None]:
    """Fit a temperature on held-out images, and test it on those it was not fitted on.

    Returns:
        The temperature, fitted on all of them, and how good the probabilities are when each fold
        has the temperature of the others; 1 and None where there are too few images.
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
    """The temperature under which labels are likeliest, by a golden-section search.

    As if one image in M + 2 were of the highest class that is not its own: where all M are right,
    one more may be wrong, and no finite temperature would be small enough. The likelihood is
    concave in the inverse of the temperature, so it has one maximum.

    Args:
        logits: ``(M, K)``.
        labels: ``(M,)``.

    Source:
        Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017, arXiv:1706.04599; for
        the one image more, Platt, *Probabilistic Outputs for Support Vector Machines*, 1999.
    """
    rows, own = logits.double(), labels[:, None]
    other = rows.scatter(1, own, -torch.inf).argmax(-1)
    doubt = 1 / (len(labels) + 2)

    def loss(log_t: float) -> float:
        log_p = torch.log_softmax(rows / math.exp(log_t), dim=-1)
        at_own, at_other = (log_p.gather(1, each)[:, 0].mean() for each in (own, other[:, None]))
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
    """The temperature under which logits ``(N, K)`` are as sure as a target on average.

    A method that looks at all images at once is surer than it is right: nothing but the encoder's
    own confidence says how sure to be where no label is known. The answers stay as they are.
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
    """How good the softmax of logits ``(M, K)`` is, given the labels ``(M,)``."""
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
