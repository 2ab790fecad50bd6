"""Hyper-parameters from the support set alone: cross-validation that leans towards `fixed`."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from susx_bench.methods.base import Axis, Context, Labelled, LinearMethod, Method, SearchSpace
from susx_bench.methods.ties import top1

FOLDS = 4
MIN_SHOTS = 4
"""Fewest images per class: with fewer, the rule was no better than `fixed`, at times much worse."""

SEEN = frozenset({"ucf101", "caltech101", "digits"})
"""Datasets on whose test accuracies these rules were chosen, see `docs/tuning.md`."""

SEED = 0
WEIGHT_MULTIPLES = (0.0, *(2.0**i for i in range(-3, 4)))
OTHER_MULTIPLES = tuple(2.0 ** (i / 2) for i in range(-4, 3))


@dataclass(frozen=True)
class Chosen:
    """The choice of a cross-validation.

    Attributes:
        hparams: The setting, for the whole support set.
        hits: Number of held-out support images that it classified right.
        images: Number of support images.
        settings: Number of settings compared.
    """

    hparams: dict[str, float]
    hits: int
    images: int
    settings: int


def too_few(context: Context) -> str:
    """The reason why the support set cannot be cross-validated; empty if it can."""
    fewest = int(torch.bincount(context.support_labels, minlength=context.num_classes).min())
    if fewest >= MIN_SHOTS:
        return ""
    images = "image" if fewest == 1 else "images"
    return f"fixed: {fewest} support {images} in a class, cross-validation takes {MIN_SHOTS}"


def cross_validate(method: Method, context: Context, space: SearchSpace) -> Chosen:
    """Choose multiples of the method's `fixed` setting by held-out accuracy.

    Four class-balanced folds; each is scored by the method fitted on the other three. Among the
    settings that are not worse than the best one by more than one standard error (of the paired
    difference: a sign test on the images that only one of the two gets right), the one the fewest
    grid steps from `fixed` is taken. Support images are often views of near-duplicates, so a held
    out one overrates a sharp cache; the way back to `fixed` bounds what that can do.

    The folds have fewer shots than the whole. What carries over is the multiple: `fixed` knows how
    a setting follows the number of shots.

    Args:
        method: Any method with a search space; it is copied, not changed.
        context: At least `MIN_SHOTS` support images per class.
        space: The method's published grid; only its names are used.
    """
    axes = [
        Axis(axis.name, WEIGHT_MULTIPLES if axis.weight else OTHER_MULTIPLES, axis.weight)
        for axis in sorted(space.axes, key=lambda axis: axis.weight)
    ]
    multiples = [
        dict(zip([axis.name for axis in axes], values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]
    fold = deal(context.support_labels, context.num_classes, FOLDS, SEED)
    hits = torch.zeros(len(multiples), len(fold), dtype=torch.bool)
    for number in range(FOLDS):
        out = fold == number
        part = dataclasses.replace(context.part(~out), val=None)
        fold_method = copy.copy(method)
        fold_method.fit(part)
        settings = [fold_method.scaled(part, multiple) for multiple in multiples]
        held_out = Labelled(context.support[out], context.support_labels[out])
        for i, right in enumerate(_right(fold_method, held_out, settings)):
            hits[i, out.cpu()] = right.cpu()
    winner = lean(hits, _steps_from_one(axes))
    return Chosen(
        hparams=method.scaled(context, multiples[winner]),
        hits=int(hits[winner].sum()),
        images=len(fold),
        settings=len(multiples),
    )


def deal(labels: Tensor, num_classes: int, folds: int, seed: int) -> Tensor:
    """Fold of every image, ``(M,)``: each class is shuffled once and dealt out in turn."""
    generator = torch.Generator().manual_seed(seed)
    fold = torch.empty_like(labels)
    for label in range(num_classes):
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator) % folds
        fold[members] = order.to(labels.device)
    return fold


def lean(hits: Tensor, steps: Tensor) -> int:
    """The setting nearest to the centre that is not clearly worse than the best.

    Whole numbers throughout, so that ties are ties: of all settings with the most hits the
    fewest steps and then the first; of all within one standard error of it the fewest steps, then
    the most hits, then the first.

    Args:
        hits: Which images each setting gets right, ``(settings, images)`` bool.
        steps: Grid steps of each setting from the centre, ``(settings,)`` int64.

    Returns:
        Position of the chosen setting.
    """
    count = hits.sum(1)
    best = int((count * (int(steps.max()) + 1) - steps).argmax())
    lost = (hits[best] & ~hits).sum(1)
    won = (~hits[best] & hits).sum(1)
    near = (lost - won) ** 2 <= lost + won
    order = steps * (hits.shape[1] + 1) - count
    return int(torch.where(near, order, torch.iinfo(torch.int64).max).argmin())


def _steps_from_one(axes: Sequence[Axis]) -> Tensor:
    places = [
        torch.tensor([abs(i - axis.values.index(1.0)) for i in range(len(axis.values))])
        for axis in axes
    ]
    return torch.tensor([sum(int(step) for step in steps) for steps in itertools.product(*places)])


def _right(
    method: Method, images: Labelled, settings: Sequence[Mapping[str, float]]
) -> Iterator[Tensor]:
    """Which images each setting gets right, ``(images,)`` bool one after another."""
    if not isinstance(method, LinearMethod):
        for setting in settings:
            method.set(setting)
            yield top1(method.logits(images.features)) == images.labels
        return
    prepared = method.prepare(images.features)
    terms, last = None, None
    for setting in settings:
        method.set(setting)
        weights = terms.weighted if terms else {}
        other = {name: value for name, value in setting.items() if name not in weights}
        if terms is None or other != last:
            terms = method.terms(prepared)
            last = {name: value for name, value in other.items() if name not in terms.weighted}
        yield top1(terms.logits(setting)) == images.labels
