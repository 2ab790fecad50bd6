"""CLIP without any support: the baseline under every other method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from susx_bench.methods.base import Context, Method, Need


@dataclass
class ZeroShot(Method):
    r"""Cosine between image and class text, scaled.

    .. math:: \text{logits} = s\, f W^\top

    with :math:`s` the encoder's logit scale. No hyper-parameter.

    Source:
        Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*,
        ICML 2021, arXiv:2103.00020, section 3.1.
    """

    name: ClassVar[str] = "zero-shot"
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})
    reference: ClassVar[str] = "radford2021clip"

    def fit(self, context: Context) -> None:
        self._context = context

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` in ``[-s, s]`` for unit image features ``(B, D)``."""
        return clip_logits(images, self._context)


def clip_logits(images: Tensor, context: Context) -> Tensor:
    """CLIP's own logits, ``(B, K)``, in ``[-logit_scale, logit_scale]``.

    Zeros where the context has no text: a sum with them is then of its other terms alone.
    """
    if not context.has_text:
        return images.new_zeros(len(images), context.num_classes)
    return context.logit_scale * images @ context.text.T
