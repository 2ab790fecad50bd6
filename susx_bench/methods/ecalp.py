"""ECALP: labels spread over texts, support and test images in the channels that matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Method, Need, Setting
from susx_bench.methods.graph import edges, nearest, normalised, symmetric

_SCALE = 1e4  # the authors' factor before a softmax
_FLOOR = 1e-10  # least variance of a channel, where the support is one image


@dataclass
class ECALP(Method):
    r"""Label propagation on a graph whose edges depend on the task.

    The nodes are the class texts :math:`w_c`, the support images :math:`g_j` if there are any, and
    the test images :math:`f_i`. A test image is joined to its nearest texts, support images and
    test images, itself counted:

    .. math:: a_{ic} = (f_i^\top w_c)^\gamma, \qquad
        a_{ij} = \cos(\sigma_g^{-2} \odot f_i, g_j)^\gamma, \qquad
        a_{ii'} = \cos(\sigma_w^2 \odot f_i, f_{i'})^\gamma

    with :math:`\sigma_w^2` the variance of each channel over the texts, which is large where the
    classes differ, and :math:`\sigma_g^2` that over the support. Negative cosines count as 0. With
    :math:`S = A + A^\top` and :math:`D` its row sums, the labels of the test images start at 0 and
    are, three times over,

    .. math:: Y \leftarrow \alpha\, D^{-1/2} S D^{-1/2}\, Y

    while those of texts and support stay one-hot. The logits are :math:`10^4\, Y`.

    The authors let the graph grow one test image at a time and keep the rows of :math:`Y` from one
    image to the next; here it holds all test images at once, their equations for a given graph.

    Attributes:
        text_neighbours: Nearest texts of an image, >= 1.
        support_neighbours: Nearest support images of an image, >= 1; no effect without support.
        image_neighbours: Nearest test images of an image, >= 1.
        gamma: :math:`\gamma`, > 0.
        alpha: :math:`\alpha`, in (0, 1].
        iterations: How many edges a label travels, >= 1.

    Source:
        Li et al., *Efficient and Context-Aware Label Propagation for Zero-/Few-Shot Training-Free
        Adaptation of Vision-Language Model*, ICLR 2025, arXiv:2412.18303, context-aware edge
        re-weighting and iterative label propagation; constants as in the authors' code, one
        setting for all their experiments.
    """

    name: ClassVar[str] = "ecalp"
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})
    reference: ClassVar[str] = "li2025ecalp"
    regime = "transductive"

    text_neighbours: int = 3
    support_neighbours: int = 8
    image_neighbours: int = 8
    gamma: float = 10.0
    alpha: float = 1.0
    iterations: int = 3

    def fit(self, context: Context) -> None:
        self._context = context.as_needed(self.needs)

    def logits(self, images: Tensor) -> Tensor:
        """Scores ``(N, K)``, >= 0, of test images ``(N, D)``."""
        text, support = self._context.text, self._context.support
        known = len(text) + len(support)  # texts first, then the support, then the images
        seeds = torch.eye(len(text), dtype=images.dtype, device=images.device)
        seeds = torch.cat([seeds, seeds[self._context.support_labels]])

        found = [nearest(images, text, self.text_neighbours)]
        by_text = F.normalize(images * text.var(dim=0), dim=-1)
        cosine, image = nearest(by_text, images, self.image_neighbours)
        found.append((cosine, image + known))
        if len(support):
            variance = support.var(dim=0, correction=0).clamp_min(_FLOOR)
            by_support = F.normalize(images / variance, dim=-1)
            cosine, shot = nearest(by_support, support, self.support_neighbours)
            found.append((cosine, shot + len(text)))
        cosines, nodes = (torch.cat(parts, dim=-1) for parts in zip(*found, strict=True))
        graph = edges(cosines.relu() ** self.gamma, nodes, known + len(images), after=known)
        spread = normalised(symmetric(graph))

        labels = seeds.new_zeros(len(images), len(text))
        for _ in range(self.iterations):
            labels = self.alpha * (spread @ torch.cat([seeds, labels]))[known:]
        return _SCALE * labels


@dataclass
class ECALPFewShot(ECALP):
    """ECALP with a support set, see `ECALP`."""

    name: ClassVar[str] = "ecalp-fs"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "support"})
    settings: ClassVar[frozenset[Setting]] = frozenset({"few-shot"})
