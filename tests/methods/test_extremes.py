"""Every method on extreme tasks, as a user runs it: an answer, or a reason on one line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import susx_bench as sb
from susx_bench.registry import METHODS
from susx_bench.testing.task import clustered, unit

Tensors = dict[str, Tensor]
NAMES = METHODS.names()


def made(classes: int = 5, width: int = 16, shots: int = 4, test: int = 30) -> Tensors:
    """A bundle's tensors: texts, and images near those of their classes."""
    text = unit(classes, width, seed=1)
    found = {"text": text}
    for seed, (part, rows) in enumerate(
        {"support": shots * classes, "val": 3 * classes, "test": test}.items(), start=2
    ):
        labels = torch.arange(rows) % classes
        found |= {part: clustered(labels, text, seed, noise=0.4), f"{part}_labels": labels}
    return found


def kept(tensors: Tensors, part: str, rows: Tensor) -> Tensors:
    """The task with some rows of a part, in their order."""
    return tensors | {part: tensors[part][rows], f"{part}_labels": tensors[f"{part}_labels"][rows]}


def of_classes(*classes: int) -> Tensors:
    """The task with support images of some classes alone."""
    task = made()
    return kept(
        task, "support", torch.isin(task["support_labels"], torch.tensor(classes)).nonzero()[:, 0]
    )


def alike(tensors: Tensors, part: str) -> Tensors:
    """The task with all rows of a part equal to its first."""
    return tensors | {part: tensors[part][:1].repeat(len(tensors[part]), 1)}


def cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    return {n: rows.to(dtype) if rows.is_floating_point() else rows for n, rows in tensors.items()}


TASKS: dict[str, Callable[[], Tensors]] = {
    "more classes than dimensions": lambda: made(classes=12, width=8, shots=2),
    "two classes": lambda: made(classes=2),
    "one test image": lambda: made(test=1),
    "equal test rows": lambda: alike(made(), "test"),
    "equal support rows": lambda: alike(made(), "support"),
    "equal texts": lambda: alike(made(), "text"),
    "float16": lambda: cast(made(width=64), torch.float16),
    "bfloat16": lambda: cast(made(width=64), torch.bfloat16),
    "unsorted labels": lambda: kept(
        made(), "support", torch.randperm(20, generator=torch.Generator().manual_seed(5))
    ),
    "a class without support": lambda: of_classes(0, 2, 3, 4),
    "support of the last class": lambda: of_classes(4),
    "one support image": lambda: kept(made(), "support", torch.tensor([3])),
    "one class with one image": lambda: kept(
        made(), "support", torch.arange(4, 20)[torch.arange(4, 20) % 5 != 1].flip(0)
    ),
    "one val image": lambda: kept(made(), "val", torch.tensor([7])),
    "val of one class": lambda: kept(made(), "val", torch.arange(0, 15, 5)),
    "support that is the text": lambda: made() | {"support": made()["text"].repeat(4, 1)},
    "images opposite to their text": lambda: made() | {"test": -made()["text"].repeat(6, 1)},
}


def features(tensors: Tensors) -> sb.Features:
    """The task with all that a method may need beside it."""
    whole = dict(tensors)
    whole["text_prompts"] = torch.stack([tensors["text"]] * 3, 1)
    whole["support_views"] = torch.stack([tensors["support"]] * 2, 1)
    for part, of in (("spatial", "test"), ("val_spatial", "val")):
        whole[part] = torch.stack([tensors[of]] * 4, 1)
    for part in ("text", "support", "val", "test"):
        whole[f"{part}_norms"] = torch.linspace(5, 12, len(tensors[part]))
    return sb.Features(**whole)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", TASKS)
def test_every_method_answers_or_says_why_not(task: str) -> None:
    """One class for each test image, by a margin that is a number: no nan and no infinity."""
    tensors = TASKS[task]()

    # Where all texts are equal most settings tie, and the search counts 200,000 one by one.
    tune = "fixed" if task == "equal texts" else "val"

    results = sb.evaluate(NAMES, features=features(tensors), tune=tune)

    answered = {one.method for one in results.predictions}
    silent = [
        name
        for name in NAMES
        if name not in answered and not any(line.startswith(name) for line in results.blank)
    ]
    assert not silent
    assert len(answered) > 20
    assert all("\n" not in line for line in results.blank)
    for one in results.predictions:
        assert one.top1.shape == one.margin.shape == (len(tensors["test"]),), one.method
        assert np.isfinite(one.margin).all(), one.method
        assert (one.margin >= 0).all(), one.method
        assert set(one.top1.tolist()) <= set(range(len(tensors["text"]))), one.method
