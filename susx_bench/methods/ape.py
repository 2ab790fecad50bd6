"""APE: Tip-Adapter's cache on the channels that tell classes apart, weighted by the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Axis, Context, LinearMethod, SearchSpace, Terms
from susx_bench.methods.cache import class_values, place_in_class
from susx_bench.methods.zero_shot import clip_logits

_SMALL = 1e-6  # the authors' guard in the divergence
_PADDED = 4  # the layout by class may be so many times as large as the support
_FEW_SHOTS = 4
_WIDTH = 1024  # of the encoder that the authors' channel counts are for, RN50


class Published(NamedTuple):
    """What the authors set for a dataset.

    Attributes:
        channels: Channels kept, of `_WIDTH`.
        similarity: Weight of the similarity in the choice of channels.
        alpha: Where their search starts; ``beta`` starts at 1, ``gamma`` at 0.1.
        beta_high: Upper end of the grid of ``beta``, from 0.1 in 200 steps.
        alpha_high: The same of ``alpha``, from 0.1 in 20 steps.
        gamma_high: The same of ``gamma``, from 0.
        gamma_steps: Number of its steps.
    """

    channels: int
    similarity: float
    alpha: float
    beta_high: float
    alpha_high: float
    gamma_high: float
    gamma_steps: int = 20


PUBLISHED: dict[str, Published] = {
    "caltech101": Published(800, 0.5, 1, 7, 7, 1),
    "dtd": Published(400, 0.5, 3, 7, 7, 1),
    "eurosat": Published(700, 0.9, 1, 30, 5, 1.5),
    "fgvcaircraft": Published(800, 0.1, 5, 20, 10, 1),
    "flowers102": Published(700, 0.4, 3, 7, 7, 1),
    "food101": Published(700, 0.3, 0.8, 7, 7, 1),
    "imagenet": Published(500, 0.7, 2, 7, 7, 0.5, 5),
    "oxfordpets": Published(800, 0.7, 2, 7, 7, 1),
    "stanfordcars": Published(500, 0.6, 1, 10, 7, 1),
    "sun397": Published(800, 0.7, 1, 10, 7, 1),
    "ucf101": Published(700, 0.3, 2, 10, 7, 1.5),
}
_MOST_COMMON = PUBLISHED["oxfordpets"]


class _Refined(NamedTuple):
    """The support on the chosen channels.

    Attributes:
        channels: Which, ``(Q,)``.
        support: Support features on them, at length 1, ``(M, Q)``.
        divergence: How far the text is from the label of each, ``(M,)``, in bits, >= 0.
    """

    channels: Tensor
    support: Tensor
    divergence: Tensor


@dataclass
class APE(LinearMethod):
    r"""CLIP's logits plus a cache on refined channels, each image weighted by what text says of it.

    .. math::
        \text{logits} = s\, f W^\top + \alpha \exp\bigl(-\beta\,(1 - f' F'^\top)\bigr)\,
            \mathrm{diag}\bigl(e^{\gamma d}\bigr)\, L, \qquad
        d_j = \log_2 \frac{1 + \epsilon}{\mathrm{softmax}(F'_j W'^\top)_{y_j} + \epsilon}

    with :math:`\epsilon = 10^{-6}`. A prime marks features on the chosen channels, at length 1
    again: those of the largest :math:`-\lambda S_d + (1 - \lambda) V_d`. :math:`S_d` is the mean of
    :math:`x_d x'_d` over all pairs of images or texts of different classes, :math:`V_d` the
    variance of the class texts.

    :math:`L` holds one-hot labels, weighted by class counts where these differ, see
    `susx_bench.methods.cache.class_weights`, and unweighted in the official form.

    Attributes:
        alpha: Weight of the cache, >= 0; 0 is zero-shot.
        beta: Sharpness of the cache, >= 0.
        gamma: How much more an image counts that the text gets wrong, >= 0.
        channels: Share of the channels kept, in (0, 1].
        similarity: :math:`\lambda`, in [0, 1].

    The authors set the last two for each dataset by hand, and search the others on val. The
    defaults are all of their ImageNet, whose val split is its test split; `published` has their
    values of each dataset.

    Source:
        Zhu et al., *Not All Features Matter: Enhancing Few-shot CLIP with Adaptive Prior
        Refinement*, ICCV 2023, arXiv:2304.01195, and the authors' code.
    """

    name: ClassVar[str] = "ape"
    nonlinear: ClassVar[str] = "its cache has exponentials of the affinities on chosen channels"
    reference: ClassVar[str] = "zhu2023ape"
    seen: ClassVar[frozenset[str]] = frozenset({"imagenet"})
    seen_always: ClassVar[bool] = True  # no search chooses the channels

    alpha: float = 2.0
    beta: float = 1.0
    gamma: float = 0.1
    channels: float = 500 / _WIDTH
    similarity: float = 0.7

    def fit(self, context: Context) -> None:
        self._context = context
        self._values = class_values(context, balance=not self.official)
        self._between = between_classes(context)
        self._variance = context.text.var(0)
        # Made once for each choice of channels: `published` makes one after this.
        self._choices: dict[tuple[float, float], _Refined] = {}

    def prepare(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP's logits ``(B, K)`` and the refined cosines with the support ``(B, M)``."""
        refined = self._refined()
        own = F.normalize(images[:, refined.channels], dim=-1)
        return clip_logits(images, self._context), own @ refined.support.T

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        """CLIP's logits, and the cache under ``alpha``; ``(B, K)`` each."""
        clip, affinity = prepared
        weights = torch.exp(self.gamma * self._refined().divergence)
        return Terms(
            clip,
            {"alpha": torch.exp(-self.beta * (1 - affinity)) @ (weights[:, None] * self._values)},
        )

    def sweep(
        self, prepared: tuple[Tensor, ...], settings: Sequence[Mapping[str, float]]
    ) -> Iterator[Terms]:
        """`terms`, with the exponentials of a ``beta`` computed once for all values of ``gamma``.

        The support is laid out by class, so that a class's sums at every ``gamma`` are one small
        product with the weights of its own images, or of few images plain additions.
        """
        clip, affinity = prepared
        labels, num_classes = self._context.support_labels, self._context.num_classes
        shots = int(torch.bincount(labels, minlength=num_classes).max())
        if shots * num_classes > _PADDED * len(labels):  # one large class would pad all the others
            yield from super().sweep(prepared, settings)
            return
        divergence = self._refined().divergence
        shot = place_in_class(labels)
        distance = affinity.new_zeros(shots, num_classes, len(affinity))
        distance[shot, labels] = (1 - affinity).T
        gammas = list(dict.fromkeys(setting["gamma"] for setting in settings))
        weights = affinity.new_zeros(shots, num_classes, len(gammas))
        scale = self._values.amax(-1)
        weights[shot, labels] = torch.stack(
            [torch.exp(gamma * divergence) * scale for gamma in gammas], -1
        )
        by_class = shots > _FEW_SHOTS  # else plain additions are faster than so small products
        # (K, S, B) and (K, gammas, S) for products, (S, B, K) and (S, gammas, 1, K) for sums.
        distance = distance.permute((1, 0, 2) if by_class else (0, 2, 1)).contiguous()
        weights = weights.permute((1, 2, 0) if by_class else (0, 2, 1)).contiguous()
        weights = weights if by_class else weights[:, :, None]

        to_come = Counter(setting["beta"] for setting in settings)
        made: dict[float, Tensor] = {}  # logits at every gamma, (gammas, B, K), of a beta in use
        unit = torch.finfo(affinity.dtype).eps
        no_longer = bool((affinity <= 1).all())
        before: Mapping[str, float] = {}
        for setting in settings:
            beta, gamma = setting["beta"], setting["gamma"]
            if beta not in made:
                cache = torch.exp(-beta * distance)
                if by_class:
                    made[beta] = (weights @ cache).permute(1, 2, 0).contiguous()
                else:
                    made[beta] = weights[0] * cache[0]
                    for of_shot, cached in zip(weights[1:], cache[1:], strict=True):
                        made[beta].addcmul_(of_shot, cached)
            logits = made[beta][gammas.index(gamma)]
            to_come[beta] -= 1
            if not to_come[beta]:
                del made[beta]
            # Relative: beta roundings of an exponent, gamma of the other, one a summand.
            exponents = 4 * beta + 2 * gamma * float(divergence.max())
            slack = (exponents + shots + 16) * unit * logits.amax(-1)
            falls = no_longer and before.get("gamma") == gamma and before["beta"] <= beta
            rises = before.get("beta") == beta and before["gamma"] <= gamma
            before = setting
            yield Terms(
                clip,
                {"alpha": logits},
                slack={"alpha": slack},
                falling=frozenset({"alpha"} if falls else ()),
                rising=frozenset({"alpha"} if rises else ()),
            )

    def space(self, context: Context) -> SearchSpace:
        """The authors' grid: beta outermost, 200 values, alpha 20, gamma 20 (ImageNet 5)."""
        known = PUBLISHED.get(context.dataset)
        ours = known or _MOST_COMMON
        whose = context.dataset if known else f"default, '{context.dataset}' has none published"
        return SearchSpace(
            (
                Axis.even("beta", 0.1, ours.beta_high, 200),
                Axis.even("alpha", 0.1, ours.alpha_high, 20, weight=True),
                Axis.even("gamma", 0.0, ours.gamma_high, ours.gamma_steps),
            ),
            source=f"ape [{ours.beta_high:g}, {ours.alpha_high:g}, {ours.gamma_high:g}] ({whose})",
        )

    def published(self, dataset: str) -> dict[str, float] | None:
        """The authors' setting for a dataset before their search on val."""
        if (known := PUBLISHED.get(dataset)) is None:
            return None
        return {
            "alpha": known.alpha,
            "beta": 1.0,
            "gamma": 0.1,
            "channels": known.channels / _WIDTH,
            "similarity": known.similarity,
        }

    def _refined(self) -> _Refined:
        """The support on the channels of the current setting."""
        key = self.channels, self.similarity
        if key not in self._choices:
            c = self._context
            kept = max(1, int(self.channels * c.text.shape[1]))
            score = (1 - self.similarity) * self._variance - self.similarity * self._between
            chosen = score.topk(kept).indices
            support, text = (F.normalize(rows[:, chosen], dim=-1) for rows in (c.support, c.text))
            said = (support @ text.T).softmax(-1).gather(1, c.support_labels[:, None])[:, 0]
            divergence = torch.log2((1 + _SMALL) / (said + _SMALL))
            self._choices[key] = _Refined(chosen, support, divergence)
        return self._choices[key]


def between_classes(context: Context) -> Tensor:
    r"""Mean product of each channel over pairs of images or texts of different classes, ``(D,)``.

    The pairs of different classes are all pairs less those of one class:
    :math:`(\sum_k s_k)^2 - \sum_k s_k^2` with :math:`s_k` the sum over a class, its text included.
    """
    labels = context.support_labels
    one_hot = F.one_hot(labels, context.num_classes).double()
    sums = one_hot.T @ context.support.double() + context.text.double()
    counts = one_hot.sum(0) + 1
    pairs = counts.sum() ** 2 - counts.square().sum()
    return ((sums.sum(0).square() - sums.square().sum(0)) / pairs).to(context.text.dtype)
