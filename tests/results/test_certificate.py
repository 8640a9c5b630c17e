"""The certificate of a learned rule, against closed forms."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import t

from l2l_cli.results.certificate import (
    Certificate,
    JudgedMark,
    Price,
    best_rival,
    judged,
    marks_of,
    reached,
    time_text,
)
from l2l_cli.results.gains import gain_of
from l2l_cli.results.standings import AHEAD, BEHIND, LEVEL
from l2l_cli.results.statistics import RECIPE, RULE, Interval, difference_of

PRICE = Price(90.0, 2.0, 1.0, 100, 50, 110, 3)
"""A use takes 100 s of the rule, and 110 s of the rival, which comes to the same loss later."""


def mirrored(rng, middle, size):
    """Values without any skewness about their mean."""
    half = rng.normal(0.0, 0.1, size)
    return middle + np.concatenate([half, -half])


def test_the_gain_over_a_constant_rival_is_that_of_the_mean():
    ours = mirrored(np.random.default_rng(0), 3.0, 8)
    found = gain_of(ours[None], np.full((1, 16), 4.0))
    reach = t.ppf(0.975, 15) * ours.std(ddof=1) / 4.0
    assert found.value == pytest.approx(0.25)
    assert (found.low, found.high) == pytest.approx((0.25 - reach / 4.0, 0.25 + reach / 4.0), rel=1e-6)
    assert found.about == RULE


def test_the_ends_of_the_gain_are_the_roots_of_fiellers_equation():
    rng = np.random.default_rng(1)
    ours, theirs = mirrored(rng, 2.0, 10), mirrored(rng, 2.5, 10)
    found, factor = gain_of(ours[None], theirs[None]), t.ppf(0.975, 19) ** 2 / 20
    covariance = np.cov(ours, theirs)
    roots = np.roots(
        [
            2.5**2 - factor * covariance[1, 1],
            -2 * (2.0 * 2.5 - factor * covariance[0, 1]),
            2.0**2 - factor * covariance[0, 0],
        ]
    )
    assert sorted([1 - found.low, 1 - found.high]) == pytest.approx(sorted(roots), rel=1e-6)


@pytest.mark.parametrize("seeds", [1, 4])
def test_the_gain_holds_nothing_exactly_where_the_difference_does(seeds):
    rng = np.random.default_rng(2)
    for shift in np.linspace(-0.3, 0.3, 9):
        theirs = np.exp(rng.normal(0.0, 0.5, (1, 20)))
        ours = theirs * np.exp(rng.normal(shift, 0.2, (seeds, 20)) + rng.normal(0.0, 0.1, (seeds, 1)))
        gain, difference = gain_of(ours, theirs), difference_of(ours, theirs).interval
        assert gain.side == -difference.side
        assert gain.about == difference.about == (RULE if seeds == 1 else RECIPE)
        assert gain.low <= gain.value <= gain.high


def test_a_rival_that_may_have_no_loss_at_all_leaves_the_gain_open_below():
    theirs = np.zeros((1, 16))
    theirs[0, 0] = 0.1
    found = gain_of(mirrored(np.random.default_rng(3), 1.0, 8)[None], theirs)
    assert found.low == -math.inf


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        (np.ones((1, 4)), np.ones((1, 4)), "none of 4 episodes"),
        (np.ones((2, 9)), np.ones((1, 9)), "none of 2 seeds"),
        (np.full((1, 9), np.inf), np.ones((1, 9)), "a loss is not finite"),
        (np.ones((1, 9)), -np.ones((1, 9)), "losses that are not above 0 have no shares"),
        (-np.ones((1, 9)), np.ones((1, 9)), "losses that are not above 0 have no shares"),
        (np.ones((1, 9)), np.zeros((1, 9)), "losses that are not above 0 have no shares"),
    ],
)
def test_where_there_is_no_interval_it_says_why(ours, theirs, why):
    found = gain_of(ours, theirs)
    assert not found.is_known
    assert found.why_none == why


def test_a_rule_that_diverges_is_behind_and_one_on_few_episodes_is_not_judged():
    assert judged(np.full((1, 9), np.inf), np.ones((1, 9)), 10).said() == (
        "behind after 10 steps (a loss is not finite)"
    )
    assert judged(np.ones((1, 4)), np.full((1, 4), 2.0), 10).said("your adam") == (
        "not judged beside your adam after 10 steps (none of 4 episodes)"
    )


def test_losses_below_0_are_judged_though_they_have_no_shares():
    rng = np.random.default_rng(4)
    theirs = rng.normal(0.0, 1.0, (1, 20))
    assert judged(theirs - 1.0, theirs, 10).said("adam") == (
        "ahead of adam after 10 steps (losses that are not above 0 have no shares)"
    )
    level = judged(theirs + mirrored(rng, 0.0, 10), theirs, 10)
    assert (level.stands, level.gain.is_known) == (LEVEL, False)


def test_no_gain_is_above_the_whole_loss():
    """A few episodes with most of the loss: by the difference alone the rule's mean might lie below 0."""
    ours = np.full((1, 12), 1e-3)
    ours[0, 0] = 3.0
    found = gain_of(ours, np.linspace(4.0, 6.0, 12)[None])
    assert found.low < found.value < found.high == 1.0


