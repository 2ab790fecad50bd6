"""TAG: a Gaussian classifier whose class means start at the text, with no label to tune on."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from susx_bench.methods.base import (
    Axis,
    Context,
    Follows,
    LinearMethod,
    Need,
    SearchSpace,
    Terms,
    UnfitError,
)
from susx_bench.methods.regression import GOLDEN, LabelRegression, by_class
from susx_bench.methods.zero_shot import clip_logits

FOLDS = 4
KAPPA = 4.0
ALPHA = 0.1

_STEPS = {"kappa": (-1, 0, 1, 2), "freedom": (-2, 0, 2), "alpha": tuple(range(-4, 5))}
"""Octaves around the default at which held-out support is scored."""

_FINER = 8  # steps of the averaged lattice in one of the scored
_DIGITS = 2  # of octaves, and one less of gamma: what last bits of products move lies below

_GAMMAS = (0.0, 3.0, 6.0, 12.0, 25.0, 50.0, 100.0)
_SCORES = 1 << 19  # held-out logits looked at; of a larger support every so many images count
_TEMPERATURES = tuple(2.0 ** (i / 2) for i in range(-12, 9))
_NO_SPREAD = 1e-10  # squared distance from where they are expected, of copies in fp32, at most


@dataclass
class TAG(LinearMethod):
    r"""CLIP's logits, those of Gaussians that know the text, and a regression for what they miss.

    **The Gaussians.** An image of class :math:`k` and the class itself are drawn from

    .. math::
        f \sim \mathcal N(\mu_k, \Sigma), \qquad
        \mu_k \sim \mathcal N(m_k, B), \qquad m_k = x + \rho\,(t_k - t)

    with :math:`t_k` the class's text. Both covariances are unknown, and have conjugate priors:
    :math:`\Sigma` around a sphere, and :math:`B` around :math:`\Sigma / \kappa`, which would make a
    text worth :math:`\kappa` images in every direction. From the :math:`n_k` support images of each
    class and their mean :math:`x_k`, with :math:`w_k = \kappa n_k / (\kappa + n_k)`,

    .. math::
        \hat\Sigma = \frac{1}{M + \nu D} \Bigl(\sum_i (f_i - x_{y_i})(f_i - x_{y_i})^\top
            + \sum_k w_k (x_k - m_k)(x_k - m_k)^\top + \nu \frac{\mathrm{tr}}{M} I\Bigr)

    where tr is the trace of the two sums. With :math:`\hat\Sigma = L L^\top`, the whitened
    :math:`\sqrt{w_k} L^{-1} (x_k - m_k)` would have the identity as covariance if :math:`B` were
    :math:`\Sigma / \kappa`. Let :math:`e_j` be their mean square along their principal axis
    :math:`u_j`. Each axis has its own trust in the text, and on it the posterior mean keeps

    .. math::
        c_j = \frac{q\, e_j + \nu D}{q + \nu D}, \qquad q = \frac{K (M - K)}{M}, \qquad
        \hat\mu_{kj} = x_{kj} + \min\Bigl(1, \frac{\kappa}{(\kappa + n_k)\, c_j}\Bigr)
            (m_{kj} - x_{kj})

    :math:`q` is the number of class means that tell :math:`B` from :math:`\Sigma`, by the precision
    of the ratio of two variances with :math:`K` and :math:`M - K` degrees of freedom: none at one
    shot, where all is as the prior says. Here K counts the classes that have images. A class
    without any keeps :math:`m_k`. :math:`x, t` are the means of images and texts under the weights
    :math:`w_k`, and :math:`\rho \ge 0` is the least-squares slope of :math:`x_k - x` on
    :math:`t_k - t`. The logits are those of the predictive distribution, whose covariance is
    :math:`\hat\Sigma` plus what is not known of the mean of a class with the mean number of images,

    .. math::
        G_k(f) = (f - \tfrac12 \hat\mu_k)^\top P\, \hat\mu_k, \qquad
        P = L^{-\top} \Bigl(I + \sum_j \tfrac{s_j}{n} u_j u_j^\top\Bigr)^{-1} L^{-1}, \qquad
        s_j = 1 - \min\Bigl(1, \frac{\kappa}{(\kappa + n)\, c_j}\Bigr)

    so they are linear in the image.

    **The regression**, `susx_bench.methods.regression.LabelRegression`, bends: it is what many
    shots know beyond one covariance. All together:

    .. math:: \text{logits} = s\, f W^\top + \alpha\, G(f) + \gamma\, R(f)

    **Nothing is set by hand for a task.** :math:`\nu = 1` gives each prior covariance the weight of
    as many samples as there are channels. The others have a posterior: four folds of the support
    are scored by what is fitted on the rest, with the temperature of the sum free (it changes no
    answer), and the likelihood of the held-out labels is multiplied by a prior that is log-normal
    with a deviation of one octave, for :math:`\kappa` around 4 and for :math:`\alpha` around
    :math:`0.1 \sqrt n` with :math:`n` the harmonic mean of the shots, and flat on a lattice from 0
    to 100 for :math:`\gamma`. Between settings that are scored the likelihood is interpolated.
    ``fixed`` takes the posterior means, rounded to a hundredth of an octave and a tenth of
    :math:`\gamma`. The folds are dealt along one fixed direction of the features, so neither the
    order of the images nor the last bits of a machine's products change them. With one image a
    class nothing can be held out: the centres of the priors are taken, and no regression.
    ``support`` averages over :math:`\nu` as well. Where the encoder reads no text, all :math:`t_k`
    are one, so the expected mean of every class is :math:`x`, and :math:`W` has no rows. The
    centres and widths of the priors and the kernel's constants were chosen by us, looking at
    UCF101, Caltech101, Cars, WHU-RS19, ImageNet and DTD, see ``docs/tag.md``.

    Attributes:
        kappa: How many images the text of a class is worth, > 0.
        freedom: :math:`\nu`, >= 0: weight of the prior covariances, in samples a channel.
        alpha: Weight of the Gaussians against CLIP, >= 0.
        gamma: Weight of the regression against CLIP, >= 0; with ``alpha`` 0 it is zero-shot.

    Source:
        This project, `docs/tag.md`; for the shrunken discriminant beside CLIP, Wang et al.,
        arXiv:2402.04087; for Gaussians whose means are drawn from one, Prince and Elder,
        *Probabilistic Linear Discriminant Analysis for Inferences About Identity*, ICCV 2007; for
        kernel ridge regression beside CLIP, Bendou et al., arXiv:2501.11175.
    """

    name: ClassVar[str] = "tag"
    version: ClassVar[str] = "3"
    needs: ClassVar[frozenset[Need]] = frozenset({"support"})
    uses: ClassVar[frozenset[Need]] = frozenset({"text"})
    nonlinear: ClassVar[str] = "its kernel regression bends, wherever gamma is not 0"
    reference: ClassVar[str] = "susxbench"
    seen: ClassVar[frozenset[str]] = frozenset(
        {"ucf101", "caltech101", "stanfordcars", "whurs19", "imagenet", "dtd"}
    )
    seen_always: ClassVar[bool] = True  # no search chooses the kernel

    kappa: float = Follows(KAPPA)
    freedom: float = 1.0
    alpha: float = Follows(ALPHA)
    gamma: float = Follows(0.0)

    def fit(self, context: Context) -> None:
        self._context = context
        # Made once for each setting: a search and the blocks of a test set come back.
        self._made: dict[tuple[float, float], tuple[Tensor, Tensor]] = {}
        self._fixed: dict[str, float] | None = None
        self._seen = sums(context)
        posterior(self._seen, KAPPA, 1.0)  # is it defined at all?
        self._regression = label_regression(context)

    def prepare(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The images, and their logits from the regression, ``(B, K)``."""
        return images, self._regression.logits(images)

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        """CLIP's logits, the Gaussians' and the regression's under their weights, ``(B, K)``."""
        images, regression = prepared
        key = self.kappa, self.freedom
        if key not in self._made:
            self._made[key] = posterior(self._seen, *key)
        weights, bias = self._made[key]
        gaussians = images @ weights.T + bias
        clip = clip_logits(images, self._context)
        return Terms(clip, {"alpha": gaussians, "gamma": regression})

    def fixed(self, context: Context) -> dict[str, float]:
        """All but ``freedom`` by held-out support, see the class."""
        if context is not self._context:
            return held_out(context, label_regression(context), ("kappa",))
        if self._fixed is None:
            self._fixed = held_out(context, self._regression, ("kappa",))
        return dict(self._fixed)

    def from_support(self, context: Context) -> dict[str, float]:
        """All four by held-out support."""
        return held_out(context, label_regression(context), ("kappa", "freedom"))

    def space(self, context: Context) -> SearchSpace:
        """Powers of two around the defaults, for the tunings that look at val."""
        alpha = _start(context)
        return SearchSpace(
            (
                Axis("kappa", tuple(2.0**i for i in range(6))),
                Axis("freedom", (0.25, 1.0, 4.0)),
                Axis("alpha", tuple(alpha * 2 ** (i / 2) for i in range(-8, 9)), weight=True),
                Axis("gamma", _GAMMAS, weight=True),
            ),
            source="tag",
        )


