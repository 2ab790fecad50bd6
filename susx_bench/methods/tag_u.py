"""TAG-U: TAG's Gaussians fitted to the test images, with guesses in the place of labels."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Method, Need, Setting, UnfitError
from susx_bench.methods.tag import ALPHA, TAG, Sums, posterior
from susx_bench.methods.zero_shot import clip_logits

_CONCENTRATIONS = tuple(2.0 ** (i / 2) for i in range(-16, 9))
_SPARSE = 1.0  # below it a Dirichlet density is largest where classes are absent


@dataclass
class TagU(Method):
    r"""CLIP's logits plus those of Gaussians that test images and texts fit together.

    The model is that of `susx_bench.methods.tag.TAG`, and :math:`z_{ik}`, the probability that
    image :math:`i` is of class :math:`k`, stands where labels stand there: a class has
    :math:`n_k = \sum_i z_{ik}` images. The two are found in turn, ``rounds`` times over, from
    CLIP's own probabilities:

    .. math::
        z_i = \text{softmax}_k\Bigl(s\, f_i W^\top
            + \min\bigl(\alpha n, 0.1 \sqrt n\bigr)\, G(f_i) + \mathrm E[\log \pi]\Bigr), \qquad
        n = \tfrac NK

    with :math:`G` the Gaussians of the round before. They count the more, the more images a class
    has on average: of two images per class whose labels are guesses little is to be learnt, and
    CLIP decides. Past a hundred they count as they do in TAG, whose labels are known.

    :math:`\pi` are the shares of the classes. They have a Dirichlet prior whose concentration
    :math:`a` makes the counts of CLIP's surest answers likeliest, see `concentration`; an image
    counts by :math:`z_{ik} \max_k z_{ik}` there. CLIP's counts are uneven even where classes are
    equally frequent, and shares fitted to them feed on themselves. So shares are used only where
    the prior is densest at shares of 0, :math:`a < 1`, and equal ones are taken elsewhere:

    .. math:: \mathrm E[\log \pi_k] = \psi(n_k + a) + \text{const}

    **Labelled images** may stand beside the others, where a context has some: :math:`z` of theirs
    is their label in every round, and they count as images in all sums but those of the shares.
    A benchmark's context has none for this method, which needs text alone; `TagUFewShot` and
    `TagUSupport` need some.

    Attributes:
        alpha: Weight of the Gaussians for each image that a class has on average, >= 0.
        kappa: How many images the text of a class is worth, > 0.
        rounds: How often the Gaussians are fitted, >= 0; 0 is zero-shot.

    Source:
        This project, `docs/tag.md`; for shares of classes in small batches, Zanella et al.,
        arXiv:2501.03729.
    """

    name: ClassVar[str] = "tag-u"
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})
    uses: ClassVar[frozenset[Need]] = frozenset({"support"})
    reference: ClassVar[str] = "susxbench"
    seen: ClassVar[frozenset[str]] = TAG.seen
    seen_always: ClassVar[bool] = True
    regime = "transductive"

    alpha: float = 0.01
    kappa: float = 8.0
    rounds: int = 6

    def fit(self, context: Context) -> None:
        self._context = context

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` of test images ``(N, D)``, of which the softmax is their z."""
        return self._rounds(images)[0].to(images.dtype)

    def _rounds(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the last round has: logits of the images, weights and bias, images per class."""
        context, asked = self._context, len(images)
        if len(context.support):
            images = torch.cat([images, context.support])
        worth = images.new_ones(len(images), 1, dtype=torch.float64)
        worth[asked:] = self._worth()
        known = worth[asked:] * F.one_hot(context.support_labels, context.num_classes)
        text, rows = context.text.double(), images.double()
        clip = clip_logits(images, context).double()
        second = rows.T @ (worth * rows)
        weight = self._weight(float(worth.sum()) / len(text))
        sure = torch.softmax(clip[:asked], dim=-1)
        spread = concentration((sure * sure.amax(-1, keepdim=True)).sum(0))
        nothing = clip[:asked], torch.zeros_like(text), torch.zeros_like(text[:, 0])
        logits, weights, bias = clip, *nothing[1:]
        count = clip.new_zeros(len(text))
        for _ in range(self.rounds):
            z = torch.softmax(logits, dim=-1)
            shares = z[:asked].sum(0)
            z[asked:] = known
            count = z.sum(0)
            means = z.T @ rows / count.clamp(min=torch.finfo(count.dtype).tiny)[:, None]
            within = second - means.T @ (count[:, None] * means)
            try:
                fitted = posterior(Sums(text, count, means, within), self.kappa, 1.0)
            except UnfitError:  # all images are one
                return *nothing, count
            weights, bias = (part.double() for part in fitted)
            logits = clip + weight * (rows @ weights.T + bias)
            if spread < _SPARSE:
                logits = logits + torch.digamma(shares + spread)
        return logits[:asked], weights, bias, count

    def _weight(self, images: float) -> float:
        """Weight of the Gaussians by how many images a class has."""
        return min(self.alpha * images, ALPHA * math.sqrt(images))

    def _worth(self) -> float:
        """As how many test images a support image counts."""
        return 1.0


@dataclass
class TagUFewShot(TagU):
    """TAG-U with labelled images beside the test images, each of which counts as one of them.

    Attributes:
        alpha: As of `TagU`.
        kappa: As of `TagU`.
        rounds: As of `TagU`.

    Source:
        As of `TagU`.
    """

    name: ClassVar[str] = "tag-u-fs"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "support"})
    uses: ClassVar[frozenset[Need]] = frozenset()
    settings: ClassVar[frozenset[Setting]] = frozenset({"few-shot"})


@dataclass
class TagUSupport(TagUFewShot):
    """TAG-U with a support set made from the class names beside the test images.

    Its images were generated or found by the names, so they may be of another kind than the test
    images, and some are of another class: each counts as a part of a test image.

    Attributes:
        alpha: As of `TagU`.
        kappa: As of `TagU`.
        rounds: As of `TagU`.
        worth: As how many test images an image of the support set counts, >= 0; with 0 it is
            `TagU`.

    Source:
        As of `TagU`.
    """

    name: ClassVar[str] = "tag-u-sus"
    settings: ClassVar[frozenset[Setting]] = frozenset({"name-only"})

    worth: float = 0.25

    def _worth(self) -> float:
        return self.worth


@dataclass
class TagUStream(TagU):
    r"""TAG-U for a stream: an image is scored by the Gaussians of the images before it.

    .. math::
        \text{logits}_i = s\, f_i W^\top + \min\bigl(\alpha n, 0.1 \sqrt n\bigr)\, G_r(f_i), \qquad
        n = K \Big/ \sum_k \frac1{n_k}

    :math:`G_r` are the Gaussians that `TagU` fits to the first :math:`r` images, of which
    :math:`n_k` are of class :math:`k`. They are fitted anew when :math:`r` is the number of
    classes, and whenever a quarter has been added; the last of these fits before an image scores
    it. So how many images arrive together changes nothing, an image sees no later one, and all
    fits together cost about five times the last. Before the first, CLIP decides.

    The weight follows the harmonic mean of the images per class, as TAG's does: where a class has
    not come yet, CLIP decides. The shares of the classes are used on the images that were seen; of
    the next image they would say that it is like them, which is wrong where classes come one after
    another.

    Attributes:
        alpha: As of `TagU`.
        kappa: As of `TagU`.
        rounds: As of `TagU`.

    Source:
        As of `TagU`.
    """

    name: ClassVar[str] = "tag-u-stream"
    regime = "streaming"  # type: ignore[assignment]  # mypy reads one word as the type

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` of test images ``(N, D)``, in the order they came."""
        logits = clip_logits(images, self._context).double()
        starts = refits(len(images), self._context.num_classes)
        for start, stop in itertools.pairwise([*starts, len(images)]):
            _, weights, bias, count = self._rounds(images[:start])
            weight = self._weight(len(count) / float((1 / count).sum()))
            logits[start:stop] += weight * (images[start:stop].double() @ weights.T + bias)
        return logits.to(images.dtype)


def refits(images: int, classes: int) -> list[int]:
    """After how many images of a stream the Gaussians are fitted: fewer than there are."""
    found, seen = [], classes
    while seen < images:
        found.append(seen)
        seen += math.ceil(seen / 4)
    return found


def concentration(count: Tensor) -> float:
    r"""Concentration of a Dirichlet prior under which counts of classes are likeliest.

    Of a lattice of half octaves, the one of the largest likelihood of a Polya distribution,

    .. math::
        \log \frac{\Gamma(K a)}{\Gamma(n + K a)}
            + \sum_k \log \frac{\Gamma(n_k + a)}{\Gamma(a)}

    Args:
        count: :math:`n_k`, >= 0 and not all 0, ``(K,)``.
    """
    values = torch.tensor(_CONCENTRATIONS, dtype=count.dtype, device=count.device)
    whole = len(count) * values
    fit = torch.lgamma(whole) - torch.lgamma(count.sum() + whole)
    fit = fit + (torch.lgamma(count + values[:, None]) - torch.lgamma(values)[:, None]).sum(-1)
    return float(values[fit.argmax()])
