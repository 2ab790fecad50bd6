"""Small random tasks with known shapes, for the tests of methods."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from susx_bench.methods.base import Context, Labelled


def unit(rows: int, width: int, seed: int) -> Tensor:
    """Random unit rows, ``(rows, width)``."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, width, generator=generator), dim=-1)


def clustered(labels: Tensor, text: Tensor, seed: int, noise: float = 0.25) -> Tensor:
    """Random unit rows near the text of their class, ``(len(labels), D)``."""
    generator = torch.Generator().manual_seed(seed)
    jitter = torch.randn(len(labels), text.shape[1], generator=generator)
    return F.normalize(text[labels] + noise * jitter, dim=-1)


def make_context(classes: int = 5, shots: int = 3, width: int = 16, seed: int = 0) -> Context:
    """A balanced task of few images, with all that a method may need.

    Text and support are means of three single prompts per class and of four views per image; the
    val set has 40 images.
    """
    labels = torch.arange(classes)
    prompts = clustered(labels.repeat_interleave(3), unit(classes, width, seed), seed + 3)
    text = F.normalize(prompts.view(classes, 3, width).mean(1), dim=-1)
    support_labels = labels.repeat_interleave(shots)
    views = clustered(support_labels.repeat_interleave(4), text, seed + 1, noise=0.5)
    views = views.view(len(support_labels), 4, width)
    val_labels = torch.arange(40) % classes
    return Context(
        text=text,
        support=F.normalize(views.mean(1), dim=-1),
        support_labels=support_labels,
        logit_scale=20.0,
        val=Labelled(clustered(val_labels, text, seed + 2, noise=0.5), val_labels),
        support_views=views,
        text_prompts=list(prompts.view(classes, 3, width)),
    )


def in_full(rows: Tensor, *, other: bool = False) -> Tensor:
    """Unit rows ``(n, D)`` as long as an encoder may make them; each follows from its row."""
    return rows * (5 + 10 * rows[:, int(other), None].abs())


def with_patches(images: Tensor, *, other: bool = False) -> Tensor:
    """Image features and those of four patches that follow from them, ``(B, 1 + 4, D)``."""
    step = -1 if other else 1
    turned = torch.stack([images.roll(step * place, dims=-1) for place in range(1, 5)], dim=1)
    patches = F.normalize(images[:, None] + turned, dim=-1).half().float()
    return torch.cat([images[:, None], patches], dim=1)


def write_bundle(path: Path, context: Context, test_labels: Tensor) -> None:
    """Write a task with all that a method may need; its test images are near random texts."""
    text, val, views = context.text, context.val, context.support_views
    assert val is not None
    assert views is not None
    assert context.text_prompts is not None
    near = torch.randint(len(text), test_labels.shape, generator=torch.Generator().manual_seed(7))
    tensors = {
        "text": text,
        "text_prompts": torch.stack(list(context.text_prompts)),
        "support": context.support,
        "support_labels": context.support_labels,
        "support_views": views,
        "val": val.features,
        "val_labels": val.labels,
        "test": clustered(near, text, seed=8, noise=0.5),
        "test_labels": test_labels,
    }
    lengths = {
        f"{n}_norms": in_full(tensors[n]).norm(dim=-1) for n in ("text", "support", "val", "test")
    }
    patches = {
        n: with_patches(tensors[of])[:, 1:]
        for n, of in (("spatial", "test"), ("val_spatial", "val"))
    }
    meta = {"dataset": "made", "encoder": "none", "logit_scale": context.logit_scale}
    content = {name: rows.contiguous() for name, rows in (tensors | lengths | patches).items()}
    save_file(content, path, metadata={"bundle": json.dumps(meta)})