@dataclass(frozen=True)
class Sums:
    """What the posterior needs of a support set, in double precision.

    Attributes:
        text: ``(K, D)``; all 0 where there is none, which tells no class from another.
        count: Images per class, ``(K,)``; a sum of probabilities where labels are guesses.
        means: Their mean, ``(K, D)``; 0 for a class without any.
        within: Scatter around the means, ``(D, D)``.
    """

    text: Tensor
    count: Tensor
    means: Tensor
    within: Tensor


def sums(context: Context) -> Sums:
    """Sum up a support set, class by class: sums by index have no fixed order."""
    images, labels = context.support.double(), context.support_labels
    text = context.text.double()
    if not context.has_text:
        text = images.new_zeros(context.num_classes, images.shape[1])
    count = torch.bincount(labels, minlength=len(text))
    images = images[labels.argsort(stable=True)]
    groups = torch.split(images, count.tolist())
    means = torch.stack([g.mean(0) if len(g) else g.new_zeros(g.shape[1]) for g in groups])
    away = images - means.repeat_interleave(count, dim=0)
    return Sums(text, count, means, away.T @ away)


def posterior(seen: Sums, kappa: float, freedom: float) -> tuple[Tensor, Tensor]:
    r"""The discriminant of the Gaussians given the support, see `TAG`.

    What all classes share is taken off weights and bias: it changes no answer, and in fp32 it would
    take up the digits that tell the classes apart.

    Args:
        seen: The sums of at least one support image.
        kappa: How many images the text of a class is worth.
        freedom: Weight of the prior covariances, in samples a channel.

    Returns:
        Weights ``(K, D)`` and bias ``(K,)``, fp32.

    Raises:
        UnfitError: If no support image differs from what is expected of its class.
    """
    n, total = seen.count.double()[:, None], float(seen.count.sum())
    weight = kappa * n / (kappa + n)
    share = weight / weight.sum()
    images_mean, texts_mean = (share * seen.means).sum(0), (share * seen.text).sum(0)
    away, towards = seen.means - images_mean, seen.text - texts_mean
    spread = (weight * towards.square()).sum()
    slope = ((weight * away * towards).sum() / spread).clamp(min=0) if spread > 0 else 0.0
    expected = images_mean + slope * towards

    between = weight.sqrt() * (seen.means - expected)
    scatter = seen.within + between.T @ between
    width, trace = len(scatter), scatter.diagonal().sum()
    if float(trace) <= _NO_SPREAD * total:
        raise UnfitError(
            "no support image differs from what its class leads to expect, which has no "
            "covariance. Give more shots or more classes"
        )
    prior = freedom * width
    scatter.diagonal().add_(freedom * trace / total)
    scatter /= total + prior
    root = torch.linalg.cholesky(scatter)

    seen_classes = int((seen.count > 0).sum())
    telling = max(0.0, seen_classes * (total - seen_classes) / total)
    square, axes = _axes(_whiten(root, between))
    square /= seen_classes
    # Off the axes, where no mean differs from its text, the square is 0.
    apart = torch.cat([square, square.new_zeros(1)])
    apart = (
        (telling * apart + prior) / (telling + prior) if telling else apart.new_ones(apart.shape)
    )
    of_text = (kappa / (kappa + n) / apart).clamp(max=1)  # (K, axes and one)
    mean_count = total / len(n)
    known = 1 - (kappa / (kappa + mean_count) / apart).clamp(max=1)
    precision = 1 / (1 + known / mean_count)

    middle = expected.mean(0)
    prior_mean = _whiten(root, expected - middle)
    step = _whiten(root, torch.where(n > 0, seen.means - expected, 0.0))
    centres = prior_mean + _along(axes, step, 1 - of_text)
    centre = centres.mean(0)
    centres = centres - centre
    sharp = _along(axes, centres, precision.expand_as(of_text))
    weights = torch.linalg.solve_triangular(root.T, sharp.T, upper=True).T
    # f P mu - mu P mu / 2 around the mean of the centres, so that nothing large cancels.
    bias = -(sharp * centres).sum(-1) / 2 - sharp @ centre - weights @ middle
    return (weights - weights.mean(0)).float(), (bias - bias.mean()).float()


