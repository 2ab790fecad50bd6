"""Small tasks for oracles in plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from susx_bench.methods.base import Context


def without_support(context: Context) -> Context:
    """The same context as a method sees it that needs text alone."""
    return context.part(context.support_labels[:0])


def apart(logits: Tensor | NDArray[np.float64]) -> Tensor:
    """Logits less their mean over the classes, which no answer depends on."""
    rows = torch.as_tensor(logits).double()
    return rows - rows.mean(-1, keepdim=True)


def few_classes(real: Path, classes: int, step: int = 1) -> tuple[Context, Tensor]:
    """The first classes of UCF101 as a task, every so many of their images: context and test."""
    t = load_file(real / "features" / "ucf101_vit-b-16.safetensors")
    ours = t["support_labels"] < classes
    context = Context(t["text"][:classes], t["support"][ours], t["support_labels"][ours])
    return context, t["test"][t["test_labels"] < classes][::step]
