"""Who may choose the hyper-parameters, and what each choice was allowed to see."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from susx_bench.methods.base import Context, Method
from susx_bench.tuning.grid import best, count_correct

Tune = Literal["fixed", "val"]

TUNES: dict[Tune, str] = {
    "fixed": "one documented setting of the method for everything",
    "val": "the published grid on the labelled val split",
}


@dataclass(frozen=True)
class Choice:
    """The hyper-parameters and what choosing them took.

    Attributes:
        hparams: What was chosen.
        tuned_on: Who chose.
        space: Whose grid was searched; empty where nothing was.
        settings: Number of settings that were compared.
        score: Accuracy of the chosen setting on what it was chosen on, percent; None where
            nothing was searched.
        images: Number of labelled images that were looked at.
        seconds: From features in memory to the choice, everything between included.
    """

    hparams: dict[str, float]
    tuned_on: Tune
    space: str = ""
    settings: int = 0
    score: float | None = None
    images: int = 0
    seconds: float = 0.0


def choose(method: Method, context: Context, tune: Tune) -> Choice:
    """Choose hyper-parameters for a fitted method, and set them.

    Args:
        method: Fitted on `context`.
        context: Its `val` is what ``val`` looks at.
        tune: Who chooses.

    Raises:
        ValueError: If ``val`` is asked for and the context has none.
    """
    started = time.perf_counter()
    space = method.space(context)
    if tune == "fixed" or space is None:
        hparams = method.fixed(context)
        method.set(hparams)
        return Choice(hparams, "fixed", seconds=time.perf_counter() - started)
    if context.val is None:
        raise ValueError("tune 'val' needs validation images in the context")
    counts = count_correct(method, context.val, space)
    index = best(counts)
    hparams = space.setting(index)
    method.set(hparams)
    return Choice(
        hparams,
        tune,
        space=space.source,
        settings=space.size,
        score=100 * int(counts[index]) / len(context.val.labels),
        images=len(context.val.labels),
        seconds=time.perf_counter() - started,
    )