def _whiten(root: Tensor, rows: Tensor) -> Tensor:
    white: Tensor = torch.linalg.solve_triangular(root, rows.T, upper=False)
    return white.T


def _axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of squares along each principal axis of rows ``(K, D)``, and these axes as rows."""
    if len(rows) < rows.shape[1]:
        _, length, axes = torch.linalg.svd(rows, full_matrices=False)
        return length.square(), axes
    square, axes = torch.linalg.eigh(rows.T @ rows)  # the same, in less time
    return square.clamp(min=0), axes.T


def _along(axes: Tensor, rows: Tensor, factors: Tensor) -> Tensor:
    """Rows ``(K, D)`` times a factor for each axis, and the last one for what is off the axes."""
    rest = factors[:, -1:]
    return rest * rows + ((factors[:, :-1] - rest) * (rows @ axes.T)) @ axes


def label_regression(context: Context) -> LabelRegression:
    """The regression of all the support labels."""
    return LabelRegression(context.support, context.support_labels, context.num_classes)


@dataclass(frozen=True)
class _Fold:
    """Held-out images of one fold, and what the rest of the support says.

    Attributes:
        images: ``(B, D)``.
        labels: ``(B,)``.
        seen: Of the rest.
        regression: Logits of the images from the rest, ``(B, K)``.
    """

    images: Tensor
    labels: Tensor
    seen: Sums
    regression: Tensor


def held_out(context: Context, whole: LabelRegression, free: Sequence[str]) -> dict[str, float]:
    """The posterior mean of the hyper-parameters given held-out support labels, see `TAG`.

    Args:
        context: Text and support.
        whole: The regression of all the support.
        free: Which of ``kappa`` and ``freedom`` to average over, besides the weights.

    Returns:
        All four; the centres of the priors where no class has a second image.
    """
    start = {"kappa": KAPPA, "freedom": 1.0, "alpha": _start(context), "gamma": 0.0}
    if not (folds := _folds(context, whole)):
        return start
    labels = torch.cat([fold.labels for fold in folds])
    clip = torch.cat([clip_logits(fold.images, context) for fold in folds])
    regression = torch.cat([fold.regression for fold in folds])
    place = len(_TEMPERATURES) // 2
    scores = []
    for steps in itertools.product(*(_STEPS[name] for name in free)):
        setting = start | {n: start[n] * 2.0**s for n, s in zip(free, steps, strict=True)}
        gaussians = []
        for fold in folds:
            weights, bias = posterior(fold.seen, setting["kappa"], setting["freedom"])
            gaussians.append(fold.images @ weights.T + bias)
        term = start["alpha"] * torch.cat(gaussians)
        for step, gamma in itertools.product(_STEPS["alpha"], _GAMMAS):
            logits = clip + 2.0**step * term + gamma * regression
            score, place = _likelihood(logits, labels, place)
            scores.append(score)
    names = (*free, "alpha")
    likelihood = torch.tensor(scores, dtype=torch.float64, device="cpu")
    moves, gamma = _posterior_mean(likelihood, [_STEPS[name] for name in names])
    moved = {name: start[name] * 2.0**octave for name, octave in zip(names, moves, strict=True)}
    return start | moved | {"gamma": gamma}


def _posterior_mean(
    likelihood: Tensor, steps: Sequence[tuple[int, ...]]
) -> tuple[list[float], float]:
    """Mean of the octaves along each axis and of gamma, rounded.

    Many held-out labels tell settings apart that lie much closer than an octave. So the likelihood
    is interpolated first, or the mean would be whichever scored setting is a little better.

    Args:
        likelihood: In nats, of every setting in the order of the axes, gamma the last.
        steps: Octaves at which it is known along each axis but gamma.
    """
    score = likelihood.view(*(len(octaves) for octaves in steps), len(_GAMMAS))
    axes = []
    for axis, octaves in enumerate(steps):
        finer = _interpolation(len(octaves))
        octave = finer @ torch.tensor(octaves, dtype=torch.float64, device="cpu")
        moved = torch.tensordot(score, finer, dims=([axis], [1])) - octave**2 / 2
        score = moved.movedim(-1, axis)
        axes.append(octave)
    axes.append(torch.tensor(_GAMMAS, dtype=torch.float64, device="cpu"))
    weight = torch.softmax(score.flatten(), dim=0).view_as(score)
    *moves, gamma = (
        float(weight.movedim(axis, -1).flatten(end_dim=-2).sum(0) @ values)
        for axis, values in enumerate(axes)
    )
    return [round(move, _DIGITS) for move in moves], round(gamma, _DIGITS - 1)


def _interpolation(count: int) -> Tensor:
    """Takes values at whole places to those `_FINER` times as dense, ``(finer, count)``.

    Between two of them lies the cubic through the four nearest, or the parabola through all three.
    """
    place = torch.arange((count - 1) * _FINER + 1, dtype=torch.float64, device="cpu") / _FINER
    near = min(4, count)
    first = (place.floor() - 1).clamp(0, count - near)
    nodes = first[:, None] + torch.arange(near, device="cpu")
    away = place[:, None] - nodes
    matrix = torch.zeros(len(place), count, dtype=torch.float64, device="cpu")
    for i in range(near):
        share = torch.ones_like(place)
        for j in range(near):
            if j != i:
                share = share * away[:, j] / (i - j)
        matrix.scatter_(1, nodes[:, i : i + 1].long(), share[:, None])
    return matrix


def _folds(context: Context, whole: LabelRegression) -> list[_Fold]:
    labels, fold = context.support_labels, deal(context)
    order = by_class(context.support, labels)
    every = math.ceil(len(fold) * context.num_classes / _SCORES)
    folds = []
    for number in range(FOLDS):
        kept = rest(context, fold, number)
        out = order[fold[order] == number][::every]
        if not len(out) or not kept.any():
            continue
        seen = sums(context.part(kept))
        try:
            posterior(seen, KAPPA, 1.0)
        except UnfitError:  # copies of one image are all that is left
            continue
        images = context.support[out]
        folds.append(_Fold(images, labels[out], seen, whole.without(images, ~kept)))
    return folds


def _start(context: Context) -> float:
    """Centre of the prior on ``alpha``: it grows with the root of the shots."""
    count = torch.bincount(context.support_labels, minlength=context.num_classes)
    count = count[count > 0].double()
    return ALPHA * math.sqrt(len(count) / float((1 / count).sum())) if len(count) else ALPHA


def deal(context: Context) -> Tensor:
    """Fold of each support image, ``(M,)``; -1 for the only image of a class, which stays.

    Each class is dealt out in an order that depends on its images alone, see `by_class`.
    """
    labels = context.support_labels
    count = torch.bincount(labels, minlength=context.num_classes)
    order = by_class(context.support, labels)
    place = (
        torch.arange(len(labels), device=labels.device) - (count.cumsum(0) - count)[labels[order]]
    )
    fold = torch.empty_like(labels)
    fold[order] = torch.where(count[labels[order]] > 1, place % FOLDS, -1)
    return fold


def rest(context: Context, fold: Tensor, number: int) -> Tensor:
    """What a fold is scored by, ``(M,)`` bool: the others, and of some classes fewer of them.

    Where the classes have unequal numbers of images, each gives up images for once to have as many
    as another has. So a class with few images, or with none and the text alone, is tried as often
    as the support has such classes. Where all have the same number, all the others stay.

    Args:
        context: Text and support.
        fold: Of each image, see `deal`.
        number: Of the fold.
    """
    labels, classes = context.support_labels, context.num_classes
    count = torch.bincount(labels, minlength=classes)
    # In double precision, as in `by_class`: an order is all or nothing.
    middles = context.text.double() if context.has_text else sums(context).means
    likeness = middles @ context.support.double().mean(0)
    place = likeness.argsort(stable=True).argsort()
    other = ((place * GOLDEN + number / FOLDS) % 1 * classes).long()
    wanted = count.sort().values[other]

    order = by_class(context.support, labels)
    order = order[fold[order] != number]
    own = labels[order]
    size = torch.bincount(own, minlength=classes)
    rank = torch.arange(len(own), device=own.device) - (size.cumsum(0) - size)[own]
    # Evenly along the order: every image where as many as there are, or more, are wanted.
    size, wanted = size[own], torch.minimum(wanted, size)[own]
    kept = torch.zeros_like(labels, dtype=torch.bool)
    kept[order] = (rank + 1) * wanted // size > rank * wanted // size
    return kept


def _likelihood(logits: Tensor, labels: Tensor, place: int) -> tuple[float, int]:
    """Log-likelihood of labels at the temperature that fits them best, in nats.

    It is concave in the inverse of the temperature, so a walk to the better neighbour finds the
    best of a lattice. Its value there and at both neighbours give the parabola whose top is taken.

    Args:
        logits: ``(M, K)``.
        labels: ``(M,)``.
        place: Where on the lattice to start.

    Returns:
        It, and the place of the best of the lattice.
    """

    @functools.cache
    def fit(place: int) -> float:
        log_p = torch.log_softmax(_TEMPERATURES[place] * logits, dim=-1)
        return float(log_p.gather(1, labels[:, None]).double().sum())

    while True:
        around = [p for p in (place, place - 1, place + 1) if 0 <= p < len(_TEMPERATURES)]
        better = max(around, key=fit)
        if better == place:
            break
        place = better
    if len(around) < 3:
        return fit(place), place
    middle, left, right = map(fit, around)
    bend = left + right - 2 * middle
    return middle - ((right - left) ** 2 / (8 * bend) if bend < 0 else 0.0), place
