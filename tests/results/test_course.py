"""The course of validation losses: what counts as falling, flat and rising."""

from __future__ import annotations

import math
import random

import pytest

from l2l_cli.results.course import FEWEST, SMALLEST, course_of, losses_of
from l2l_cli.results.metrics import Metric


def every(hundred, values):
    return {hundred * (index + 1): value for index, value in enumerate(values)}


def test_a_steady_fall_goes_on_and_its_size_is_that_of_the_last_third():
    rate = 0.1
    course = course_of(every(100, [math.exp(-rate * index) for index in range(30)]))
    assert course.verdict == "falling"
    # From validation 20 to the last, whose smoothed value is the mean of two logarithms.
    assert course.change == pytest.approx(1 - math.exp(-rate * 9.5))
    assert course.tolerance == pytest.approx(SMALLEST)  # a line in logarithms has no noise
    assert "still falling in the last third" in str(course)
    assert "after update 2000 of 3000" in str(course)


def test_what_falls_and_then_stays_is_flat_since_then():
    course = course_of(every(50, [math.exp(-min(index, 10)) for index in range(40)]))
    assert (course.verdict, course.updates) == ("flat", 2000)
    assert 11 * 50 <= course.since <= 12 * 50  # the eleventh validation is the first of the lowest, smoothed
    assert f"flat since update {course.since} of 2000" in str(course)


def test_what_turns_back_rose_from_its_lowest():
    course = course_of(every(10, [*(1 - 0.05 * index for index in range(10)), *([1.1] * 20)]))
    assert course.verdict == "rose"
    assert course.change == pytest.approx(1.1 / (0.65 * 0.6 * 0.55) ** (1 / 3) - 1)
    assert course.since == 90


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_the_loss_is_of_no_account(scale):
    values = [2.3, 0.51, 0.56, 0.58, 0.37, 0.28]
    one, other = course_of(every(400, values)), course_of(every(400, [scale * value for value in values]))
    assert one.verdict == other.verdict == "falling"
    assert one.change == pytest.approx(other.change)


def test_noise_alone_is_hardly_ever_a_course():
    rng = random.Random(0)
    verdicts = [course_of(every(1, [math.exp(rng.gauss(0, 0.1)) for _ in range(24)])).verdict for _ in range(300)]
    assert verdicts.count("flat") > 0.85 * 300


def test_what_varies_by_more_than_half_is_not_called_flat():
    rng = random.Random(0)
    course = course_of(every(1, [math.exp(rng.gauss(0, 0.5)) for _ in range(24)]))
    assert course.verdict == "noisy"
    assert "varies too much to say" in str(course)


def test_a_fall_is_found_below_its_noise():
    rng = random.Random(0)
    falls = [[math.exp(-0.1 * index + rng.gauss(0, 0.1)) for index in range(30)] for _ in range(100)]
    assert all(course_of(every(1, fall)).verdict == "falling" for fall in falls)


def test_losses_that_are_not_positive_are_measured_by_their_range():
    assert course_of(every(1, [-float(index) for index in range(12)])).verdict == "falling"
    assert course_of(every(1, [1.0, 0.5, *([-1.0] * 16)])).verdict == "flat"
    assert course_of(every(1, [0.0] * 8)).verdict == "flat"


def test_of_few_validations_nothing_is_said():
    values = [1.0 / (index + 1) for index in range(FEWEST)]
    assert course_of(every(1, values)).verdict == "falling"
    course = course_of(every(1, [*values[:-1], math.nan]))
    assert course.verdict == "unknown"
    assert "5 validations cannot tell" in str(course)
    assert "1 validation" in str(course_of({10: 0.5}))
    assert "0 validations" in str(course_of({}))


def test_the_loss_is_what_the_criterion_minimises():
    rows = [
        Metric("LSTM", 0, metric, value, 10, statistic="mean", split=split)
        for split, metric, value in [
            ("meta_valid", "mean_loss", 1.0),
            ("meta_valid", "final_loss", 2.0),
            ("meta_valid", "held_out", 3.0),
            ("meta_train", "mean_loss", 4.0),
        ]
    ]
    assert [losses_of(rows, name)[10] for name in ("mean", "final", "end", "held_out")] == [1.0, 2.0, 2.0, 3.0]
