"""TIP-X: Tip-Adapter plus a term that compares images through their texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from susx_bench.methods.base import (
    Axis,
    Context,
    Follows,
    LinearMethod,
    Need,
    Regime,
    SearchSpace,
    Terms,
)
from susx_bench.methods.cache import (
    cache_logits,
    cache_sweep,
    class_values,
    falls,
    over_root_shots,
    sharpened,
)
from susx_bench.methods.zero_shot import clip_logits

TEMPERATURE = 0.5
OFFICIAL_BATCH = (
    100  # rows per batch in the public code's KL loop, which drops the last part of one
)
_CHUNK = 512  # rows of a support x support block, so that fit never holds (M, M) at once


@dataclass
class TipX(LinearMethod):
    r"""CLIP's logits, a cache of support features, and a KL term between signatures.

    .. math::
        \text{logits} = s\, f W^\top
            + \alpha \exp\bigl(-\beta\,(1 - f F^\top)\bigr)\,L
            - \gamma\, \psi\bigl(\mathrm{KL}(\sigma(f)\,\|\,\sigma(F))\bigr)\,L

    The signature :math:`\sigma(x) = \mathrm{softmax}(x W^\top / 0.5)` compares an image with the
    class texts, and :math:`\psi` rescales the divergences to the range of the cosines
    :math:`f F^\top`.

    Two choices are ours, and one is the authors' code:

    - The paper writes :math:`\psi(-\mathrm{KL})`, the public code rescales first and then negates,
      :math:`-\psi(\mathrm{KL})`; the two differ by a constant a support image. We follow the code.
      The constant is the same for every class only where every class has as many support images,
      so :math:`L` is weighted by class counts where they differ
      (`susx_bench.methods.cache.class_weights`).
    - :math:`\psi` takes its two ranges from the support set alone, each support image against all
      the others, once in `fit`. An image's logits then depend on that image alone, and the
      hyper-parameters mean the same whatever set they were tuned on.

    With ``official`` the public code is reproduced instead, the last ``N % 100`` rows of
    its divergences left at 0 and its ranges taken over all test images at once, which makes the
    method transductive.

    Attributes:
        alpha: Weight of the cache, >= 0.
        beta: Sharpness of the cache, > 0.
        gamma: Weight of the KL term, >= 0.

    The defaults are those for one shot; `fixed`, and so `fit` where no other weight was given,
    divides both weights by the root of the shots, as in Tip-Adapter.
    They were chosen by us, by the test accuracies of UCF101, Caltech101 and the demo's digits, see
    ``docs/tuning.md``.

    Source:
        Udandarao et al., *SuS-X: Training-Free Name-Only Transfer of Vision-Language Models*,
        ICCV 2023, arXiv:2211.16198, section 3.2, and the public ``tipx.py``.
    """

    name: ClassVar[str] = "tipx"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "support"})
    nonlinear: ClassVar[str] = (
        "its cache has exponentials of the affinities, and its third term divergences"
    )
    reference: ClassVar[str] = "udandarao2023susx"
    seen: ClassVar[frozenset[str]] = frozenset({"ucf101", "caltech101", "digits"})

    alpha: float = Follows(25.0)
    beta: float = 16.0
    gamma: float = Follows(8.0)

    @property
    def regime(self) -> Regime:  # type: ignore[override]  # a class default, here by instance
        """Transductive in the official form, whose ranges span all test images."""
        return "transductive" if self.official else "inductive"

    def fit(self, context: Context) -> None:
        self._context = context
        self._values = class_values(context, balance=not self.official)
        self._log_signatures = log_signatures(context.support, context.text)
        if self.official:
            val = context.val
            self._cosines = None if val is None else _range(val.features @ context.support.T)
        else:
            self._psi = leave_one_out_psi(context.support, self._log_signatures)
            self._class_signatures = self._values.T @ self._log_signatures

    def prepare(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """CLIP's logits ``(B, K)``, cosines with the support ``(B, M)``, the KL term ``(B, K)``."""
        c = self._context
        affinity = images @ c.support.T
        log_p = log_signatures(images, c.text)
        if self.official:
            # The public code rescales the test divergences to the range of the *validation*
            # cosines, the last ones it computed.
            kl = drop_last_part(kl_divergence(log_p, self._log_signatures))
            psi = Psi(_range(kl), self._cosines or _range(affinity))
            kl_term = -psi(kl) @ self._values
        else:
            # psi is one line, and a divergence is linear in log q: both commute with the sum over
            # a class, and the (B, M) divergences are never needed.
            weights = self._values.sum(0)
            kl_sums = kl_divergence(log_p, self._class_signatures, weights)
            kl_term = -(kl_sums * self._psi.slope + weights * self._psi.offset)
        return clip_logits(images, c), affinity, kl_term

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        """CLIP's logits, the cache under ``alpha``, the KL term under ``gamma``: ``(B, K)``."""
        clip, affinity, kl_term = prepared
        cache = cache_logits(affinity, self._values, self.beta)
        return Terms(clip, {"alpha": cache, "gamma": kl_term})

    def sweep(
        self, prepared: tuple[Tensor, ...], settings: Sequence[Mapping[str, float]]
    ) -> Iterator[Terms]:
        """`terms` along ``beta``, see `cache_sweep`; the other two terms do not change."""
        clip, affinity, kl_term = prepared
        betas = [setting["beta"] for setting in settings]
        falling = frozenset({"alpha"}) if falls(affinity, betas) else frozenset()
        for cache, slack in cache_sweep(affinity, self._values, betas):
            yield Terms(
                clip, {"alpha": cache, "gamma": kl_term}, slack={"alpha": slack}, falling=falling
            )

    def fixed(self, context: Context) -> dict[str, float]:
        """The defaults, with the weights over the root of the shots, see the class."""
        return over_root_shots(type(self)().hparams, context)

    def scaled(self, context: Context, multiples: Mapping[str, float]) -> dict[str, float]:
        return sharpened(self.fixed(context), multiples)

    def space(self, context: Context) -> SearchSpace:
        """The public code's grid: alpha 20, beta 200, gamma 50 values, alpha outermost."""
        return SearchSpace(
            (
                Axis.even("alpha", 0.1, 50, 20, weight=True),
                Axis.even("beta", 1, 50, 200),
                Axis.even("gamma", 0.1, 30, 50, weight=True),
            ),
            source="tipx (SuS-X's public code)",
        )


