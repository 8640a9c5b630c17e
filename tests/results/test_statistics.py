"""Statistics and their uncertainty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from l2l_cli.results.statistics import DRAWS, Difference, bootstrap_interval, p_text, paired_bootstrap, paired_p


def test_bootstrap_covers_the_mean():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        interval = bootstrap_interval(rng.normal(2.0, 1.0, 80).tolist(), seed=trial)
        hits += interval.low < 2.0 < interval.high
    assert 88 <= hits <= 99


def test_bootstrap_takes_any_statistic_and_repeats_itself():
    values = [1.0, 2.0, 3.0, 100.0]
    interval = bootstrap_interval(values, np.median)
    assert interval.value == 2.5
    assert interval == bootstrap_interval(values, np.median)
    assert interval != bootstrap_interval(values, np.median, level=0.5)
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval([])


def test_pairs_see_a_difference_that_is_small_beside_the_spread():
    rng = np.random.default_rng(0)
    hardness = rng.normal(0.5, 1.0, 300)
    first, second = hardness.tolist(), (hardness + 0.03 + rng.normal(0.0, 0.05, 300)).tolist()
    interval = paired_bootstrap(first, second)
    assert interval.low < interval.value < interval.high < 0
    assert interval.value == pytest.approx(-0.03, abs=0.01)
    with pytest.raises(ValueError, match="come in pairs"):
        paired_bootstrap([1.0], [1.0, 2.0])


def test_p_of_a_paired_bootstrap_is_near_that_of_a_t_test():
    for shift in (0.0, 0.1, 0.2):
        values = np.random.default_rng(3).normal(shift, 1.0, 300)
        assert paired_p(values) == pytest.approx(ttest_1samp(values, 0.0).pvalue, abs=0.02)
    assert p_text(1 / (DRAWS + 1)) == "p < 0.0003"
    assert p_text(0.034) == "p = 0.034"


def test_one_episode_has_no_interval_and_few_pairs_no_small_p():
    alone = bootstrap_interval([1.184])
    assert alone.value == 1.184
    assert alone.ends(".3g") == "none of one episode"
    assert bootstrap_interval([1.0, 2.0]).ends(".3g") == "1 … 2"
    assert Difference(paired_bootstrap([1.0], [2.0]), 1.0, 1.0).within() == "-1.0000 [none of one episode]"
    for count in (1, 2, 4, 6):
        equal = np.full(count, -0.3) + np.linspace(0, 1e-3, count)
        assert paired_p(equal) >= 2.0 / 2**count  # the exact test by flipped signs can give no less
    assert paired_p(np.full(40, -0.3)) <= 1 / (DRAWS + 1)
