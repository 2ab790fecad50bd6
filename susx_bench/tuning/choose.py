"""Choose hyper-parameters by one of the tunings, and report how."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from susx_bench.methods.base import Context, Labelled, LinearMethod, Method, SearchSpace
from susx_bench.methods.ties import first_alike
from susx_bench.tuning.exact import exact_search
from susx_bench.tuning.grid import best, count_correct
from susx_bench.tuning.names import TUNES as TUNES
from susx_bench.tuning.names import Tune as Tune
from susx_bench.tuning.support import SEEN, cross_validate, too_few

AROUND_FIXED = "multiples of fixed"
"""Name of the search space of `cross_validate`."""

NEARLY = 0.5
"""Settings within this many points of the best are its plateau."""


@dataclass(frozen=True)
class Plateau:
    """The settings that are as good as the chosen one, or nearly so.

    Attributes:
        ties: Settings known to have the best count, the chosen one included. A few whose images
            tie to rounding may be missing, here and below.
        near: Settings within `NEARLY` points of it, including ties.
        ranges: Over the near settings, the smallest and largest value of each hyper-parameter.
    """

    ties: int
    near: int
    ranges: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Choice:
    """The chosen hyper-parameters, with the details of the choice.

    Attributes:
        hparams: The chosen setting.
        tuned_on: The tuning; ``fixed`` if the method has nothing to choose.
        space: Name of the searched grid; empty without a search.
        settings: Number of settings that were compared.
        score: Accuracy of the chosen setting on the labelled images, percent; None without a
            search.
        images: Number of labelled images that were used.
        note: The alternative that was used if the tuning was not possible; else empty.
        plateau: The settings that are nearly as good; None without a grid search.
        seconds: Time from the fitted method to the choice.
        accuracies: Accuracy of every setting, percent, of the grid's shape; None without a grid.
            Exact, except for settings whose images tie to rounding: there a lower bound.
        axes: Name and values of each axis of `accuracies`.
        seen: Datasets on which the constants of this choice were tuned, see `Method`.
    """

    hparams: dict[str, float]
    tuned_on: Tune
    space: str = ""
    settings: int = 0
    score: float | None = None
    images: int = 0
    note: str = ""
    plateau: Plateau | None = None
    seconds: float = 0.0
    accuracies: Tensor | None = field(default=None, repr=False)
    axes: tuple[tuple[str, tuple[float, ...]], ...] = ()
    seen: frozenset[str] = frozenset()


def choose(
    method: Method, context: Context, tune: Tune, labelled: Labelled | None = None
) -> Choice:
    """Choose hyper-parameters for a fitted method, and set them.

    Args:
        method: Fitted on `context`.
        context: The context that the method was fitted on.
        tune: The tuning.
        labelled: Labelled images for ``few-val``, ``val`` and ``test``.

    Raises:
        TypeError: See `Labelled.check`.
        ValueError: See `Labelled.check`; also if one of these tunings has no labelled images, or
            ``published`` has no constants for the method and the dataset.
    """
    started = time.perf_counter()
    if labelled is not None:
        labelled.check(context)
    choice = _choose(method, context, tune, labelled)
    method.set(choice.hparams)
    seconds = time.perf_counter() - started
    return dataclasses.replace(choice, seconds=seconds, seen=_seen(method, context, choice))


def _seen(method: Method, context: Context, choice: Choice) -> frozenset[str]:
    if choice.tuned_on == "published":
        return frozenset({context.dataset})  # published constants are for this dataset
    at_fixed = method.seen_always or choice.tuned_on in ("fixed", "support")
    by_method = frozenset(method.seen if at_fixed else ())
    return by_method | SEEN if choice.space == AROUND_FIXED else by_method


def _choose(method: Method, context: Context, tune: Tune, labelled: Labelled | None) -> Choice:
    space = method.space(context)
    if tune == "published" and (constants := method.published(context.dataset)) is not None:
        return Choice(constants, tune)
    if space is None or tune == "fixed":
        # A method that uses val by itself is tuned on it, with or without a grid.
        return Choice(method.fixed(context), tune if "val" in method.needs else "fixed")
    if tune == "published":
        raise ValueError(f"'{method.name}' has no published constants for {context.dataset}")
    if tune == "support":
        if note := too_few(context):
            return Choice(method.fixed(context), tune, note=note)
        if (from_support := method.from_support(context)) is not None:
            return Choice(from_support, tune, images=len(context.support_labels))
        validated = cross_validate(method, context, space)
        return Choice(
            validated.hparams,
            tune,
            space=AROUND_FIXED,
            settings=validated.settings,
            score=100 * validated.hits / validated.images,
            images=validated.images,
        )
    if labelled is None:
        raise ValueError(f"tune '{tune}' needs labelled images")
    return _search(method, space, labelled, tune, first_alike(context, method.needs))


def _search(
    method: Method, space: SearchSpace, labelled: Labelled, tune: Tune, first: Tensor
) -> Choice:
    weights = space.weights
    if isinstance(method, LinearMethod) and weights and min(min(a.values) for a in weights) >= 0:
        exact = exact_search(method, labelled, space, first)
        counts, index, correct = exact.lower, exact.index, exact.correct
    else:
        counts = count_correct(method, labelled, space, first)
        index = best(counts)
        correct = int(counts[index])
    images = len(labelled.labels)
    return Choice(
        space.setting(index),
        tune,
        space=space.source,
        settings=space.size,
        score=100 * correct / images,
        images=images,
        plateau=_plateau(space, counts, correct, images),
        accuracies=counts * (100 / images),
        axes=tuple((axis.name, axis.values) for axis in space.axes),
    )


def _plateau(space: SearchSpace, counts: Tensor, correct: int, images: int) -> Plateau:
    near = (counts >= correct - NEARLY / 100 * images).nonzero()
    ranges = {}
    for axis, places in zip(space.axes, near.unbind(1), strict=True):
        values = torch.tensor(axis.values, dtype=torch.float64)[places]
        ranges[axis.name] = (float(values.min()), float(values.max()))
    return Plateau(ties=int((counts == correct).sum()), near=len(near), ranges=ranges)
