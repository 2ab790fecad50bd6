"""Group test images for methods that look at several at once, and put them in order."""

from __future__ import annotations

import torch
from torch import Tensor

from susx_bench.options.batches import Batches


def compose(labels: Tensor, batches: Batches, seed: int) -> list[Tensor]:
    """Cut a test set into batches of few classes: each image is in one batch.

    For each batch a number of classes is drawn, from 1 to the most allowed, and then that many of
    the classes that have images left. The batch is a random part of their images, or all of them if
    they are fewer than its size. StatA's authors draw batches in this way too, but draw each batch
    from all images. The labels compose the batches and are used for nothing else.

    Args:
        labels: True classes ``(N,)``.
        batches: Size and number of classes of a batch.
        seed: Seed of the cut.

    Returns:
        Positions, one tensor per batch.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    remaining = {k: order[labels[order] == k].tolist() for k in sorted(set(labels.tolist()))}
    cut = []
    while remaining:
        most = min(batches.classes, len(remaining))
        several = int(torch.randint(1, most + 1, (), generator=generator))
        names = list(remaining)
        drawn = torch.randperm(len(names), generator=generator)[:several].tolist()
        images = torch.tensor([i for name in drawn for i in remaining[names[name]]])
        taken = images[torch.randperm(len(images), generator=generator)[: batches.size]]
        cut.append(taken)
        gone = set(taken.tolist())
        for name in (names[place] for place in drawn):
            remaining[name] = [i for i in remaining[name] if i not in gone]
            if not remaining[name]:
                del remaining[name]
    return cut


def in_order(images: int, seed: int) -> Tensor:
    """Positions of all images in a seeded order; with seed 0 in the order of the split."""
    if seed == 0:
        return torch.arange(images)
    return torch.randperm(images, generator=torch.Generator().manual_seed(seed))
