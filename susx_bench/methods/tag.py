"""TAG: a Gaussian classifier whose class means start at the text, with no label to tune on."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from susx_bench.methods.base import (
    Axis,
    Context,
    Follows,
    LinearMethod,
    SearchSpace,
    Terms,
    UnfitError,
)
from susx_bench.methods.zero_shot import clip_logits

FOLDS = 4
ALPHA = 0.2
"""Weight of the Gaussians where the support cannot tell: what the prior on it is centred on."""

_LINE = sorted(range(-8, 9), key=abs)  # steps of the weight; the smaller wins a tie
_SCORES = 1 << 22  # held-out logits looked at; of a larger support every so many images count
_NEWTON = 30
_NO_SPREAD = 1e-10  # squared distance from where they are expected, of copies in fp32, at most


@dataclass
class TAG(LinearMethod):
    r"""CLIP's logits plus those of Gaussians that know the text before they see an image.

    An image of class :math:`k` and the class itself are drawn from

    .. math::
        f \sim \mathcal N(\mu_k, \Sigma), \qquad
        \mu_k \sim \mathcal N\Bigl(x + \rho\,(t_k - t),\ \Sigma / \kappa\Bigr), \qquad
        \Sigma \sim \mathcal W^{-1}\bigl(\nu D\, \sigma^2 I,\ \nu D + D + 1\bigr)

    with :math:`t_k` the class's text. This is the conjugate prior of a Gaussian (normal inverse
    Wishart), so all follows in closed form from the :math:`n_k` support images of each class, their
    mean :math:`x_k`, and the prior mean :math:`m_k = x + \rho (t_k - t)`:

    .. math::
        \hat\mu_k &= \frac{n_k x_k + \kappa m_k}{n_k + \kappa}, \qquad
        S = \frac1M \Bigl(\sum_i (f_i - x_{y_i})(f_i - x_{y_i})^\top
            + \sum_k w_k (x_k - m_k)(x_k - m_k)^\top\Bigr), \\
        \hat\Sigma &= (1 - \lambda)\, S + \lambda\, \tfrac{\mathrm{tr} S}{D} I, \qquad
        w_k = \frac{\kappa n_k}{\kappa + n_k}, \qquad \lambda = \frac{\nu D}{\nu D + M}

    :math:`x, t` are the means of images and texts with the weights :math:`w_k`, which is where the
    posterior of a common mean with a flat prior lies, :math:`\rho` is the least-squares slope of
    :math:`x_k - x` on :math:`t_k - t` under these weights (0 at least), and :math:`\sigma^2` is the
    mean variance. A class without images keeps :math:`m_k`. At one shot all spread is that of the
    images around their texts.

    .. math::
        \text{logits} = s\, f W^\top + \alpha\, (f \hat\Sigma^{-1} \hat\mu_k^\top
            - \tfrac12 \hat\mu_k \hat\Sigma^{-1} \hat\mu_k^\top)

    Nothing is searched under ``fixed``. :math:`\nu = 1` gives the prior covariance the weight of
    as many images as there are channels. :math:`\alpha` follows from the support: Gaussians fitted
    on all but a fold of it score that fold, and the weight is taken under which the held-out labels
    are most likely, the temperature of the sum being free (it changes no answer) and
    :math:`\log \alpha` having a normal prior around 0.2 with half an octave as its deviation.
    Images that resemble each other are held out together, see `deal_alike`. With one image a class
    nothing can be held out, and it is 0.2. ``support`` chooses :math:`\kappa` and :math:`\nu` in
    the same way, with such a prior around each.

    :math:`\kappa` is the one constant that does not follow from anything: the evidence is flat in
    it at one shot, and where it is not it takes averaged views of near-duplicates for classes of
    little spread, so that it trusts the images too much.

    Attributes:
        kappa: How many images the text of a class is worth, > 0.
        freedom: :math:`\nu`, >= 0: weight of the prior covariance, in images a channel.
        alpha: Weight of the Gaussians against CLIP, >= 0; 0 is zero-shot.

    Source:
        This project, `docs/tag.md`; for the shrunken discriminant beside CLIP, Wang et al.,
        arXiv:2402.04087.
    """

    name: ClassVar[str] = "tag"
    reference: ClassVar[str] = "susxbench"

    kappa: float = 8.0
    freedom: float = 1.0
    alpha: float = Follows(ALPHA)

    def fit(self, context: Context) -> None:
        self._context = context
        # Made once for each setting: a search and the blocks of a test set come back.
        self._made: dict[tuple[float, float], tuple[Tensor, Tensor]] = {}
        self._fixed: dict[str, float] | None = None
        self._seen = sums(context)
        posterior(self._seen, type(self)().kappa, type(self)().freedom)  # is it defined at all?

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        """CLIP's logits, and the Gaussians' under ``alpha``; ``(B, K)`` each."""
        (images,) = prepared
        key = self.kappa, self.freedom
        if key not in self._made:
            self._made[key] = posterior(self._seen, *key)
        weights, bias = self._made[key]
        return Terms(clip_logits(images, self._context), {"alpha": images @ weights.T + bias})

    def fixed(self, context: Context) -> dict[str, float]:
        """The defaults, with ``alpha`` by the likelihood of held-out support, see the class."""
        if context is not self._context:
            return held_out(context, type(self)().hparams, ("alpha",))
        if self._fixed is None:
            self._fixed = held_out(context, type(self)().hparams, ("alpha",))
        return dict(self._fixed)

    def from_support(self, context: Context) -> dict[str, float]:
        """All three by the likelihood of held-out support."""
        values = type(self)().hparams
        return held_out(context, values, tuple(values))

    def space(self, context: Context) -> SearchSpace:
        """Powers of two around the defaults, for the tunings that look at val."""
        return SearchSpace(
            (
                Axis("kappa", tuple(2.0**i for i in range(6))),
                Axis("freedom", tuple(2.0**i for i in range(-4, 3))),
                Axis("alpha", tuple(ALPHA * 2 ** (i / 2) for i in range(-8, 9)), weight=True),
            ),
            source="tag",
        )


@dataclass(frozen=True)
class Sums:
    """What the posterior needs of a support set, in double precision.

    Attributes:
        text: ``(K, D)``.
        count: Images a class, ``(K,)``.
        means: Their mean, ``(K, D)``; 0 for a class without any.
        within: Scatter around the means, ``(D, D)``.
    """

    text: Tensor
    count: Tensor
    means: Tensor
    within: Tensor


def sums(context: Context) -> Sums:
    """Sum up a support set, class by class: sums by index have no fixed order."""
    text, images, labels = context.text.double(), context.support.double(), context.support_labels
    count = torch.bincount(labels, minlength=len(text))
    images = images[labels.argsort(stable=True)]
    groups = torch.split(images, count.tolist())
    means = torch.stack([g.mean(0) if len(g) else g.new_zeros(g.shape[1]) for g in groups])
    away = images - means.repeat_interleave(count, dim=0)
    return Sums(text, count, means, away.T @ away)


def posterior(seen: Sums, kappa: float, freedom: float) -> tuple[Tensor, Tensor]:
    r"""The discriminant of the Gaussians given the support.

    What all classes share is taken off weights and bias: it changes no answer, and in fp32 it would
    take up the digits that tell the classes apart.

    Args:
        seen: The sums of at least one support image.
        kappa: How many images the text of a class is worth.
        freedom: Weight of the prior covariance, in images a channel.

    Returns:
        Weights ``(K, D)`` and bias ``(K,)``, fp32.

    Raises:
        UnfitError: If no support image differs from what is expected of its class.
    """
    n, total = seen.count.double()[:, None], int(seen.count.sum())
    weight = kappa * n / (kappa + n)
    share = weight / weight.sum()
    images_mean, texts_mean = (share * seen.means).sum(0), (share * seen.text).sum(0)
    away, towards = seen.means - images_mean, seen.text - texts_mean
    spread = (weight * towards.square()).sum()
    slope = ((weight * away * towards).sum() / spread).clamp(min=0) if spread > 0 else 0.0
    expected = images_mean + slope * towards
    centres = (n * seen.means + kappa * expected) / (n + kappa)

    between = weight.sqrt() * (seen.means - expected)
    scatter = seen.within + between.T @ between
    width, trace = len(scatter), scatter.diagonal().sum()
    if float(trace) <= _NO_SPREAD * total:
        raise UnfitError(
            "no support image differs from what its class leads to expect, which has no "
            "covariance. Give more shots or more classes"
        )
    # M times S over M + freedom D is (1 - lambda) S, and so is the ridge lambda tr S / D.
    scatter.diagonal().add_(freedom * trace / total)
    scatter /= total + freedom * width

    centre = centres.mean(0)
    weights = torch.cholesky_solve((centres - centre).T, torch.linalg.cholesky(scatter)).T
    # f P mu - mu P mu / 2 around the mean of the centres, so that nothing large cancels.
    bias = -(weights * (centres - centre)).sum(-1) / 2 - weights @ centre
    return (weights - weights.mean(0)).float(), (bias - bias.mean()).float()


def held_out(
    context: Context, values: Mapping[str, float], free: Sequence[str]
) -> dict[str, float]:
    """The setting under which held-out support labels are most likely, see `TAG`.

    Found on a lattice of half octaves: the best weight first, over all its line, because where the
    text misleads no small step is better than another; then from neighbour to better neighbour.

    Args:
        context: Text and support.
        values: ``kappa``, ``freedom`` and ``alpha`` that the prior is centred on.
        free: The ones to choose.

    Returns:
        All three; `values` where a class has a single image.
    """
    count = torch.bincount(context.support_labels, minlength=context.num_classes)
    fewest = int(count[count > 0].min()) if len(context.support_labels) else 0
    if (folds := min(FOLDS, fewest)) < 2:
        return dict(values)
    fold = deal_alike(context.support, context.support_labels, folds)
    every = math.ceil(len(fold) * context.num_classes / _SCORES)
    outs = [(fold == number).nonzero().flatten()[::every] for number in range(folds)]
    seen = [sums(context.part(fold != number)) for number in range(folds)]
    clip = torch.cat([clip_logits(context.support[out], context).double() for out in outs])
    labels = torch.cat([context.support_labels[out] for out in outs])

    @functools.cache
    def gaussians(kappa: float, freedom: float) -> Tensor:
        made = [posterior(part, kappa, freedom) for part in seen]
        parts = [
            context.support[out] @ weights.T + bias
            for out, (weights, bias) in zip(outs, made, strict=True)
        ]
        return torch.cat(parts).double()

    @functools.cache
    def score(steps: tuple[int, ...]) -> float:
        setting = at(steps)
        term = gaussians(setting["kappa"], setting["freedom"])
        fit = _likelihood(clip + setting["alpha"] * term, labels)
        return fit - sum(step**2 for step in steps) / 2

    def at(steps: tuple[int, ...]) -> dict[str, float]:
        moved = {
            name: values[name] * 2 ** (step / 2) for name, step in zip(free, steps, strict=True)
        }
        return {**values, **moved}

    line = [tuple(step * (name == "alpha") for name in free) for step in _LINE]
    here = max(line, key=score)
    moves = list(itertools.product((0, 1, -1), repeat=len(free)))  # staying first: it wins a tie
    while True:
        around = [tuple(a + b for a, b in zip(here, move, strict=True)) for move in moves]
        best = max(around, key=score)
        if best == here:
            return at(here)
        here = best


def deal_alike(images: Tensor, labels: Tensor, folds: int) -> Tensor:
    """Fold of each image, ``(M,)``: alike images of a class in one, so far as folds are even.

    A support set often holds near-duplicates: frames of a scene, photographs of one object. With
    one of them held out and its twin not, a classifier that remembers looks best. So each fold
    takes the image least like what is left of its class, and then those nearest to it.

    Args:
        images: L2-normalised, ``(M, D)``.
        labels: ``(M,)``.
        folds: Number of folds.
    """
    fold = torch.empty_like(labels)
    for label in sorted(set(labels.tolist())):
        left = (labels == label).nonzero().flatten()
        for number in range(folds):
            alike = images[left] @ images[left].T
            far = alike.mean(1).argmin()
            taken = math.ceil(len(left) / (folds - number))
            order = alike[far].argsort(descending=True, stable=True)
            fold[left[order[:taken]]] = number
            left = left[order[taken:].sort().values]
    return fold


def _likelihood(logits: Tensor, labels: Tensor) -> float:
    r"""Log-likelihood of labels at the temperature that fits them best, in nats.

    It is concave in the factor on the logits: Newton steps on its logarithm, none longer than a
    factor of e, from 1.

    Args:
        logits: ``(M, K)``.
        labels: ``(M,)``.
    """
    own = logits.gather(1, labels[:, None])[:, 0]
    best, log_factor = -math.inf, 0.0
    for _ in range(_NEWTON):
        factor = math.exp(log_factor)
        log_p = torch.log_softmax(factor * logits, dim=-1)
        best = max(best, float(log_p.gather(1, labels[:, None]).sum()))
        p = log_p.exp()
        mean = (p * logits).sum(-1)
        slope = factor * float((own - mean).sum())
        variance = (p * logits.square()).sum(-1) - mean.square()
        curvature = max(factor**2 * float(variance.sum()) - slope, 1e-9)
        step = max(-1.0, min(1.0, slope / curvature))
        if abs(step) < 1e-4 or abs(log_factor + step) > 10:
            break
        log_factor += step
    return best
