"""The features of a dataset as the store has them, to be written for other programs."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from susx_bench.errors import OptionError
from susx_bench.events import Listener, ignore
from susx_bench.features.convert.give import Content
from susx_bench.features.task import Need
from susx_bench.runner.prepare import encoded
from susx_bench.runner.request import Request
from susx_bench.runner.tasks import Opened, Unbuilt, open_task

SEED = 1
"""The draw where nobody says which."""


def features_of(request: Request, listen: Listener = ignore) -> Content:
    """What a bundle holds of one dataset under one encoder; what is not encoded yet is encoded.

    The support is the whole pool, train or a support set, or a draw of ``shots`` images per class,
    the same as a run's. Patches are left out.

    Args:
        request: Which dataset, encoder, prompts and support.
        listen: Told of notes and progress.

    Returns:
        As `susx_bench.features.convert.give.read_bundle` has it of a file.

    Raises:
        OptionError: If it asks for several datasets, shots or seeds, or for a support set that is
            to be built first.
        BenchError: If something cannot be had.
    """
    for option in ("dataset", "shots", "seed"):
        asked = getattr(request, option) or ()
        if len(asked) > 1:
            each = ", ".join(map(str, asked))
            raise OptionError(
                f"--{option} {each}: one export holds one of them. Export each alone."
            )
    if request.seed and not request.shots:
        raise OptionError("--seed draws images of each class: say how many, --shots.")
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
    found = encoded(task, Need(parts), request.launch, listen)

    tensors: dict[str, Tensor] = {}
    if len(found.text):
        tensors["text"] = found.text
    counts = {len(each) for each in found.prompts or ()}
    if len(found.text) and len(counts) == 1 and counts != {1}:
        tensors["text_prompts"] = torch.stack(list(found.prompts or ()))
    if parts:
        tensors["support"] = found.support(parts, positions)
        tensors["support_labels"] = task.pool_labels[positions]
        if task.views > 1:
            tensors["support_views"] = found.support_views(parts, positions)
    if found.val is not None:
        tensors["val"], tensors["val_labels"] = found.val.features, found.val.labels
    tensors["test"] = found.test
    if task.test_labels is not None:
        tensors["test_labels"] = task.test_labels
    if (norms := found.norms) is not None:
        lengths: dict[str, Tensor | None] = {
            "text": norms.text,
            "val": norms.val,
            "test": norms.test,
        }
        if parts:
            lengths["support"] = dataclasses.replace(found, parts=norms.parts).support(
                parts, positions
            )
        for part, rows in lengths.items():
            if rows is not None and part in tensors:
                tensors[f"{part}_norms"] = rows
    meta: dict[str, Any] = {
        "dataset": task.dataset,
        "encoder": task.encoder,
        "logit_scale": task.logit_scale,
        "classnames": list(task.classnames),
    }
    return Content(tensors, meta | ({"support_from": task.support} if parts else {}))
