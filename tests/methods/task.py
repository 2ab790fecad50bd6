"""Small tasks for oracles in plain loops."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from susx_bench.methods.base import Context


def without_support(context: Context) -> Context:
    """The same context as a method sees it that needs text alone."""
    none = context.support_labels[:0]
    return dataclasses.replace(context, support=context.support[:0], support_labels=none)


def few_classes(real: Path, classes: int, step: int = 1) -> tuple[Context, Tensor]:
    """The first classes of UCF101 as a task, every so many of their images: context and test."""
    t = load_file(real / "features" / "ucf101_vit-b-16.safetensors")
    ours = t["support_labels"] < classes
    context = Context(t["text"][:classes], t["support"][ours], t["support_labels"][ours])
    return context, t["test"][t["test_labels"] < classes][::step]
