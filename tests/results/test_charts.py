"""Charts: the curves of a figure as Matplotlib has drawn them, and no more points than a reader can see."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from l2l_cli.results.charts import POINTS, charts_of, thinned
from l2l_cli.results.plot import LIMIT_STYLE, curves, decorate, dots, heat_map, panels
from l2l_cli.results.verdicts import summarise


def drawn(steps: int = 30, seeds: int = 3):
    figure, (axes,) = panels(1, 1)
    rows = [
        {"contender": name, "seed": seed, "step": step, "value": (seed + 1.0) / step}
        for name in ("lstm", "bayes")
        for seed in range(seeds)
        for step in range(1, steps + 1)
    ]
    curves(axes, pd.DataFrame(rows), ["lstm", "bayes"], {"bayes": LIMIT_STYLE})
    axes.plot([1, 5], [0.9, 0.4], "o", color="#0072b2", markerfacecolor="none", label="paper")
    axes.axvline(10)
    axes.axhline(0.5)
    decorate(axes, "a", "step", "loss", "xy")
    return figure, axes


def test_a_panel_keeps_its_axes_and_its_curves():
    figure, axes = drawn()
    (chart,) = charts_of(figure)
    assert (chart.title, chart.x, chart.y, chart.log) == ("a", "step", "loss", "xy")
    assert (chart.across, chart.level) == ([10.0], [0.5])
    assert chart.range_y == pytest.approx(axes.get_ylim())
    lstm, bayes, paper = chart.curves
    assert [lstm.name, bayes.name, paper.name] == ["lstm", "bayes", "paper"]
    assert lstm.x == list(range(1, 31))
    assert lstm.y == pytest.approx([2.0 / step for step in lstm.x])
    assert (lstm.colour, lstm.dash, lstm.kind) == ("#0072b2", (), "line")
    assert bayes.dash
    assert (paper.kind, paper.colour, paper.y) == ("ghosts", "#0072b2", [0.9, 0.4])


def test_a_band_belongs_to_its_curve():
    (chart,) = charts_of(drawn()[0])
    lstm, _, paper = chart.curves
    assert lstm.low == pytest.approx([1.0 / step for step in lstm.x])
    assert lstm.high == pytest.approx([3.0 / step for step in lstm.x])
    assert not paper.low
    (alone,) = charts_of(drawn(seeds=1)[0])
    assert not alone.curves[0].low


def test_a_long_curve_keeps_its_ends_and_its_spikes():
    steps = np.arange(1, 5001, dtype=float)
    values = np.ones(5000)
    values[1234], values[4321] = 7.0, -3.0
    for log in (False, True):
        kept = thinned(steps, values, log)
        assert len(kept) <= POINTS
        assert {0, 4999, 1234, 4321} <= set(kept)
        assert sorted(kept) == list(kept)
    assert list(thinned(steps[:50], values[:50])) == list(range(50))


def test_a_diverged_curve_has_gaps_and_no_infinite_numbers():
    figure, (axes,) = panels(1, 1)
    axes.plot([1, 2, 3, 4], [1.0, np.inf, np.nan, 2.0], label="x")
    (chart,) = charts_of(figure)
    assert chart.curves[0].y == [1.0, None, None, 2.0]


def test_what_is_no_curve_stays_a_still():
    figure, (one, two) = panels(1, 2)
    one.plot([1, 2, 3], [1, 2, 3])
    heat_map(two, np.ones((1, 1)), ["a"], ["b"], [["1"]], False, (0.5, 2.0))
    assert charts_of(figure) == []
    figure, (axes,) = panels(1, 1)
    dots(axes, [summarise(("t", "r", "m"), [0.1, 0.2, 0.3], 0.2, 0.1)])
    assert charts_of(figure) == []
    assert charts_of(panels(1, 1)[0]) == []
