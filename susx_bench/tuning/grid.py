"""The published search: try every setting of a grid on labelled images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from susx_bench.methods.base import Labelled, LinearMethod, Method, SearchSpace
from susx_bench.methods.ties import top1
from susx_bench.tuning.exact import LiteralChunks, Rows, check_terms, position

_ELEMENTS = 2**18  # logits held at once: they stay in the processor's cache


def count_correct(
    method: Method,
    images: Labelled,
    space: SearchSpace,
    first: Tensor | None = None,
) -> Tensor:
    """Number of images each setting gets right, by the literal expression of the published loops.

    Args:
        method: Fitted; its hyper-parameters are left as the last setting has them.
        images: What to score.
        space: The grid.
        first: As in `susx_bench.methods.ties.top1`.

    Returns:
        Counts over the grid, int64, of shape `space.shape`, on the CPU.
    """
    counts = torch.zeros(space.shape, dtype=torch.int64)
    if not isinstance(method, LinearMethod):
        for index in itertools.product(*(range(n) for n in space.shape)):
            method.set(space.setting(index))
            right = top1(method.logits(images.features), first) == images.labels
            counts[index] = int(right.sum())
        return counts

    for rows in LiteralChunks(method, images):
        counts += _count_rows(method, rows, space, first)
    return counts


def _count_rows(
    method: LinearMethod, rows: Rows, space: SearchSpace, first: Tensor | None
) -> Tensor:
    counts = torch.zeros(space.shape, dtype=torch.int64)
    # Non-linear axes outermost, whatever the published order: their terms are computed once each.
    order = sorted(range(len(space.axes)), key=lambda i: space.axes[i].weight)
    view = counts.permute(order)
    inner = [axis for axis in space.axes if axis.weight]
    outer = [space.axes[i] for i in order if not space.axes[i].weight]
    for index in itertools.product(*(range(len(axis.values)) for axis in outer)):
        method.set({axis.name: axis.values[i] for axis, i in zip(outer, index, strict=True)})
        terms = method.terms(rows.prepared)
        if not inner:
            view[index] = int((top1(terms.base, first) == rows.labels).sum())
            continue
        check_terms(method, terms, space)
        *slow, fast = inner
        for place in itertools.product(*(range(len(axis.values)) for axis in slow)):
            partial = terms.base
            for axis, i in zip(slow, place, strict=True):
                partial = partial + terms.weighted[axis.name] * axis.values[i]
            view[(*index, *place)] = _correct_along(
                partial, terms.weighted[fast.name], fast.values, rows.labels, first
            )
    return counts


def _correct_along(
    partial: Tensor,
    term: Tensor,
    values: Sequence[float],
    labels: Tensor,
    first: Tensor | None,
) -> Tensor:
    """Images that ``partial + term * value`` gets right for every value, ``(len(values),)``."""
    counts = []
    together = max(1, _ELEMENTS // term.numel())
    for start in range(0, len(values), together):
        # A weight is a plain number, as in `Terms.logits`: a tensor would round it to half.
        logits = torch.stack([partial + term * v for v in values[start : start + together]])
        counts.append((top1(logits, first) == labels).sum(-1))
    return torch.cat(counts).cpu()


def best(counts: Tensor) -> tuple[int, ...]:
    """Grid position of the largest count, the first one met where several tie."""
    return position(int(counts.argmax()), counts.shape)
