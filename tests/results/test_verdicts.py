"""Verdicts by one rule, and the file that they are written to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from l2l_cli.results.statistics import mean_of, median_of
from l2l_cli.results.verdicts import RULE, summarise

KEY = ("table", "row", "mse")


TIGHT, WIDE = [0.309, 0.310, 0.311], [0.25, 0.30, 0.35]
"""Seeds that share no episodes: intervals 0.3075 … 0.3125 and 0.18 … 0.42."""


@pytest.mark.parametrize(
    ("values", "paper", "limit", "lower", "verdict"),
    [
        (TIGHT, 0.32, None, True, "reproduced"),  # all of the interval within 10 %
        (TIGHT, 0.32, None, None, "reproduced"),
        (TIGHT, 0.345, None, True, "better"),  # its lower end is not
        (TIGHT, 0.345, None, False, "worse"),
        (TIGHT, 0.28, None, True, "worse"),
        (TIGHT, 0.28, None, False, "better"),
        (TIGHT, 0.28, None, None, "differs"),  # no better side
        (WIDE, 0.30, None, True, "open"),  # equal means reproduce nothing where the spread is wide
        ([0.0105, -0.0060, 0.0270], 0.002, None, True, "open"),
        (WIDE, 0.40, None, None, "open"),
        (WIDE, 0.45, None, True, "better"),
        (TIGHT, 0.05, 0.1, True, "differs"),  # impossible
        ([0.0999, 0.1, 0.1001], 0.0985, 0.1, True, "reproduced"),  # impossible, but who can tell it from ours
        ([0.0999, 0.1, 0.1001], 0.0995, 0.1, True, "reproduced"),  # the limit itself is measured
        ([0.89, 0.90, 0.91], 1.1, 1.0, False, "differs"),
        ([0.31, 0.31], 0.31, None, True, ""),  # two seeds have no interval
        (TIGHT, None, 0.1, True, ""),
        ([], 0.32, 0.1, True, "not run"),
        ([], None, None, True, "not run"),
        ([0.1, math.nan], 0.32, None, True, "worse"),  # a diverged seed is not averaged away
        ([0.1, math.inf], 0.32, None, False, "worse"),
    ],
)
def test_verdicts(values, paper, limit, lower, verdict):
    result = summarise(KEY, values, paper, limit, lower_is_better=lower)
    assert result.verdict == verdict
    assert result.seeds == len(values)
    assert result.counts == (bool(verdict) and paper is not None)
    if values and limit:
        assert result.ratio_to_limit == pytest.approx(np.mean(values) / limit)


def test_an_open_verdict_says_how_many_seeds_would_decide_it():
    result = summarise(KEY, WIDE, 0.30)
    count, noun = result.needs.split()
    assert noun == "seeds"
    sd = np.std(WIDE, ddof=1)
    assert t.ppf(0.975, int(count) - 1) * sd / int(count) ** 0.5 <= 0.05 * 0.30
    assert summarise(KEY, TIGHT, 0.32).needs == ""


def test_episodes_that_seeds_share_are_part_of_the_interval():
    episodes = np.linspace(0.0, 0.6, 12)
    crossed = summarise(KEY, 0.01 * np.arange(3.0)[:, None] + episodes, 0.3)
    alone = summarise(KEY, 0.3 + 0.01 * np.arange(3.0), 0.31)
    assert crossed.ours == pytest.approx(alone.ours)
    assert crossed.sd == pytest.approx(alone.sd)
    assert (crossed.verdict, alone.verdict) == ("open", "reproduced")  # 0.285 … 0.335, within 0.279 … 0.341
    assert crossed.about == alone.about == "this recipe"
    assert summarise(KEY, episodes[None], 0.3).about == "this rule"


def test_another_statistic_is_judged_by_its_own_interval():
    seeds = [0.1, 0.2, 0.3, 0.4, 0.5, math.nan]
    found = summarise(KEY, seeds, 0.05, interval=median_of(seeds, "this recipe"))
    assert (found.ours, found.low, found.high) == (pytest.approx(0.35), 0.1, math.inf)
    assert (found.verdict, found.seeds, found.needs) == ("worse", 6, "")
    few = summarise(KEY, seeds[:5], 0.3, interval=median_of(seeds[:5]))
    assert (few.ours, few.low, few.verdict) == (0.3, None, "")


def test_no_verdict_leaves_the_number_and_says_why():
    result = summarise(KEY, TIGHT, 0.32, note="mine").without_verdict("judged in table2")
    assert (result.verdict, result.counts, result.paper) == ("", False, 0.32)
    assert result.note == "mine; judged in table2"
    left_out = summarise(KEY, [], 0.32).without_verdict("x")
    assert (left_out.verdict, left_out.counts) == ("not run", False)
    assert summarise(KEY, TIGHT, None).without_verdict("x").note == ""  # there was nothing to judge


def test_what_cannot_lie_below_zero_has_no_interval_that_does():
    few = [0.001, 0.002, 0.012]
    loss, gap = summarise(KEY, few, 0.03), summarise(KEY, few, 0.03, interval=mean_of(np.array(few)))
    assert (loss.low, loss.high) == (0.0, gap.high)
    assert gap.low < 0.0


def test_spread_is_over_seeds():
    assert summarise(KEY, [1.0, 3.0], None).sd == pytest.approx(math.sqrt(2))
    assert summarise(KEY, [1.0], None).sd is None
    assert summarise(KEY, [1.0], None, 0.0).ratio_to_limit is None


def test_notes_say_what_a_reader_must_know():
    assert (
        summarise(KEY, [0.4], 0.05, 0.1).note == "the published number lies beyond the limit, where no learner can be"
    )
    own = "printed value lies below the limit; see the section on the misprint"
    assert summarise(KEY, [0.4], 0.05, 0.1, own).note == own
    lost = summarise(KEY, [0.4, math.nan], 0.5, 0.1, "mine")
    assert (lost.ours, lost.note) == (math.inf, "mine; 1 of 2 seeds not finite")
    assert all(verdict in RULE for verdict in ("reproduced", "better", "worse", "differs", "open", "10 %"))
