"""StatA: a Gaussian mixture of the test images, anchored to the statistics of the texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Method, Need
from susx_bench.methods.gaussian import TEMPERATURE, assign, log_likelihood, moments
from susx_bench.methods.graph import kinship
from susx_bench.methods.ties import leaders
from susx_bench.methods.zero_shot import clip_logits


@dataclass
class StatA(Method):
    r"""TransCLIP with Gaussians that stay near the texts where a class has few images.

    Assignments are those of `TransClip` without support, :math:`\hat y_i` being CLIP's own
    probabilities, :math:`a_{ij}` the graph of :math:`n` nearest neighbours, and :math:`p_{ik}`
    the density of image :math:`f_i` under class :math:`k`, a Gaussian with mean :math:`\mu_k` and
    a diagonal covariance :math:`\Sigma_k` of its own, without its determinant:

    .. math:: z_i \propto \hat y_i \odot
        \exp\Bigl(\tfrac{1}{50} \log p_i + \sum_j a_{ij} z_j\Bigr)

    The Gaussians begin at an anchor, the class text :math:`w_k` and one covariance
    :math:`\Sigma^0 = \tfrac1N \sum_{ik} \hat y_{ik} (f_i - w_k)^2`, and are drawn back to it. With
    :math:`n_k` images of which class :math:`k` is a first choice, :math:`m_k` and :math:`V_k`
    the mean, at length 1, and the variance around :math:`\mu_k` of the images weighted by
    :math:`z_{ik}`,

    .. math:: \beta_k = \frac{n_k}{\alpha + n_k}, \qquad
        \mu_k \propto \beta_k m_k + (1 - \beta_k) w_k, \qquad
        \Sigma_k = \beta_k V_k + (1 - \beta_k) \bigl(\Sigma^0 + (w_k - \mu_k)^2\bigr)

    at length 1 for :math:`\mu_k`. The logits are :math:`\log z`. The authors' code divides
    :math:`\Sigma^0` by the number of images once every 2500 images; here it is divided once.

    Attributes:
        alpha: :math:`\alpha`, > 0: how many images weigh as much as the anchor.
        neighbours: :math:`n`, >= 1.
        iterations: How often the Gaussians are fitted, >= 0.

    Source:
        Zanella et al., *Realistic Test-Time Adaptation of Vision-Language Models*, CVPR 2025,
        arXiv:2501.03729, the updates of z, beta, mu and Sigma; constants as in the authors' code,
        one setting for all their experiments.
    """

    name: ClassVar[str] = "stata"
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})
    reference: ClassVar[str] = "zanella2025stata"
    regime = "transductive"

    alpha: float = 1.0
    neighbours: int = 3
    iterations: int = 10

    def fit(self, context: Context) -> None:
        self._context = context

    def logits(self, images: Tensor) -> Tensor:
        """Log-probabilities ``(N, K)`` of test images ``(N, D)``."""
        text = self._context.text
        log_text = torch.log_softmax(clip_logits(images, self._context), dim=-1)
        z = log_text.exp()
        affinity = kinship(images, self.neighbours)

        centre = images.mean(0)
        anchor = moments(images, z, centre).scatter(text).sum(0, keepdim=True) / len(images)
        means, covariance = text, anchor
        for _ in range(self.iterations):
            evidence = log_text + log_likelihood(images, means, covariance) / TEMPERATURE
            z = assign(evidence, affinity, z).exp()
            count = leaders(z).sum(0)[:, None]
            beta = count / (self.alpha + count)
            seen = moments(images, z, centre)
            means = F.normalize(beta * seen.unit_means() + (1 - beta) * text, dim=-1)
            drawn_back = anchor + (text - means).square()
            covariance = beta * seen.variances(means) + (1 - beta) * drawn_back
        evidence = log_text + log_likelihood(images, means, covariance) / TEMPERATURE
        return assign(evidence, affinity, z)
