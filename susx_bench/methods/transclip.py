"""TransCLIP: a Gaussian mixture of all test images, held to the text and to its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Axis, Context, Method, Need, SearchSpace, Setting
from susx_bench.methods.gaussian import TEMPERATURE, assign, log_likelihood, moments
from susx_bench.methods.graph import edges, kinship, nearest
from susx_bench.methods.zero_shot import clip_logits

_CONFIDENT = 8  # images per class that the first means are taken from


@dataclass
class TransClip(Method):
    r"""Every test image is assigned to classes together with all the others.

    With :math:`\hat y_i` CLIP's own probabilities and :math:`p_{ik}` the density of image
    :math:`f_i` under class :math:`k`, a Gaussian with mean :math:`\mu_k` and a diagonal covariance
    :math:`\Sigma` shared by all classes, the assignments are

    .. math:: z_i \propto \hat y_i^{\lambda} \odot
        \exp\Bigl(\tfrac{1}{50} \log p_i + \sum_j a_{ij} z_j\Bigr), \qquad
        a_{ij} = \tfrac{1}{2n} (w_{ij} + w_{ji})

    where :math:`w_{ij}` is the cosine of :math:`f_i` and :math:`f_j` if :math:`f_j` is among the
    :math:`n` nearest of :math:`f_i`, else 0. Five such steps alternate with

    .. math:: \mu_k = \frac{\sum_i r_{ik} f_i}{\lVert \sum_i r_{ik} f_i \rVert}, \qquad
        \Sigma = \frac{\sum_{ik} r_{ik} (f_i - \mu_k)^2}{\sum_{ik} r_{ik}}

    where :math:`r_{ik} = z_{ik} / N` for a test image. Where there is a support set, its images
    join the sums with :math:`r_{jk} = 50 \gamma\, l_{jk} / M`, :math:`l` their one-hot labels, and
    speak for their label to their nearest test images. The logits are :math:`\log z`.

    The first means are of the 8 test images of the highest :math:`\hat y` a class, or of the
    support; the first :math:`\Sigma` is :math:`1 / D`. The authors' code builds the graph of a
    support set and the labels on it in different orders; here they match.

    Attributes:
        text_weight: :math:`\lambda`, >= 0: how far CLIP's own answer holds.
        gamma: :math:`\gamma`, >= 0: weight of the support; no effect without one.
        neighbours: :math:`n`, >= 1.
        iterations: How often the Gaussians are fitted, >= 0.

    Source:
        Zanella et al., *Boosting Vision-Language Models with Transduction*, NeurIPS 2024,
        arXiv:2406.01837, the updates of z, mu and Sigma of TransCLIP-ZS; constants as in the
        authors' code.
    """

    name: ClassVar[str] = "transclip"
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})
    reference: ClassVar[str] = "zanella2024transclip"
    regime = "transductive"

    text_weight: float = 1.0
    gamma: float = 0.02
    neighbours: int = 3
    iterations: int = 10

    def fit(self, context: Context) -> None:
        self._context = context.as_needed(self.needs)

    def logits(self, images: Tensor) -> Tensor:
        """Log-probabilities ``(N, K)`` of test images ``(N, D)``."""
        c = self._context
        labels = F.one_hot(c.support_labels, c.num_classes).to(images.dtype)
        log_text = torch.log_softmax(clip_logits(images, c), dim=-1)
        z = log_text.exp()

        affinity = kinship(images, self.neighbours)
        prior = self.text_weight * log_text
        if len(labels):
            graph = edges(*nearest(c.support, images, self.neighbours), len(images))
            prior = prior + graph.T @ labels / (2 * self.neighbours)

        centre = images.mean(0)
        given = moments(c.support, labels, centre)
        share = self.gamma / max(len(labels), 1)
        means = given.unit_means() if len(labels) else _confident_means(images, z)
        variances = images.new_full((1, images.shape[1]), 1 / images.shape[1])
        for _ in range(self.iterations):
            evidence = prior + log_likelihood(images, means, variances) / TEMPERATURE
            z = assign(evidence, affinity, z).exp()
            seen = moments(images, z / len(images), centre).plus(given, TEMPERATURE * share)
            means = seen.unit_means()
            variances = seen.scatter(means).sum(0, keepdim=True) / seen.mass.sum()
        evidence = prior + log_likelihood(images, means, variances) / TEMPERATURE
        return assign(evidence, affinity, z)


@dataclass
class TransClipFewShot(TransClip):
    r"""TransCLIP with a support set, see `TransClip`: the authors' TransCLIP-FS.

    They choose :math:`\gamma` on val; the default is the middle of their grid, by its geometric
    mean.
    """

    name: ClassVar[str] = "transclip-fs"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "support"})
    settings: ClassVar[frozenset[Setting]] = frozenset({"few-shot"})

    text_weight: float = 0.5

    def space(self, context: Context) -> SearchSpace:
        """The authors' four values of ``gamma``."""
        return SearchSpace((Axis("gamma", (0.002, 0.01, 0.02, 0.2)),), source="transclip")


def _confident_means(images: Tensor, z: Tensor) -> Tensor:
    """Weighted mean of the images each class is most sure of, at length 1, ``(K, D)``."""
    surest = z.topk(min(_CONFIDENT, len(z)), dim=0)
    sums = (surest.values[..., None] * images[surest.indices]).sum(0)
    return F.normalize(sums, dim=-1)
