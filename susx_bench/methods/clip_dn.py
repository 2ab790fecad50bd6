"""CLIP+DN: a share of the mean image and of the mean text is taken off before the cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Method, Need


@dataclass
class ClipDN(Method):
    r"""Distribution normalisation: cosines of features without a share of their means.

    .. math::
        \text{logits} = s\,
            \frac{f - \lambda \mu_{\text{img}}}{\|f - \lambda \mu_{\text{img}}\|}
            \cdot
            \frac{t - \lambda \mu_{\text{txt}}}{\|t - \lambda \mu_{\text{txt}}\|}

    All features are as long as the encoder made them, and :math:`\mu_{\text{txt}}` is the mean of
    the class texts. :math:`\mu_{\text{img}}` is the mean of images without their labels: here of
    the support set, in `ClipDNVal` of the val split, as in the paper. The authors average the
    accuracies of five draws of 100 images; all images are used here.

    The paper's formula has :math:`\lambda = 1/2`, the public code for classification takes 1/4.

    Attributes:
        share: :math:`\lambda`, >= 0; 0 is zero-shot.

    Source:
        Zhou et al., *Test-Time Distribution Normalization for Contrastively Learned Visual-language
        Models*, NeurIPS 2023, arXiv:2302.11084, section 3, and the public ``compute_zeroshot.py``.
    """

    name: ClassVar[str] = "clip-dn"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "support", "norms"})
    reference: ClassVar[str] = "zhou2023distribution"

    share: float = 0.25

    def fit(self, context: Context) -> None:
        self._text, self._scale = context.text, context.logit_scale
        self._mean = self.unlabelled(context).mean(0)

    def unlabelled(self, context: Context) -> Tensor:
        """The images whose mean is taken off."""
        return context.support

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` in ``[-s, s]`` for image features ``(B, D)`` of their own length."""
        near = F.normalize(images - self.share * self._mean, dim=-1)
        text = F.normalize(self._text - self.share * self._text.mean(0), dim=-1)
        return self._scale * near @ text.T


@dataclass
class ClipDNVal(ClipDN):
    """`ClipDN` with the mean image of the val split, without its labels, as in the paper."""

    name: ClassVar[str] = "clip-dn-val"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "val", "norms"})

    def unlabelled(self, context: Context) -> Tensor:
        assert context.val is not None
        return context.val.features