class Range(NamedTuple):
    """Smallest and largest value of something."""

    low: float
    high: float


class Psi(NamedTuple):
    """The rescaling psi: a line that takes one range to another.

    Attributes:
        source: Range of the divergences.
        target: Range of the cosines they are brought to.
    """

    source: Range
    target: Range

    @property
    def slope(self) -> float:
        """What a nat becomes; 0 where all divergences are alike and tell nothing apart."""
        width = self.source.high - self.source.low
        return (self.target.high - self.target.low) / width if width > 0 else 0.0

    @property
    def offset(self) -> float:
        """What a divergence of 0 becomes."""
        return self.target.low - self.slope * self.source.low

    def __call__(self, kl: Tensor) -> Tensor:
        """Rescale divergences; values outside `source` land outside `target`, unclipped."""
        return (kl - self.source.low) * self.slope + self.target.low


def log_signatures(images: Tensor, text: Tensor) -> Tensor:
    r"""Logarithm of how an image compares with the class texts.

    .. math:: \log \mathrm{softmax}(x W^\top / 0.5) + \log K

    The added constant cancels in a divergence. It keeps the numbers near 0 (the temperature makes
    signatures nearly uniform), where fp32 has the digits that the small divergences need.

    Args:
        images: L2-normalised image features ``(B, D)``.
        text: L2-normalised text features ``(K, D)``.

    Returns:
        ``(B, K)``; ``exp`` of a row sums to K.
    """
    return torch.log_softmax(images @ text.T / TEMPERATURE, dim=-1) + math.log(text.shape[0])


def kl_divergence(log_p: Tensor, log_q: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Divergence of every row of one set from every row of another, as one matrix product.

    .. math:: \mathrm{KL}(p \| q) = \sum_k p_k \log p_k - \sum_k p_k \log q_k

    It is linear in :math:`\log q`, so the divergences from all images of a class come as one sum.

    Args:
        log_p: Log signatures of `log_signatures`, ``(B, K)``.
        log_q: The same of the support, ``(M, K)``, or weighted sums of them.
        weights: Sum of the weights in each row of `log_q`, ``(M,)``; 1 if not given.

    Returns:
        ``(B, M)`` in nats, >= 0 to rounding.
    """
    p = log_p.exp() / log_p.shape[1]
    own = (p * log_p).sum(-1, keepdim=True)
    return (own if weights is None else own * weights) - p @ log_q.T


def leave_one_out_psi(support: Tensor, log_q: Tensor) -> Psi:
    """The rescaling frozen on the support: every image against all the others.

    Args:
        support: Support features ``(M, D)``.
        log_q: Their log signatures ``(M, K)``.
    """
    if len(support) < 2:
        return Psi(Range(0.0, 0.0), Range(0.0, 0.0))
    parts = []
    for start in range(0, len(support), _CHUNK):
        rows = torch.arange(start, min(start + _CHUNK, len(support)), device=support.device)
        own = (rows - start, rows)
        kl = _range(kl_divergence(log_q[rows], log_q), own)
        # Cosines are symmetric: each pair is seen once.
        cosines = _range(support[rows] @ support[start:].T, (rows - start, rows - start))
        parts.append((kl, cosines))
    ranges = [
        Range(min(part[i].low for part in parts), max(part[i].high for part in parts))
        for i in (0, 1)
    ]
    return Psi(*ranges)


def drop_last_part(kl: Tensor) -> Tensor:
    """Zero the rows the public code never computes: the last ``N % 100`` of all N."""
    kept = len(kl) - len(kl) % OFFICIAL_BATCH
    return torch.cat([kl[:kept], torch.zeros_like(kl[kept:])])


def _range(values: Tensor, leave_out: tuple[Tensor, Tensor] | None = None) -> Range:
    """Smallest and largest value; the places left out are overwritten."""
    if leave_out is None:
        low, high = torch.aminmax(values)
        return Range(float(low), float(high))
    values[leave_out] = torch.inf
    low = values.amin()
    values[leave_out] = -torch.inf
    return Range(float(low), float(values.amax()))
