"""Uncertainty of numbers: intervals, paired tests and ranks, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtri, stdtrit

LEVEL = 0.95
"""Level of every interval, and one minus the level of every test."""

FEWEST = 5
"""Fewest datasets for a test of ranks: with fewer, chance alone orders the methods."""

_Z = float(ndtri(0.5 + LEVEL / 2))


def wilson(correct: int, n: int) -> tuple[float, float]:
    """95 % Wilson interval of an accuracy, in percent.

    Args:
        correct: Images that were right, 0 to `n`.
        n: Test images, at least 1.

    Source:
        Wilson, *Probable inference, the law of succession, and statistical inference*, 1927.
    """
    share, z = correct / n, _Z * _Z / n
    centre = share + z / 2
    half = math.sqrt(share * (1 - share) * z + z * z / 4)
    low = (centre - half) / (1 + z) if correct else 0.0
    high = (centre + half) / (1 + z) if correct < n else 1.0
    return 100 * low, 100 * high


def over_seeds(accuracies: Sequence[float], most: float = 100.0) -> tuple[float, float]:
    """95 % interval of the mean accuracy over draws, by Student's t, cut to [0, `most`].

    It covers the mean of other draws on the same test images. It does not cover other test images.

    Args:
        accuracies: Percent, one per draw, at least two.
        most: Largest possible value.
    """
    n = len(accuracies)
    mean = math.fsum(accuracies) / n
    deviation = math.sqrt(math.fsum((a - mean) ** 2 for a in accuracies) / (n - 1))
    half = float(stdtrit(n - 1, 0.5 + LEVEL / 2)) * deviation / math.sqrt(n)
    return max(mean - half, 0.0), min(mean + half, most)


class Estimate(NamedTuple):
    """A mean and its 95 % interval, in points."""

    mean: float
    low: float
    high: float


def mean_over_columns(
    scores: Sequence[NDArray[np.float64]], images: Sequence[Hashable]
) -> Estimate:
    """Mean over columns of the mean over test images, with its 95 % interval over test images.

    For paired differences it is the interval of a paired comparison. Columns on the same images are
    not independent, so that their scores are first added up per image.

    Args:
        scores: Scores of the images, one array ``(N,)`` per column.
        images: The test set of each column.

    Source:
        The central limit theorem; the variance of a sum over independent test sets.
    """
    sets: dict[Hashable, NDArray[np.float64]] = {}
    for column_scores, name in zip(scores, images, strict=True):
        sets[name] = sets[name] + column_scores if name in sets else column_scores
    mean = math.fsum(float(sums.mean()) for sums in sets.values()) / len(scores)
    variances = [float(sums.var(ddof=1)) / len(sums) for sums in sets.values() if len(sums) > 1]
    half = _Z * math.sqrt(math.fsum(variances)) / len(scores)
    return Estimate(mean, mean - half, mean + half)


TAIL_RUNS = 10
"""Fewest runs of which a tenth is one run."""


def tail(accuracies: Sequence[float]) -> float:
    """Mean of the worst tenth of the runs, rounded up to whole ones: the expected tail accuracy.

    Args:
        accuracies: Percent, one per run, at least one.

    Source:
        Fuchs, Zanella et al., *Online Gaussian Test-Time Adaptation of Vision-Language Models*,
        CVPR Workshops 2025, arXiv:2501.04352.
    """
    worst = sorted(accuracies)[: math.ceil(len(accuracies) / 10)]
    return math.fsum(worst) / len(worst)


def paired(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Two-sided p that two methods are equally often right, on the same images.

    With one run each it is McNemar's exact test with the mid-p of Fagerland et al. With several
    runs, each image has one difference: how much more often the first method was right on it. Under
    the hypothesis the sign of each difference is a fair coin. The distribution of the sum is exact,
    over all flips of all signs; for one run each it is McNemar's binomial. An image is thus one
    observation however many runs it is in. The p does not cover other draws.

    Args:
        first: Which images each run of the first method had right, ``(R, N)``.
        second: Which images each run of the second method had right, ``(Q, N)``.

    Returns:
        p in (0, 1]; 1 if no image distinguishes the methods.

    Source:
        McNemar 1947; Fagerland, Lydersen and Laake, *The McNemar test for binary matched-pairs
        data: mid-p and asymptotic are better than exact conditional*, 2013.
    """
    return paired_counts(how_often(first), len(first), how_often(second), len(second))


