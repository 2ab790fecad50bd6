"""Which class wins: of several with the highest logit the first, on every device."""

from __future__ import annotations

from collections.abc import Set

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import ROUNDINGS, Context, Need

SAME = 1e-6
"""Distance of two unit rows that one text may be encoded to, by rounding."""

_ENTRIES = 1 << 24  # distances held at once: 128 MiB in double precision


def leaders(logits: Tensor) -> Tensor:
    """Classes with the highest logit of each row, to rounding: a mask ``(B, K)``.

    Two classes with one text have one logit, but a matrix product rounds a column by the place it
    stands at. So logits are equal that differ by `ROUNDINGS` roundings of the row's largest number
    or less: 2e-5 where that is 25, as it is for CLIP's own logits. Where some are minus infinity
    that number is the highest.

    Args:
        logits: ``(B, K)``, finite or minus infinity.
    """
    precision = min(torch.finfo(logits.dtype).eps, torch.finfo(torch.float32).eps)
    high, low = logits.amax(-1, keepdim=True), logits.amin(-1, keepdim=True)
    largest = torch.maximum(high, -low.where(low.isfinite(), high)).nan_to_num(neginf=0)
    return logits >= high - ROUNDINGS * precision * largest


def top1(logits: Tensor, first: Tensor | None = None) -> Tensor:
    """The first class with the highest logit, ``(B,)`` int64.

    This is the one place where a class is chosen, in tuning and in prediction.

    Args:
        logits: ``(B, K)``.
        first: As of `first_alike`, where classes may be alike.
    """
    classes = torch.arange(logits.shape[-1], device=logits.device, dtype=torch.int32)
    # Of several largest values `topk` may give any; the smallest of several places is one.
    winner = torch.where(leaders(logits), classes, len(classes)).amin(-1)
    winner = (winner % len(classes)).long()  # % for a row of NaN, which nothing leads
    return winner if first is None else first[winner]


def first_same(rows: Tensor) -> Tensor:
    """For each row the first one that points the same way, to rounding, ``(n,)``.

    Args:
        rows: ``(n, D)``, of any length above 0.
    """
    unit = F.normalize(rows.double(), dim=-1)
    places, found = torch.arange(len(unit), device=rows.device), []
    for part in torch.split(unit, max(1, _ENTRIES // max(1, len(unit)))):
        near = 2 - 2 * part @ unit.T <= SAME**2  # the squared distance
        found.append(torch.where(near, places, len(places)).amin(-1))
    return torch.minimum(torch.cat(found), places)


def first_alike(context: Context, needs: Set[Need]) -> Tensor:
    """For each class the first one that a method cannot tell from it, ``(K,)``.

    Such classes have one text, or the same single prompts, or none, and no support image.
    Exchanging the two changes nothing a method looks at. So only rounding, which an iteration may
    blow up, decides between them, and the first is the answer by rule.

    Args:
        context: What the method is fitted on.
        needs: What it needs; where it looks at val, its labels may tell any two classes apart.
    """
    first = torch.arange(context.num_classes, device=context.text.device)
    if "val" in needs:
        return first
    counts = torch.bincount(context.support_labels, minlength=context.num_classes)
    bare = (counts == 0).nonzero().flatten()
    if len(bare) < 2:
        return first
    if not context.has_text:
        first[bare] = bare[0]
        return first
    first[bare] = bare[first_same(context.text[bare])]
    prompts = context.text_prompts
    if prompts is not None:
        for later in (first != torch.arange(len(first), device=first.device)).nonzero().flatten():
            mine, other = prompts[int(later)], prompts[int(first[later])]
            if mine.shape != other.shape or bool(((mine - other).norm(dim=-1) > SAME).any()):
                first[later] = later
    return first
