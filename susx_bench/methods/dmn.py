"""DMN: a memory of test images and one of support images, read by attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from susx_bench.methods.base import Context, Method, Need, Setting
from susx_bench.methods.cache import place_in_class
from susx_bench.methods.memory import entropy, places
from susx_bench.methods.ties import top1
from susx_bench.methods.zero_shot import clip_logits

_BLOCK = 64  # images whose cosines are computed together; of no effect but rounding
_SMALLEST = 1e-12  # length of what is read, at least


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
        capacity: Test images per class in the dynamic memory, >= 1.

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
        r"""Sums of probabilities ``(N, K)`` of test images ``(N, D)``, in the order they came.

        What is read is never formed. With the weights :math:`a_j` of a class's slots, their cosines
        with the image and the products :math:`G` of the slots with each other,

        .. math:: f^\top v = \sum_j a_j f^\top m_j, \qquad \lVert v \rVert^2 = a^\top G a

        so an image costs a class a few numbers a slot and not a vector. The cosines of a block of
        images with what is in memory are one product; an image that enters adds its own.
        """
        num_classes, fixed, width = self._static.shape
        clip = clip_logits(images, self._context)
        kept = places(top1(clip).tolist(), entropy(clip).tolist(), self.capacity)

        out = clip.softmax(-1)
        memory = images.new_zeros(num_classes, fixed + self.capacity, width)
        memory[:, :fixed] = self._static
        products = images.new_zeros(num_classes, fixed + self.capacity, fixed + self.capacity)
        products[:, :fixed, :fixed] = self._static @ self._static.mT
        used = fixed  # slots that an image has entered in some class
        for start in range(0, len(images), _BLOCK):
            block = images[start : start + _BLOCK]
            cosines = images.new_zeros(len(block), num_classes, fixed + self.capacity)
            cosines[..., :used] = (block @ memory[:, :used].flatten(0, 1).T).view(
                len(block), num_classes, used
            )
            for i, (row, image) in enumerate(zip(out[start:], block, strict=False)):
                if place := next(kept):
                    label, slot = place[0], fixed + place[1]
                    used = max(used, slot + 1)
                    memory[label, slot] = image
                    cosines[i:, label, slot] = block[i:] @ image
                    products[label, slot] = products[label, :, slot] = memory[label] @ image
                row += self.dynamic_weight * self._read(cosines[i, :, :used], products)
                if fixed > 1:
                    row += self.static_weight * self._read(cosines[i, :, :fixed], products)
        return out

    def _read(self, cosines: Tensor, products: Tensor) -> Tensor:
        """Probabilities ``(K,)`` of what an image reads in the first J slots of each class.

        Args:
            cosines: Of the slots with the image, ``(K, J)``.
            products: Of the slots of a class with each other, ``(K, at least J, at least J)``.
        """
        slots = cosines.shape[1]
        attention = torch.exp(-self.beta * (1 - cosines))
        square = (attention[:, None] @ products[:, :slots, :slots])[:, 0].mul_(attention).sum(-1)
        length = square.clamp(min=0).sqrt().clamp(min=_SMALLEST)
        return (self._context.logit_scale * (attention * cosines).sum(-1) / length).softmax(-1)


@dataclass
class DMNFewShot(DMN):
    """DMN with a support set, see `DMN`: the authors' training-free few-shot classification."""

    name: ClassVar[str] = "dmn-fs"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "support"})
    settings: ClassVar[frozenset[Setting]] = frozenset({"few-shot"})
