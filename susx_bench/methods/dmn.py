"""DMN: a memory of test images and one of support images, read by attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Method, Need, Setting
from susx_bench.methods.cache import place_in_class
from susx_bench.methods.memory import entropy, places
from susx_bench.methods.ties import top1
from susx_bench.methods.zero_shot import clip_logits


@dataclass
class DMN(Method):
    r"""A classifier of its own for each image, read from memories of each class.

    A memory holds vectors :math:`m_{kj}` of class :math:`k`. An image :math:`f` reads it as

    .. math:: v_k(f) = \sum_j e^{-\beta (1 - f^\top m_{kj})}\, m_{kj}, \qquad
        P = \text{softmax}_k\Bigl(s\, \frac{f^\top v_k(f)}{\lVert v_k(f) \rVert}\Bigr)

    The static memory holds the class text and the support images. The dynamic one holds these and
    the test images so far of the lowest entropy of :math:`P^{\text{text}}`, CLIP's own
    probabilities, among those that CLIP takes for the class; an image enters before it reads. The
    logits are the sum

    .. math:: P^{\text{text}} + a_d\, P^{\text{dynamic}} + a_s\, P^{\text{static}}

    the last term only where there is a support set. This is the training-free part, on one view
    of each test image and all channels. The authors take the weights, and with a support set the
    channels, that do best on the test labels; here both weights are 1.

    Attributes:
        dynamic_weight: :math:`a_d`, >= 0.
        static_weight: :math:`a_s`, >= 0; no effect without support.
        beta: :math:`\beta`, > 0: sharpness of the attention.
        capacity: Test images a class in the dynamic memory, >= 1.

    Source:
        Zhang et al., *Dual Memory Networks: A Versatile Adaptation Approach for Vision-Language
        Models*, CVPR 2024, arXiv:2403.17589, static and dynamic memory without projections;
        ``beta`` and ``capacity`` as in the authors' scripts.
    """

    name: ClassVar[str] = "dmn"
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})
    reference: ClassVar[str] = "zhang2024dmn"
    no_logits: ClassVar[str] = "its scores are sums of probabilities"
    regime = "streaming"

    dynamic_weight: float = 1.0
    static_weight: float = 1.0
    beta: float = 5.5
    capacity: int = 50

    def fit(self, context: Context) -> None:
        self._context = c = context.as_needed(self.needs)
        shots = int(torch.bincount(c.support_labels, minlength=c.num_classes).max())
        # An empty slot is a zero vector: it adds nothing to what is read.
        memory = c.text.new_zeros(c.num_classes, 1 + shots, c.text.shape[1])
        memory[:, 0] = c.text
        memory[c.support_labels, 1 + place_in_class(c.support_labels)] = c.support
        self._static = memory

    def logits(self, images: Tensor) -> Tensor:
        """Sums of probabilities ``(N, K)`` of test images ``(N, D)``, in the order they came."""
        scale, (num_classes, fixed, width) = self._context.logit_scale, self._static.shape
        clip = clip_logits(images, self._context)
        kept = places(top1(clip).tolist(), entropy(clip).tolist(), self.capacity)

        out = clip.softmax(-1)
        seen = images.new_zeros(num_classes, self.capacity, width)
        for row, image, place in zip(out, images, kept, strict=True):
            if place:
                seen[place] = image
            static = self._read(self._static, image)
            dynamic = static + self._read(seen, image)
            row += self.dynamic_weight * _probabilities(scale, dynamic, image)
            if fixed > 1:
                row += self.static_weight * _probabilities(scale, static, image)
        return out

    def _read(self, memory: Tensor, image: Tensor) -> Tensor:
        """Sum of the memory ``(K, J, D)`` weighted by its likeness to the image, ``(K, D)``."""
        attention = torch.exp(-self.beta * (1 - memory @ image))
        return (attention[:, None] @ memory)[:, 0]


@dataclass
class DMNFewShot(DMN):
    """DMN with a support set, see `DMN`: the authors' training-free few-shot classification."""

    name: ClassVar[str] = "dmn-fs"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "support"})
    settings: ClassVar[frozenset[Setting]] = frozenset({"few-shot"})


def _probabilities(scale: float, read: Tensor, image: Tensor) -> Tensor:
    return (scale * F.normalize(read, dim=-1) @ image).softmax(-1)
