"""ZLaP: labels spread from the class texts over a graph of all test images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from susx_bench.methods.base import Context, Method, Need
from susx_bench.methods.graph import edges, nearest, normalised, symmetric

_TOLERANCE = 1e-7  # what may be left of the series


@dataclass
class ZLaP(Method):
    r"""Label propagation on a graph whose nodes are the class texts and the test images.

    An image is joined to its :math:`k` nearest images, itself counted, and to its :math:`k`
    nearest texts:

    .. math:: a_{ij} = \max(f_i^\top f_j, 0), \qquad a_{ic} = \max(f_i^\top w_c, 0)^{\gamma}

    The power brings the cosines across modalities, which are low and close together, apart. With
    :math:`S = A + A^\top` without its diagonal, :math:`D` its row sums and :math:`Y` one-hot rows
    for the texts and 0 for the images,

    .. math:: X = \Bigl(I - \alpha D^{-1/2} S D^{-1/2}\Bigr)^{-1} Y
        = \sum_t \bigl(\alpha D^{-1/2} S D^{-1/2}\bigr)^t\, Y

    The logits are the rows of :math:`X` of the images: how close they lie to each text along the
    graph. The authors solve by conjugate gradients, to 1e-6; the series is summed here until
    less than 1e-7 is left.

    Attributes:
        neighbours: :math:`k`, >= 1.
        gamma: :math:`\gamma`, > 0.
        alpha: :math:`\alpha`, in (0, 1): how far labels spread.

    Source:
        Stojnic et al., *Label Propagation for Zero-shot Classification with Vision-Language
        Models*, CVPR 2024, arXiv:2404.04072, transductive inference on text classifiers; constants
        as in the authors' code.
    """

    name: ClassVar[str] = "zlap"
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})
    reference: ClassVar[str] = "stojnic2024zlap"
    no_logits: ClassVar[str] = "its scores are labels spread over a graph"
    regime = "transductive"

    neighbours: int = 5
    gamma: float = 5.0
    alpha: float = 0.3

    def fit(self, context: Context) -> None:
        self._text = context.text

    def logits(self, images: Tensor) -> Tensor:
        """Scores ``(N, K)``, >= 0, of test images ``(N, D)``."""
        num_classes = len(self._text)
        to_images, image = nearest(images, images, self.neighbours - 1, skip_self=True)
        to_texts, text = nearest(images, self._text, self.neighbours)
        weights = torch.cat([to_images.relu(), to_texts.relu() ** self.gamma], dim=-1)
        nodes = torch.cat([image + num_classes, text], dim=-1)
        graph = edges(weights, nodes, num_classes + len(images), after=num_classes)
        spread = normalised(symmetric(graph))

        seeds = torch.eye(len(graph), num_classes, dtype=images.dtype, device=images.device)
        terms = math.ceil(math.log(_TOLERANCE * (1 - self.alpha)) / math.log(self.alpha))
        labels = seeds
        for _ in range(terms):
            labels = seeds + self.alpha * (spread @ labels)
        return labels[num_classes:]
