"""Intervals, tests and their corrections, against closed forms, scipy's and simulations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp, wilcoxon

from l2l_cli.results.spread import Spread
from l2l_cli.results.statistics import (
    RECIPE,
    RULE,
    Interval,
    difference_of,
    holm,
    mean_of,
    median_of,
    needed,
    over_episodes,
    p_of,
    p_text,
    p_value,
    sd_of,
    share_of,
)


def crossed(rng, seeds, episodes, over_seeds, over_episodes, rest, shape=()):
    """Draws of a_s + b_e + c_se, (*shape, seeds, episodes)."""
    parts = ((seeds, 1), over_seeds), ((1, episodes), over_episodes), ((seeds, episodes), rest)
    return sum(sd * rng.standard_normal((*shape, *size)) for size, sd in parts)


def test_one_rule_has_students_interval_over_its_episodes():
    half = np.random.default_rng(0).normal(0.0, 1.0, 20)
    values = -1.0 + np.concatenate([half, -half])  # not skewed
    found = over_episodes(values)
    assert (found.low, found.high) == pytest.approx(ttest_1samp(values, 0.0).confidence_interval(0.95))
    assert found.about == RULE
    alone = mean_of(np.array([-0.5, 0.2, 0.9]))
    assert (alone.low, alone.high) == pytest.approx(ttest_1samp([-0.5, 0.2, 0.9], 0.0).confidence_interval(0.95))
    assert alone.about == RECIPE


def test_mean_squares_are_those_of_a_table_by_hand():
    values = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]])
    spread = Spread.of(values)
    assert spread.mean == 3.5
    assert spread.seeds == pytest.approx(3 * (1.5**2 + 1.5**2))
    assert spread.episodes == pytest.approx(2 * (1.5**2 + 0.5**2 + 2.0**2) / 2)
    left = values - np.array([[2.0], [5.0]]) - np.array([2.0, 3.0, 5.5]) + 3.5
    assert spread.rest == pytest.approx((left**2).sum() / 2)
    assert spread.variance == pytest.approx((spread.seeds + spread.episodes - spread.rest) / 6)


def test_variance_is_that_of_the_mean_and_never_below_the_larger_part():
    rng = np.random.default_rng(1)
    draws = crossed(rng, 5, 20, 1.0, 2.0, 0.5, (4000,))
    variances = [Spread.of(values).variance for values in draws]
    assert np.mean(variances) == pytest.approx(1.0 / 5 + 4.0 / 20 + 0.25 / 100, rel=0.05)
    noise = rng.standard_normal((3, 8))  # the mean square of the rest may be above the others
    for values in rng.permuted(np.tile(noise, (200, 1, 1)), axis=2):
        spread = Spread.of(values)
        assert spread.variance >= max(spread.seeds, spread.episodes) / values.size
        assert 1.0 <= spread.freedom <= values.size


def test_seeds_that_share_their_episodes_are_not_more_episodes():
    one = np.random.default_rng(2).standard_normal((1, 40))
    same = mean_of(np.repeat(one, 5, axis=0))
    # Five equal seeds are as sure as one, of the episodes; they add nothing.
    assert same.high - same.low >= 0.99 * (mean_of(one).high - mean_of(one).low)


@pytest.mark.parametrize(
    ("shape", "why"),
    [((1, 7), "none of 7 episodes"), ((3, 1), "none of 1 episode"), ((2, 40), "none of 2 seeds"), ((2,), "none of 2")],
)
def test_few_have_a_mean_and_no_interval(shape, why):
    found = mean_of(np.ones(shape))
    assert found.value == 1.0
    assert not found.is_known
    assert found.side == 0
    assert found.ends(".3g").startswith(why)
    assert difference_of(np.ones((1, 1)), np.zeros((1, 1))).within() == "+1.0000 [none of 1 episode]"


def test_what_is_not_finite_has_no_interval():
    found = over_episodes([1.0, math.inf, *range(10)])
    assert found.value == math.inf
    assert found.ends(".3g") == "a loss is not finite"
    assert math.isnan(p_of(np.array([[1.0, math.inf]])))
    with pytest.raises(ValueError, match="no mean"):
        mean_of(np.empty((0, 0)))


def test_a_long_tail_widens_the_interval_on_its_side_alone():
    values = np.exp(np.random.default_rng(4).normal(0.0, 1.0, 30))
    plain, found = ttest_1samp(values, 0.0).confidence_interval(0.95), over_episodes(values)
    assert found.low <= plain.low
    assert found.high > plain.high
    shifted = over_episodes(values - 10.0)  # there are no logarithms, and the tail is as long
    assert plain.high - 10.0 < shifted.high <= found.high - 10.0 + 1e-9
    mirrored = over_episodes(10.0 - values)
    assert (mirrored.low, mirrored.high) == pytest.approx((-shifted.high, -shifted.low))


def test_a_tail_that_no_sample_shows_is_not_made_up():
    values = np.exp(np.random.default_rng(4).normal(0.0, 3.5, 64))
    found = over_episodes(values)
    assert found.high < 10 * values.max()  # exp(3.5² / 2) = 457, of which the sample knows nothing


def test_medians_lie_between_order_statistics():
    found = median_of([5.0, 1.0, 4.0, 2.0, 3.0, 6.0])
    assert (found.value, found.low, found.high) == (3.5, 1.0, 6.0)  # 1 − 2 / 2⁶ = 97 %
    assert median_of([1.0, 2.0, 3.0, 4.0, 5.0, math.inf]).high == math.inf
    assert median_of(range(5)).ends(".3g") == "none of 5 values"
    nine = median_of(range(9))
    assert (nine.low, nine.high) == (1.0, 7.0)  # between the 2nd and the 8th: 96 %


def test_shares_have_exact_intervals():
    low, high = 1 - 0.975 ** (1 / 8), 1.0
    assert share_of(0, 8).high == pytest.approx(1 - 0.025 ** (1 / 8))
    assert share_of(8, 8).low == pytest.approx(0.025 ** (1 / 8))
    assert low < share_of(5, 8).low < 5 / 8 < share_of(5, 8).high < high


def test_standard_deviations_have_intervals_that_cover_them():
    rng = np.random.default_rng(5)
    hits = [found.low <= 2.0 <= found.high for found in (sd_of(2.0 * rng.standard_normal((1, 60))) for _ in range(400))]
    assert 0.91 <= np.mean(hits) <= 0.98
    values = rng.standard_normal((3, 50))
    assert sd_of(values).value == pytest.approx(values.std(1, ddof=1).mean())


def test_pairs_see_a_difference_that_is_small_beside_the_spread():
    rng = np.random.default_rng(0)
    hardness = rng.normal(0.5, 1.0, 300)
    rule, recipe = hardness[None], hardness + 0.03 + crossed(rng, 4, 300, 0.002, 0.0, 0.05)
    found = difference_of(rule, recipe)
    assert found.interval.low < found.interval.value < found.interval.high < 0
    assert found.interval.value == pytest.approx(-0.03, abs=0.01)
    assert found.interval.about == RECIPE
    assert found.p == pytest.approx(0.125)  # 2 / 2⁴, whatever the difference
    assert difference_of(recipe[:3], recipe).interval.value == 0.0  # as many seeds as the smaller has
    with pytest.raises(ValueError, match="cannot be paired"):
        difference_of(np.ones((1, 2)), np.ones((1, 3)))


def test_p_is_that_of_all_sign_flips():
    gaps = np.array([0.3, -0.1, 0.7, 0.2, 0.5])
    means = [abs(np.dot(signs, gaps)) for signs in itertools.product((-1, 1), repeat=5)]
    exact = np.mean([mean >= abs(gaps.sum()) - 1e-12 for mean in means])
    assert p_of(gaps[None]) == pytest.approx(exact)
    for count in (1, 2, 4, 6):
        assert p_of(np.full((1, count), -0.3)) == pytest.approx(min(1.0, 2.0 ** (1 - count)))
    assert p_of(np.zeros((1, 9))) == 1.0


def test_p_of_many_episodes_is_near_students():
    for shift in (0.0, 0.1, 0.2):
        values = np.random.default_rng(3).normal(shift, 1.0, (1, 200))
        assert p_of(values) == pytest.approx(ttest_1samp(values[0], 0.0).pvalue, abs=0.02)
    assert p_text(p_of(np.full((1, 40), -0.3))) == "p < 0.0003"
    assert p_text(0.034) == "p = 0.034"
    assert (p_value(0.034), p_value(0.0)) == ("0.034", "< 0.0003")


def test_p_of_a_recipe_is_the_largest_of_three():
    rng = np.random.default_rng(6)
    gaps = 0.5 + crossed(rng, 5, 30, 0.1, 0.3, 0.1)
    spread = Spread.of(gaps)
    assert p_of(gaps) == pytest.approx(0.0625)  # 5 seeds say no more
    few = gaps[:, :4] - gaps[:, :4].mean() + 0.1
    parts = [p_of(few.mean(0)[None]), wilcoxon(few.mean(1)).pvalue, 2 * t.sf(0.1 / spread.variance**0.5, 4)]
    assert p_of(few) >= parts[0]


def test_holm_corrects_for_the_number_of_comparisons():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_is_needed_gives_that_half_width():
    rng = np.random.default_rng(7)
    values = np.array([1.0, 1.2, 0.9, 1.1])
    count = int(needed(values, 0.05).split()[0])
    sd = values.std(ddof=1)
    assert t.ppf(0.975, count - 1) * sd / count**0.5 <= 0.05 < t.ppf(0.975, 0.9 * count) * sd / (0.9 * count) ** 0.5
    recipe = 1.0 + crossed(rng, 3, 40, 0.1, 0.1, 0.05)
    assert needed(recipe, 0.05).endswith(" seeds")
    assert needed(recipe, 1e-4) == "more than 40 episodes"  # no number of seeds makes up for them
    assert needed(recipe[:1], 0.01).endswith(" episodes")


def test_sides():
    assert [Interval(0.0, low, high).side for low, high in ((-2, -1), (-1, 1), (1, 2))] == [-1, 0, 1]


COVERED = {"normal": 0.0, "log-normal": 1.0}
"""Distributions of the simulations, by the standard deviation of the logarithm; the normal one has mean 0."""


def coverage(kind: str, seeds: int, episodes: int, ratio: float, draws: int) -> float:
    """Share of the intervals that cover the mean of an infinite population of seeds and episodes."""
    rng = np.random.default_rng(seeds * 1000 + episodes)
    size = COVERED[kind]
    values = crossed(rng, seeds, episodes, ratio, 1.0, 0.5, (draws,))
    truth = 0.0
    if size:
        values = np.exp(values * size / (ratio**2 + 1.0 + 0.25) ** 0.5)
        truth = math.exp(size**2 / 2)
    found = [mean_of(one) for one in values]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", COVERED)
def test_intervals_cover_the_truth_as_often_as_they_say(kind):
    cells = {
        (seeds, episodes, ratio): coverage(kind, seeds, episodes, ratio, 1000)
        for seeds in (3, 5, 8)
        for episodes in (8, 16, 40, 500)
        for ratio in (0.0, 0.5, 3.0)  # sd over seeds in units of that over episodes
    }
    assert min(cells.values()) >= 0.90, min(cells, key=cells.__getitem__)
    assert np.mean(list(cells.values())) >= 0.93


@pytest.mark.parametrize("kind", COVERED)
def test_intervals_cover_the_truth_where_seeds_are_few(kind):
    assert coverage(kind, 3, 40, 0.5, 400) >= 0.90
    one = np.random.default_rng(8).standard_normal((400, 1, 16))
    assert np.mean([abs(found.value) <= found.high - found.value for found in map(mean_of, one)]) >= 0.92
