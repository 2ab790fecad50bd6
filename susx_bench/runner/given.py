"""Collect the stored features of a dataset, to be written for other programs."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from susx_bench.errors import OptionError
from susx_bench.events import Listener, ignore
from susx_bench.features.convert.give import Content
from susx_bench.features.task import Need, Task, TaskFeatures
from susx_bench.runner.prepare import encoded
from susx_bench.runner.request import Request
from susx_bench.runner.tasks import Opened, Unbuilt, open_task

SEED = 1
"""The default seed of a draw."""


def features_of(request: Request, listen: Listener = ignore) -> Content:
    """Collect the content of a bundle for one dataset and encoder; encode missing features.

    The support is the whole pool (train or a support set), or a draw of ``shots`` images per class,
    the same draw as a run's. Patches are left out.

    Args:
        request: The dataset, encoder, prompts and support.
        listen: Told of notes and progress.

    Returns:
        The content, as `susx_bench.features.convert.give.read_bundle` reads it from a file.

    Raises:
        OptionError: If it asks for several datasets, shots or seeds, or for a support set that
            must be built first.
        BenchError: If data or an encoder is not available.
    """
    _check_single(request)
    opened = Opened()
    try:
        task = open_task(request, opened, listen)
    except Unbuilt as error:
        raise OptionError(
            f"{error.build.folder} is not there: build it first, `susx-bench support build`."
        ) from error
    draws = opened.draws_of(task)
    parts, positions = [draws.whole], draws.whole
    if not len(task.pool_labels):
        parts = []
    elif request.shots:
        (shots,), (seed,) = request.shots, request.seed or (SEED,)
        parts, positions = draws.draw_in_parts(shots, seed), draws.balanced(shots, seed)
    features = encoded(task, Need(parts), request.launch, listen)
    tensors = _tensors(task, features, parts, positions)
    meta: dict[str, Any] = {
        "dataset": task.dataset,
        "encoder": task.encoder,
        "logit_scale": task.logit_scale,
        "classnames": list(task.classnames),
    }
    return Content(tensors, meta | ({"support_from": task.support} if parts else {}))


def _check_single(request: Request) -> None:
    """Check that a request asks for one dataset and one support set.

    Raises:
        OptionError: If it asks for several, or for a seed without shots.
    """
    for option in ("dataset", "shots", "seed"):
        values = getattr(request, option) or ()
        if len(values) > 1:
            listed = ", ".join(map(str, values))
            raise OptionError(
                f"--{option} {listed}: one export holds one of them. Export each alone."
            )
    if request.seed and not request.shots:
        raise OptionError("--seed draws images of each class: say how many, --shots.")


def _tensors(
    task: Task, features: TaskFeatures, parts: list[Tensor], positions: Tensor
) -> dict[str, Tensor]:
    """The tensors of a bundle by name.

    Args:
        task: The task.
        features: Its features.
        parts: The lists of positions in the pool that cover the support; none without support.
        positions: Positions of the support in the pool.
    """
    tensors: dict[str, Tensor] = {}
    if len(features.text):
        tensors["text"] = features.text
    counts = {len(vectors) for vectors in features.prompts or ()}
    if len(features.text) and len(counts) == 1 and counts != {1}:
        tensors["text_prompts"] = torch.stack(list(features.prompts or ()))
    if parts:
        tensors["support"] = features.support(parts, positions)
        tensors["support_labels"] = task.pool_labels[positions]
        if task.views > 1:
            tensors["support_views"] = features.support_views(parts, positions)
    if features.val is not None:
        tensors["val"], tensors["val_labels"] = features.val.features, features.val.labels
    tensors["test"] = features.test
    if task.test_labels is not None:
        tensors["test_labels"] = task.test_labels
    norms = features.norms
    if norms is None:
        return tensors
    lengths: dict[str, Tensor | None] = {"text": norms.text, "val": norms.val, "test": norms.test}
    if parts:
        of_support = dataclasses.replace(features, parts=norms.parts)
        lengths["support"] = of_support.support(parts, positions)
    for part, rows in lengths.items():
        if rows is not None and part in tensors:
            tensors[f"{part}_norms"] = rows
    return tensors
