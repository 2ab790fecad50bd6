"""NCM: the nearest class mean of the support images, also called prototypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from susx_bench.methods.base import Context, Method, Need, Setting
from susx_bench.methods.gda import class_means


@dataclass
class NCM(Method):
    r"""The class whose mean support image is nearest. It reads no text.

    .. math::
        \text{logits}_k = s\, \bigl(f \mu_k^\top - \tfrac12 \lVert \mu_k \rVert^2\bigr)
            = -\tfrac{s}{2}\, \lVert f - \mu_k \rVert^2 + c(f), \qquad
        \mu_k = \frac{1}{n_k} \sum_{i:\, y_i = k} f_i

    with :math:`s` the encoder's logit scale and :math:`c(f)` the same for all classes. No
    hyper-parameter, so no tuning changes it. A class without support images has no mean: the
    method is not defined there.

    Source:
        Mensink et al., *Distance-Based Image Classification: Generalizing to New Classes at
        Near-Zero Cost*, TPAMI 35(11), 2013, section 3.3, with the Euclidean distance; Snell et al.,
        *Prototypical Networks for Few-shot Learning*, NeurIPS 2017, arXiv:1703.05175, equations 1
        and 2, call the means prototypes; Wang et al., *SimpleShot*, 2019, arXiv:1911.04623, take
        them of L2-normalised features, as here.
    """

    name: ClassVar[str] = "ncm"
    settings: ClassVar[frozenset[Setting]] = frozenset({"few-shot"})
    needs: ClassVar[frozenset[Need]] = frozenset({"support"})
    reference: ClassVar[str] = "mensink2013ncm"

    def fit(self, context: Context) -> None:
        means = class_means(context.support, context.support_labels, context.num_classes)
        bias = -means.square().sum(-1) / 2
        scale, kind = context.logit_scale, context.text.dtype
        self._weights, self._bias = (scale * means).to(kind), (scale * bias).to(kind)

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` of unit image features ``(B, D)``."""
        return images @ self._weights.T + self._bias