def test_marks_are_a_tenth_half_and_the_whole():
    assert marks_of(2000) == [200, 1000, 2000]
    assert marks_of(1) == [1]


def test_a_loss_is_reached_when_the_curve_first_is_as_low():
    curve = np.array([3.0, 2.0, 2.5, 1.0])
    assert [reached(curve, level) for level in (2.0, 1.5, 0.9)] == [2, 4, None]


def test_meta_training_pays_when_what_uses_save_exceeds_it():
    assert PRICE.saved == pytest.approx(10.0)
    assert PRICE.tuning == pytest.approx(300.0)
    assert (PRICE.uses(), PRICE.uses(tuned=True)) == (9, 1)
    assert PRICE._replace(training=90.1).uses() == 10
    assert PRICE._replace(training=None).uses() is None


def test_a_rival_that_is_sooner_there_is_never_outpaid_unless_it_must_be_tuned():
    price = PRICE._replace(rival_reached=20)
    assert price.saved == pytest.approx(-80.0)
    assert (price.uses(), price.uses(tuned=True)) == (None, 1)
    assert price.sentence("adam").endswith(
        "never pays back, as a use saves no time; it does after 1 use where adam would be tuned for each"
    )


def test_a_rival_that_never_comes_there_bounds_what_is_saved():
    price = PRICE._replace(rival_reached=None, reached=20)
    assert price.saved == pytest.approx(60.0)
    assert "pays back after at most 2 uses" in price.sentence("adam")
    dear = price._replace(step=9.0, trials=0)
    assert dear.uses() is None
    assert "is open, as adam does not come as low in 100 steps" in dear.sentence("adam")


def test_a_rule_that_diverges_pays_nothing_however_dear_its_rival_is_to_tune():
    price = PRICE._replace(reached=None, rival_reached=None, step=0.1)
    assert (price.uses(), price.uses(tuned=True)) == (None, None)
    assert price.sentence("adam").endswith("never pays back, as the rule's loss is not finite in the end")
    marks = [JudgedMark(100, Interval(-math.inf, math.nan, math.nan, why_none="a loss is not finite"), BEHIND)]
    found = Certificate("lstm", "adam", marks, price)
    row = found.cost_row()
    assert (row["steps to the rule's loss"], row["one use saves"]) == ("its loss is not finite", "nothing")
    assert (row["paid after"], row["tuning counted"]) == ("never", "never")
    assert found._replace(price=price._replace(training=None)).cost_row()["paid after"] == "never"
    json.dumps(found.entries(), allow_nan=False)


def test_a_rival_that_was_not_tuned_costs_no_tuning_and_is_not_called_tuned():
    price = PRICE._replace(trials=0)
    assert price.uses(tuned=True) == price.uses()
    found = Certificate("lstm", "adam", [JudgedMark(100, gain(0.1, 0.2, 0.3), AHEAD)], price)
    assert found.sentence.startswith("lstm is ahead of your adam by 20 % [10, 30]")
    assert "would be tuned" not in found.sentence
    assert found.cost_row()["tuning it takes"] == "0 runs, 0 CPU-s"


def gain(low, value, high):
    return Interval(value, low, high, RULE)


def test_the_sentence_says_where_it_is_ahead_and_where_it_is_not():
    marks = [
        JudgedMark(2000, gain(0.08, 0.12, 0.16), AHEAD),
        JudgedMark(10000, gain(-0.02, 0.01, 0.03), LEVEL),
        JudgedMark(20000, gain(-0.4, -0.3, -0.2), BEHIND),
    ]
    found = Certificate("mixture", "AdamW", marks, PRICE._replace(training=7560.0, step=1.3, reached=1, trials=1))
    assert found.sentence == (
        "mixture is ahead of your tuned AdamW by 12 % [8, 16] after 2000 steps; level after 10000 steps; behind by "
        "30 % [20, 40] after 20000 steps (about this rule); a step costs 1.3 ×; meta-training (2.1 CPU-h) pays back "
        "after 70 uses, or after 37 uses where AdamW would be tuned for each, if its final loss suffices; the rival's "
        "is lower."
    )
    assert [row["it is"] for row in found.rows()] == [AHEAD, LEVEL, BEHIND]
    assert found.cost_row()["paid after"] == "70 uses"
    entries = found.entries()
    assert entries["marks"][0] == {"steps": 2000, "stands": AHEAD, "gain": 0.12, "low": 0.08, "high": 0.16}
    assert (entries["pays_after"], entries["sentence"]) == (70, found.sentence)


def test_times_have_the_unit_that_suits_them():
    assert [*map(time_text, (0.02, 20.0, 720.0, 7560.0))] == ["20 CPU-ms", "20 CPU-s", "12 CPU-min", "2.1 CPU-h"]


def test_the_rival_of_the_certificate_is_the_lowest():
    assert best_rival({"adam": np.array([[2.0]]), "sgd": np.array([[1.0]])}) == "sgd"
