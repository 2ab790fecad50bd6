"""The weights and the bias of a fitted method whose logits are linear in the image's feature."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Method
from susx_bench.methods.ties import first_alike

TOLERANCE = 1e-4
"""Most that logits may differ from linear ones, as a share of the largest of them (at least 1)."""
STEP = 1e-3
"""How much lower the bias of a class is that nothing tells from an earlier one."""
_ROWS = 512  # of the text and of the support that linearity is tested on
_DRAWN = 64
_SEED = 1


class LinearHead(NamedTuple):
    """A linear classifier on unit image features: ``images @ weights.T + bias``.

    Attributes:
        weights: ``(K, D)``.
        bias: ``(K,)``.
    """

    weights: Tensor
    bias: Tensor

    def logits(self, images: Tensor) -> Tensor:
        """Score unit image features ``(B, D)``: ``(B, K)``."""
        return images @ self.weights.T + self.bias


class NotLinearError(ValueError):
    """A method's answer is no linear function of the image's feature; the message says why."""


def linear_head(method: Method, context: Context) -> LinearHead:
    """Take the weights and the bias out of a fitted method.

    The logits of the 2 D unit vectors along the axes give both, whatever the method. Whether they
    say it all is tested on the text, on support images and on random directions: logits may differ
    by what all classes of an image share, which changes no answer.

    Of classes that nothing tells apart the first wins by rule. The bias of the others is lower by
    `STEP`, so that rounding elsewhere does not decide.

    Args:
        method: Fitted on `context`, with its hyper-parameters set.
        context: What it was fitted on.

    Returns:
        fp32 weights and bias.

    Raises:
        NotLinearError: If the method is transductive or streaming, reads more than one unit
            feature per image, or its logits are not linear.
    """
    if method.regime != "inductive":
        raise NotLinearError(
            f"{method.name} is {method.regime}: its answer for an image depends on other images"
        )
    if "spatial" in method.needs or "norms" in method.needs:
        what = "the patches" if "spatial" in method.needs else "the length of the feature"
        raise NotLinearError(f"{method.name} reads {what} of an image beside its unit feature")
    width = context.text.shape[1]
    axes = torch.eye(width, dtype=context.text.dtype, device=context.text.device)
    generator = torch.Generator().manual_seed(_SEED)
    drawn = F.normalize(torch.randn(_DRAWN, width, generator=generator), dim=-1).to(axes)
    probes = torch.cat([context.text[:_ROWS], context.support[:_ROWS], drawn])
    up, down, seen = (method.logits(rows).double() for rows in (axes, -axes, probes))
    for shared in (False, True):
        if shared:  # what all classes have in common may bend
            up, down, seen = (rows - rows.mean(1, keepdim=True) for rows in (up, down, seen))
        weights, bias = (up - down).T / 2, ((up + down) / 2).mean(0)
        off = float((probes.double() @ weights.T + bias - seen).abs().max())
        if off <= TOLERANCE * max(1.0, float(seen.abs().max())):
            break
    else:
        why = f": {method.nonlinear}" if method.nonlinear else ""
        raise NotLinearError(
            f"{method.name} is not linear in the image's feature{why} (its logits are off by "
            f"{off:.2g} from the nearest linear ones)"
        )
    first = first_alike(context, method.needs)
    later = first != torch.arange(len(first), device=first.device)
    weights, bias = weights[first], bias[first] - STEP * later
    return LinearHead(weights.float().contiguous(), bias.float())
