"""The figures of evaluate and compare: each curve once, and no more colours than a reader tells apart."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from l2l_cli.commands.figures import contenders_figure, horizon_figure
from l2l_cli.results.lines import COLOURED
from l2l_cli.results.plot import GREY


def rows(key, losses, steps, power=1.0):
    """Measurements by the step, mean and median, of contenders or problems that are called by ``key``."""
    return [
        {"metric": "loss", "seed": 0, key: name, "statistic": statistic, "step": step, "value": loss / step**power}
        for name, loss in losses.items()
        for statistic in ("mean", "median")
        for step in range(1, steps[name] + 1)
    ]


def test_a_horizon_that_a_longer_one_begins_with_is_not_drawn_again(tmp_path):
    steps = {"×1": 10, "×2": 20, "×10": 100}
    same = pd.DataFrame(rows("problem", dict.fromkeys(steps, 1.0), steps))
    mean, median = horizon_figure(same, tmp_path).charts
    assert [curve.name for curve in mean.curves] == ["×1, ×2, ×10"]
    assert max(mean.curves[0].x) == 100
    assert list(mean.across) == [10, 20]
    assert list(median.across) == [10, 20]


def test_horizons_that_differ_are_told_apart(tmp_path):
    steps = {"×1": 10, "×2": 20}
    told = pd.DataFrame(rows("problem", {"×1": 1.0, "×2": 2.0}, steps))
    mean, _ = horizon_figure(told, tmp_path).charts
    assert [curve.name for curve in mean.curves] == ["×1", "×2"]


def test_a_rule_that_diverges_is_drawn_by_its_horizons_too(tmp_path):
    """From some step on, or with no finite mean of the longer horizon, or of any."""
    steps = {"×1": 10, "×2": 20}
    frame = pd.DataFrame(rows("problem", dict.fromkeys(steps, 1.0), steps))
    frame.loc[(frame.statistic == "mean") & (frame.step > 5), "value"] = math.nan
    assert [curve.name for curve in horizon_figure(frame, tmp_path).charts[1].curves] == ["×1, ×2"]
    frame.loc[(frame.problem == "×2") & (frame.statistic == "mean"), "value"] = math.nan
    assert [curve.name for curve in horizon_figure(frame, tmp_path).charts[1].curves] == ["×1", "×2"]
    frame.loc[frame.statistic == "mean", "value"] = math.nan
    assert horizon_figure(frame, tmp_path).path.is_file()


@pytest.fixture
def standings():
    names = ["learned", *(f"rule {index}" for index in range(10)), "limit"]
    return {
        name: SimpleNamespace(
            entry=SimpleNamespace(
                learner=SimpleNamespace(is_limit=name == "limit", is_meta_trained=name == "learned"),
            )
        )
        for name in names
    }


@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, math.inf])
def test_contenders_are_drawn_whatever_their_losses_are(value, standings, tmp_path):
    """Of no contender, or of all but one."""
    frame = pd.DataFrame(rows("contender", dict.fromkeys(standings, value), dict.fromkeys(standings, 5)))
    contenders_figure(frame, standings, tmp_path)
    frame.loc[frame.contender == "learned", "value"] = 2.0
    mean, _ = contenders_figure(frame, standings, tmp_path).charts
    assert [curve.name for curve in mean.curves if np.isfinite(curve.y).any()] == ["learned"]


def test_the_best_of_many_contenders_have_colours_and_the_rest_is_grey(standings, tmp_path):
    losses = {name: 1.0 + index for index, name in enumerate(reversed(standings))}  # the learned one is the worst
    frame = pd.DataFrame(rows("contender", losses, dict.fromkeys(losses, 5)))
    mean, _ = contenders_figure(frame, standings, tmp_path).charts
    grey = [curve.name for curve in mean.curves if curve.colour == GREY]
    assert grey == ["rule 0", "rule 1", "rule 2", "rule 3"]
    assert len(mean.curves) - len(grey) == COLOURED + 1  # and the limit
