"""SS-Text: class texts and support images added up, for supports of unequal classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Method


@dataclass
class SSText(Method):
    r"""Cosines with prototypes in which a class trusts its images by how many it has.

    .. math:: \text{logits} = s\, f \hat P^\top, \qquad
        p_k = w_k + \frac{s}{M \lambda_k} \sum_{i: y_i = k} f_i, \qquad \lambda_k = \frac1{n_k}

    with :math:`n_k` of the :math:`M` support images in class :math:`k`, and :math:`\hat P` the
    prototypes at length 1. A class without images keeps its text. No hyper-parameter, no val, and
    no step takes the classes for equally large.

    Where classes are equally large, :math:`1 / (M \lambda_k)` is :math:`1 / K`. The authors' code
    also has :math:`\lambda = 1 / M`, for balanced supports; that is not here.

    Source:
        Silva-Rodríguez et al., *Few-Shot, Now for Real: Medical VLMs Adaptation without Balanced
        Sets or Validation*, MICCAI 2025, arXiv:2506.17500; as in the authors' solver.
    """

    name: ClassVar[str] = "ss-text"
    reference: ClassVar[str] = "silvarodriguez2025fewshot"

    def fit(self, context: Context) -> None:
        self._scale = context.logit_scale
        self._prototypes = F.normalize(self.prototypes(context), dim=-1)

    def prototypes(self, context: Context) -> Tensor:
        """The prototypes, of any length, ``(K, D)``."""
        members = F.one_hot(context.support_labels, context.num_classes).to(context.text.dtype)
        share = members.sum(0) / max(1, len(members))
        return context.text + context.logit_scale * share[:, None] * (members.T @ context.support)

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` in ``[-s, s]`` for unit image features ``(B, D)``."""
        return self._scale * images @ self._prototypes.T


@dataclass
class SSTextPlus(SSText):
    r"""SS-Text whose prototypes move away from what they have in common, see `SSText`.

    .. math:: p_k \leftarrow p_k - \frac{2 p_k - \bar p}{\lVert 2 p_k - \bar p \rVert}

    with :math:`\bar p` the mean of the prototypes: what the authors run as SS-Text+, as their code
    writes it.

    Source:
        As of `SSText`.
    """

    name: ClassVar[str] = "ss-text-plus"

    def prototypes(self, context: Context) -> Tensor:
        plain = super().prototypes(context)
        return plain - F.normalize(2 * plain - plain.mean(0), dim=-1)