def paired_counts(
    first: NDArray[np.integer[Any]],
    first_runs: int,
    second: NDArray[np.integer[Any]],
    second_runs: int,
) -> float:
    """`paired`, from the counts ``(N,)`` of `how_often` and the number of runs of each method."""
    common = math.gcd(first_runs, second_runs)
    most = first_runs * second_runs // common
    lead = first.astype(small := np.min_scalar_type(-2 * most - 1)) * (second_runs // common)
    lead -= second.astype(small) * (first_runs // common)
    images_by_lead = np.bincount(lead + most, minlength=2 * most + 1)
    behind, ahead = images_by_lead[:most][::-1], images_by_lead[most + 1 :]
    counts = behind + ahead  # images by how far the methods differ, from 1
    total = abs(int(np.arange(1, most + 1) @ (ahead - behind)))
    if not total:
        return 1.0
    # Probability of each sum of signed leads of one size, in steps of 2, with 0 in the middle.
    parts = []
    for size, images in enumerate(counts.tolist(), start=1):
        if images:
            coins = _fair_coins(images)
            won = np.zeros(size * (len(coins) - 1) + 1)
            won[::size] = coins
            parts.append(won)
    last = parts.pop()
    others = reduce(np.convolve, parts) if parts else np.ones(1)
    # The sums of all leads are one more convolution, of which only the ends are needed.
    reached = (len(others) + len(last) - 2 + total) // 2
    tails = np.append(
        last[::-1].cumsum()[::-1], 0.0
    )  # probability of a place and all places after it
    places = reached - np.arange(len(others))
    reaching, beyond = (tails[np.clip(p, 0, len(last))] for p in (places, places + 1))
    two_sided = others @ (reaching + beyond)
    return float(np.clip(two_sided, np.finfo(float).tiny, 1.0))


def how_often(right: NDArray[np.bool_]) -> NDArray[np.integer[Any]]:
    """The number of runs in which each image was right: from ``(R, N)`` the sum ``(N,)``."""
    often: NDArray[np.integer[Any]] = right.sum(0, dtype=np.min_scalar_type(len(right)))
    return often


@lru_cache(1024)
def _fair_coins(n: int) -> NDArray[np.float64]:
    """Probability of each number of heads in `n` throws, n / 2 in the middle.

    The tails beyond five square roots of n on either side have less than 1e-21 (Hoeffding 1963)
    and are left out.
    """
    fewest = math.ceil(max(0.0, n / 2 - 5 * math.sqrt(n)))
    heads = np.arange(fewest, n - fewest + 1)
    ways = gammaln(n + 1) - gammaln(heads + 1) - gammaln(n - heads + 1)
    chances: NDArray[np.float64] = np.exp(ways - n * math.log(2))
    return chances


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p values of several tests, so that the family-wise error is at most the level.

    Source:
        Holm, *A simple sequentially rejective multiple test procedure*, 1979.
    """
    adjusted, floor = [0.0] * len(p), 0.0
    for done, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        floor = max(floor, min((len(p) - done) * p[place], 1.0))
        adjusted[place] = floor
    return adjusted


@dataclass(frozen=True)
class Ranking:
    """A comparison of methods over several datasets.

    Attributes:
        ranks: Average rank of each method, 1 the best, ties shared.
        datasets: Number of datasets N.
        p: Friedman's p for equal ranks; None with fewer than three methods or `FEWEST` datasets, or
            if all methods tie.
        difference: Average ranks further apart than this differ at the 5 % level (Nemenyi); None
            if `p` is None or does not reject, or if no two ranks can be that far apart.
    """

    ranks: tuple[float, ...]
    datasets: int
    p: float | None
    difference: float | None


def ranking(accuracies: NDArray[np.float64]) -> Ranking:
    """Average ranks with Friedman's test and Nemenyi's critical difference.

    Args:
        accuracies: One row per method, one column per dataset, no gaps, ``(methods, N)``. Columns
            must be independent: average columns of one dataset first.

    Source:
        Demšar, *Statistical comparisons of classifiers over multiple data sets*, JMLR 2006.
    """
    methods, datasets = accuracies.shape
    row_ranks = shared_ranks(accuracies)
    ranks = tuple(float(rank) for rank in row_ranks.mean(1))
    p = difference = None
    if methods > 2 and datasets >= FEWEST and np.ptp(row_ranks, axis=0).any():
        from scipy import stats

        p = float(stats.friedmanchisquare(*row_ranks).pvalue)
        apart = critical_difference(methods, datasets)
        if p < 1 - LEVEL and apart < methods - 1:
            difference = apart
    return Ranking(ranks, datasets, p, difference)


def shared_ranks(accuracies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of each method in each column ``(methods, N)``, 1 the best, ties shared."""
    rounded = np.round(accuracies, 9)
    better = (rounded[None] > rounded[:, None]).sum(1)
    alike = (rounded[None] == rounded[:, None]).sum(1)  # itself too
    return np.asarray(better + (alike + 1) / 2, np.float64)


def critical_difference(methods: int, datasets: int) -> float:
    """Nemenyi's critical difference of average ranks at the 5 % level.

    Source:
        Demšar 2006, section 3.2.2.
    """
    from scipy import stats

    q = float(stats.studentized_range.ppf(LEVEL, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))
