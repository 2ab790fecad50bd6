"""Which test images a method sees together that looks at the others, and in which order."""

from __future__ import annotations

import torch
from torch import Tensor

from susx_bench.options.batches import Batches


def compose(labels: Tensor, batches: Batches, seed: int) -> list[Tensor]:
    """Cut a test set into batches of few classes: each image is in one.

    For each batch a number of classes, from 1 to the most there may be, and that many of the
    classes that have images left are drawn; the batch is a random part of their images, or all
    where there are fewer. This is how StatA's authors draw batches, but that they draw each anew
    from all images. Labels compose the batches, and are seen by nothing else.

    Args:
        labels: True classes ``(N,)``.
        batches: Their size and classes.
        seed: Which cut.

    Returns:
        Positions, a tensor a batch.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    left = {k: order[labels[order] == k].tolist() for k in sorted(set(labels.tolist()))}
    found = []
    while left:
        most = min(batches.classes, len(left))
        several = int(torch.randint(1, most + 1, (), generator=generator))
        names = list(left)
        drawn = torch.randperm(len(names), generator=generator)[:several].tolist()
        images = torch.tensor([i for name in drawn for i in left[names[name]]])
        taken = images[torch.randperm(len(images), generator=generator)[: batches.size]]
        found.append(taken)
        gone = set(taken.tolist())
        for name in (names[place] for place in drawn):
            left[name] = [i for i in left[name] if i not in gone]
            if not left[name]:
                del left[name]
    return found


def in_order(images: int, seed: int) -> Tensor:
    """Positions of all images in a seeded order; with seed 0 in the split's."""
    if seed == 0:
        return torch.arange(images)
    return torch.randperm(images, generator=torch.Generator().manual_seed(seed))
