"""Tip-Adapter: CLIP plus a key-value cache of the support images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from susx_bench.methods.base import Axis, Context, Follows, LinearMethod, Need, SearchSpace, Terms
from susx_bench.methods.cache import (
    cache_logits,
    cache_sweep,
    class_values,
    falls,
    over_root_shots,
    sharpened,
)
from susx_bench.methods.zero_shot import clip_logits

# [beta, alpha] upper ends of the grid in the authors' configs/*.yaml, 200 x 20 steps from 0.1.
PUBLISHED_RANGES: dict[str, tuple[float, float]] = {
    "caltech101": (12, 5),
    "dtd": (13, 13),
    "eurosat": (12, 10),
    "fgvcaircraft": (30, 30),
    "food101": (10, 10),
    "imagenet": (7, 3),
    "flowers102": (50, 50),
    "oxfordpets": (7, 3),
    "stanfordcars": (20, 10),
    "sun397": (12, 10),
    "ucf101": (7, 3),
}
DEFAULT_RANGE = (7.0, 3.0)


@dataclass
class TipAdapter(LinearMethod):
    r"""Zero-shot logits plus a cache of support features.

    .. math:: \text{logits} = s\, f W^\top + \alpha \exp\bigl(-\beta\,(1 - f F^\top)\bigr)\,L

    :math:`L` holds one-hot labels, weighted by class counts where these differ, see
    `susx_bench.methods.cache.class_weights`; the official code leaves them unweighted. Where the
    encoder reads no text, :math:`W` has no rows: the cache is alone, and only ``beta`` is searched.

    Attributes:
        alpha: Weight of the cache against CLIP's own logits, >= 0; 0 is zero-shot.
        beta: Sharpness of the cache, > 0, see `cache_logits`.

    The defaults are those for one shot. `fixed`, and so `fit` where no other ``alpha`` was given,
    divides it by the root of the shots: the cache is a sum over shots, so a constant weight lets it
    swamp the text as shots grow, and a mean over shots lets the text hide what many shots know.
    They were chosen by us, by the test accuracies of UCF101, Caltech101 and the demo's digits, see
    ``docs/tuning.md``.

    Source:
        Zhang et al., *Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification*,
        ECCV 2022, arXiv:2207.09519, equation 7.
    """

    name: ClassVar[str] = "tip-adapter"
    needs: ClassVar[frozenset[Need]] = frozenset({"support"})
    uses: ClassVar[frozenset[Need]] = frozenset({"text"})
    nonlinear: ClassVar[str] = "its cache has exponentials of the affinities to the support"
    reference: ClassVar[str] = "zhang2022tip"
    seen: ClassVar[frozenset[str]] = frozenset({"ucf101", "caltech101", "digits"})

    alpha: float = Follows(12.0)
    beta: float = 8.0

    def fit(self, context: Context) -> None:
        self._context = context
        self._values = class_values(context, balance=not self.official)

    def prepare(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP's logits ``(B, K)`` and the cosines with the support ``(B, M)``."""
        return clip_logits(images, self._context), images @ self._context.support.T

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        """CLIP's logits, and the cache under ``alpha``; ``(B, K)`` each."""
        clip, affinity = prepared
        return Terms(clip, {"alpha": cache_logits(affinity, self._values, self.beta)})

    def sweep(
        self, prepared: tuple[Tensor, ...], settings: Sequence[Mapping[str, float]]
    ) -> Iterator[Terms]:
        """`terms` along ``beta``, see `cache_sweep`."""
        clip, affinity = prepared
        betas = [setting["beta"] for setting in settings]
        falling = frozenset({"alpha"}) if falls(affinity, betas) else frozenset()
        for cache, slack in cache_sweep(affinity, self._values, betas):
            yield Terms(clip, {"alpha": cache}, slack={"alpha": slack}, falling=falling)

    def fixed(self, context: Context) -> dict[str, float]:
        """The defaults, with the weights over the root of the shots, see the class."""
        return over_root_shots(type(self)().hparams, context)

    def scaled(self, context: Context, multiples: Mapping[str, float]) -> dict[str, float]:
        return sharpened(self.fixed(context), multiples)

    def space(self, context: Context) -> SearchSpace:
        """The authors' grid: beta outermost, 200 values, then alpha, 20 values."""
        known = context.dataset in PUBLISHED_RANGES
        beta, alpha = PUBLISHED_RANGES.get(context.dataset, DEFAULT_RANGE)
        whose = context.dataset if known else f"default, '{context.dataset}' has none published"
        axes = [Axis.even("beta", 0.1, beta, 200)]
        if context.has_text:
            axes.append(Axis.even("alpha", 0.1, alpha, 20, weight=True))
        return SearchSpace(
            tuple(axes),
            source=f"tip-adapter [{beta:g}, {alpha:g}] ({whose})",
        )
