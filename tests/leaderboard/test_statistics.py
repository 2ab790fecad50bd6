from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from susx_bench.leaderboard.statistics import (
    critical_difference,
    holm,
    over_seeds,
    paired,
    ranking,
    shared_ranks,
    wilson,
)


@pytest.mark.parametrize(("correct", "n"), [(0, 7), (7, 7), (1, 1), (350, 769), (49_999, 50_000)])
def test_wilson_is_scipys(correct: int, n: int) -> None:
    theirs = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")

    assert wilson(correct, n) == pytest.approx((100 * theirs.low, 100 * theirs.high), abs=1e-9)


def test_the_interval_over_seeds_is_scipys() -> None:
    accuracies = [60.25, 61.5, 59.75]
    theirs = stats.t.interval(0.95, 2, np.mean(accuracies), stats.sem(accuracies))

    assert over_seeds(accuracies) == pytest.approx(theirs, abs=1e-9)
    assert over_seeds([100.0, 98.0])[1] == 100.0


def bits(*rows: str) -> NDArray[np.bool_]:
    return np.array([[c == "x" for c in row] for row in rows])


@pytest.mark.parametrize(("won", "lost", "same"), [(10, 2, 5), (3, 3, 1), (0, 6, 0), (40, 71, 9)])
def test_one_run_each_is_mcnemars_mid_p(won: int, lost: int, same: int) -> None:
    first = bits("x" * won + "." * lost + "x" * same)
    second = bits("." * won + "x" * lost + "x" * same)
    exact = stats.binomtest(won, won + lost).pvalue
    mid_p = exact - stats.binom.pmf(won, won + lost, 0.5) if won != lost else 1.0

    assert paired(first, second) == pytest.approx(mid_p, rel=1e-9)


def test_fagerlands_example() -> None:
    """Table 1 of the paper: 1 and 7 discordant pairs of 21, printed there as p = 0.0391."""
    assert paired(bits("x" + "." * 7 + "." * 13), bits("." + "x" * 7 + "." * 13)) == pytest.approx(
        0.0391, abs=5e-5
    )


@pytest.mark.parametrize("seed", range(4))
def test_several_runs_are_all_flips_of_all_signs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.random((3, 11)) < 0.7, generator.random((3, 11)) < 0.5
    lead = [sum(map(int, first[:, i])) - sum(map(int, second[:, i])) for i in range(11)]
    sums = [
        abs(sum(sign * one for sign, one in zip(signs, lead, strict=True)))
        for signs in itertools.product((-1, 1), repeat=11)
    ]
    total = abs(sum(lead))
    beyond, at = sum(s > total for s in sums), sum(s == total for s in sums)
    expected = (beyond + at / 2) / len(sums) if total else 1.0

    assert paired(first, second) == pytest.approx(expected, rel=1e-9)
    assert paired(second, first) == pytest.approx(expected, rel=1e-9)


def test_a_single_run_stands_against_each_of_several() -> None:
    first, second = bits("xxx.xx.", "xx..xxx", "x.xxxxx"), bits(".x....x")

    assert paired(first, second) == pytest.approx(paired(first, second.repeat(3, 0)))


def test_the_same_run_three_times_is_no_more_sure_than_once() -> None:
    first, second = bits("xxxxxxx....x"), bits("......xx...x")

    assert paired(first.repeat(3, 0), second.repeat(3, 0)) == pytest.approx(paired(first, second))


def test_no_image_that_tells_them_apart_is_p_1() -> None:
    assert paired(bits("x.x"), bits("x.x")) == 1.0


def test_a_large_test_set_gives_a_p_in_range() -> None:
    generator = np.random.default_rng(0)
    second = generator.random((3, 50_000)) < 0.6
    first = second | (generator.random((3, 50_000)) < 0.1)

    assert 0 < paired(first, second) < 1e-12


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.005], [0.5], [], [0.2, 0.2, 0.9], [0.6] * 4])
def test_holm_rejects_what_stepping_down_rejects(p: list[float]) -> None:
    adjusted = holm(p)
    for level in np.linspace(0.0005, 0.9995, 1000):
        rejected = set()
        for step, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[place] > level / (len(p) - step):
                break
            rejected.add(place)
        assert {i for i, value in enumerate(adjusted) if value <= level} == rejected


# Demšar 2006, table 5(a): q at the 5 % level for 2 to 10 classifiers.
Q = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]


@pytest.mark.parametrize(("methods", "q"), list(enumerate(Q, start=2)))
def test_the_critical_difference_has_the_published_q(methods: int, q: float) -> None:
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 14))

    assert critical_difference(methods, 14) == pytest.approx(expected, abs=1e-3)


def test_ranks_and_friedman_in_plain_loops() -> None:
    table = np.random.default_rng(3).random((4, 9)) + 0.4 * np.arange(4)[:, None]
    methods, datasets = table.shape
    ranks = [
        sum(sum(table[j, d] > table[i, d] for j in range(methods)) + 1 for d in range(datasets))
        / datasets
        for i in range(methods)
    ]
    square = sum(rank**2 for rank in ranks) - methods * (methods + 1) ** 2 / 4
    chi = 12 * datasets / (methods * (methods + 1)) * square

    ours = ranking(table)

    assert ours.ranks == pytest.approx(ranks)
    assert ours.p == pytest.approx(stats.chi2.sf(chi, methods - 1))
    assert ours.difference == critical_difference(4, 9)


def test_shared_ranks_are_scipys() -> None:
    accuracies = np.random.default_rng(0).integers(50, 55, (9, 40)) / 1.0

    theirs = stats.rankdata(-accuracies, axis=0)

    np.testing.assert_array_equal(shared_ranks(accuracies), theirs)


def test_ties_share_a_rank_and_too_few_give_no_test() -> None:
    assert ranking(np.array([[70.1, 3.0], [70.1, 2.0]])).ranks == (1.25, 1.75)
    four = np.arange(3.0)[:, None] + np.zeros(4)
    for table in ([[1.0, 2.0], [2.0, 1.0]], [[1.0], [2.0], [3.0]], [[1.0] * 6] * 3, four):
        assert ranking(np.array(table)).p is ranking(np.array(table)).difference is None


def test_a_difference_that_means_nothing_is_none() -> None:
    """Friedman does not reject; or the difference is as long as the axis of ranks."""
    chance = ranking(np.random.default_rng(3).random((4, 9)))
    assert chance.p is not None
    assert chance.p > 0.05
    assert chance.difference is None

    skilled = np.arange(30.0)[:, None] + np.random.default_rng(0).random((30, 5))
    assert critical_difference(51, 2) > 50  # longer than from the first rank to the last
    short = ranking(skilled)
    assert short.p is not None
    assert short.p < 0.001
    assert short.difference == critical_difference(30, 5) < 29
