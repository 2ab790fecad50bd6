"""A memory that keeps the images each class is surest of, as TDA and DMN fill theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the softmax of each row, in nats, ``(N,)``."""
    log_p = torch.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(-1)


def places(
    labels: Sequence[int], entropies: Sequence[float], capacity: int
) -> Iterator[tuple[int, int] | None]:
    """Where each image of a stream goes in a memory of `capacity` slots a class.

    An image is kept while its class has room, and then if it is surer than the least sure one,
    whose place it takes.

    Args:
        labels: The class each image is taken for, in the order of the stream.
        entropies: How unsure that is.
        capacity: >= 1.

    Yields:
        Class and slot, or None for an image that is not kept.
    """
    kept: dict[int, list[float]] = {}
    for label, unsure in zip(labels, entropies, strict=True):
        mine = kept.setdefault(label, [])
        if len(mine) < capacity:
            mine.append(unsure)
            yield label, len(mine) - 1
            continue
        worst = max(range(capacity), key=mine.__getitem__)
        if unsure < mine[worst]:
            mine[worst] = unsure
            yield label, worst
        else:
            yield None
