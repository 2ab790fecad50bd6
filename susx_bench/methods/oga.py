"""OGA: Gaussians of the surest test images so far, as a prior's likelihood beside CLIP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from susx_bench.methods.base import Context, Method, Need
from susx_bench.methods.memory import entropy, places
from susx_bench.methods.ties import top1
from susx_bench.methods.zero_shot import clip_logits

_FEWEST = 2  # images from which a class has a mean of its own; one more starts the covariance
_ENOUGH = 4  # times D: images in memory from which the covariance is inverted as it is


@dataclass
class OGA(Method):
    r"""CLIP's probabilities times the likelihood of Gaussians with one covariance.

    .. math:: \text{logits}_k = s\, f^\top w_k + \tau
        \Bigl(f^\top \Lambda \mu_k - \tfrac12 \mu_k^\top \Lambda \mu_k\Bigr)

    up to a number that all classes share. A memory holds, for each class, the test images of the
    lowest entropy of CLIP's probabilities among those that CLIP takes for it; an image enters
    before it is scored. :math:`\mu_k` is the sum of a class's images over the ``capacity`` once it
    has two, and the text :math:`w_k` before. Once a class has three,

    .. math:: \Lambda = D\, \bigl((N - 1)\, S + \mathrm{tr}(S)\, I\bigr)^{-1}

    with :math:`S` the covariance of all :math:`N` images in memory less their :math:`\mu_k`; from
    more than :math:`4 D` images on :math:`\Lambda = S^{+}`, and before the first three
    :math:`\Lambda = D I`.

    The sum over the capacity, not over the number of images, is what the authors' code has: a class
    that is not full has a mean nearer to 0. They take images in batches of 32 and let a batch see
    itself; here an image sees those before it.

    Attributes:
        tau: :math:`\tau`, >= 0; 0 is zero-shot. The authors' function has 0.01, their script gives
            it 0.05. Of the two we took the first with an eye on Caltech101, DTD and WHU-RS19: on
            part of Caltech101 the other lies 2 points below CLIP, where the paper has it above.
        capacity: Images per class in the memory, >= 1.

    Source:
        Fuchs, Zanella et al., *Online Gaussian Test-Time Adaptation of Vision-Language Models*,
        CVPR
        Workshops 2025, arXiv:2501.04352; constants as in the authors' code, one for all datasets.
    """

    name: ClassVar[str] = "oga"
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})
    reference: ClassVar[str] = "fuchs2025oga"
    seen: ClassVar[frozenset[str]] = frozenset({"caltech101", "dtd", "whurs19"})
    regime = "streaming"

    tau: float = 0.01
    capacity: int = 8

    def fit(self, context: Context) -> None:
        self._context = context

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` of test images ``(N, D)``, in the order they came."""
        text = self._context.text.double()
        num_classes, width = text.shape
        clip = clip_logits(images, self._context)
        kept = places(top1(clip).tolist(), entropy(clip).tolist(), self.capacity)

        memory = text.new_zeros(num_classes, self.capacity, width)
        taken = torch.zeros(num_classes, self.capacity, dtype=torch.bool, device=text.device)
        means = text.clone()
        away = _Scatter(width, like=text)
        weights = width * text
        out = torch.empty_like(clip)
        for i, (image, place) in enumerate(zip(images.double(), kept, strict=True)):
            if place:
                label = place[0]
                away.take(memory[label, taken[label]] - means[label], -1)
                memory[place], taken[place] = image, True
                if int(taken[label].sum()) >= _FEWEST:
                    means[label] = memory[label].sum(0) / self.capacity
                away.take(memory[label, taken[label]] - means[label], 1)
                weights = self._weighted(means, away, int(taken.sum(-1).max()))
            score = weights @ image - (weights * means).sum(-1) / 2
            out[i] = clip[i] + self.tau * score.to(clip.dtype)
        return out

    def _weighted(self, means: Tensor, away: _Scatter, most: int) -> Tensor:
        r"""Rows :math:`\mu_k^\top \Lambda`, ``(K, D)``."""
        width = means.shape[1]
        if most <= _FEWEST:
            return width * means
        scatter = away.around_its_mean()
        trace = scatter.trace()
        if away.count > _ENOUGH * width:
            inverse: Tensor = torch.linalg.pinv(scatter / (away.count - 1), hermitian=True)
            return means @ inverse
        if float(trace) <= torch.finfo(torch.float32).eps:  # images alike: no inverse, no say
            return torch.zeros_like(means)
        scatter.diagonal().add_(trace / (away.count - 1))
        solved = torch.cholesky_solve(means.T, torch.linalg.cholesky(scatter))
        return width * solved.T


class _Scatter:
    """Sums over vectors that come and go: their number, sum, and sum of outer products."""

    def __init__(self, width: int, like: Tensor) -> None:
        self.count = 0
        self._sum = like.new_zeros(width)
        self._outer = like.new_zeros(width, width)

    def take(self, rows: Tensor, sign: int) -> None:
        """Add rows ``(n, D)``, or with -1 take them out."""
        self.count += sign * len(rows)
        self._sum += sign * rows.sum(0)
        self._outer += sign * rows.T @ rows

    def around_its_mean(self) -> Tensor:
        """Sum of outer products of the rows less their mean, ``(D, D)``."""
        return self._outer - torch.outer(self._sum, self._sum) / self.count
