"""VisDesc: an image is compared with each of a class's descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from susx_bench.methods.base import Context, Method, Need


@dataclass
class VisDesc(Method):
    r"""The mean cosine with a class's descriptors, scaled.

    .. math:: \text{logits}_c = s\, \frac{1}{|D(c)|} \sum_{d \in D(c)} f\, w_{cd}^\top

    with :math:`w_{cd}` the unit embedding of "*c*, which has *d*", see
    `susx_bench.prompts.kinds.described`. The mean is not scaled to length 1: a class whose
    descriptors disagree has a shorter one, and lower logits. No hyper-parameter.

    Source:
        Menon and Vondrick, *Visual Classification via Description from Large Language Models*,
        ICLR 2023, arXiv:2210.07183, equation 1, and the public ``load.py``.
    """

    name: ClassVar[str] = "visdesc"
    prompts: ClassVar[str] = "visdesc"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "text-prompts"})
    reference: ClassVar[str] = "menon2023visual"

    def fit(self, context: Context) -> None:
        prompts = context.text_prompts
        assert prompts is not None
        self._scale = context.logit_scale
        self._means = torch.stack([rows.mean(0) for rows in prompts])

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` in ``[-s, s]`` for unit image features ``(B, D)``."""
        return self._scale * images @ self._means.T
