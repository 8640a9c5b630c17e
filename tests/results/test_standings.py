"""Standings: who is ahead where, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from l2l_cli.results.metrics import Metric
from l2l_cli.results.standings import curves_of, last_values, standings_of
from tests.papers.made_up import frame_of


def losses(name: str, values: dict[tuple[int, int], list[float]], problem: str = "p") -> list[Metric]:
    """Rows of single episodes from losses by seed and step."""
    return [
        Metric(name, seed, "loss", value, step, episode, problem=problem)
        for (seed, step), row in values.items()
        for episode, value in enumerate(row)
    ]


FRAMES = {
    "a": frame_of(losses("a", {(0, 2): [1.0, 3.0], (1, 2): [2.0, 2.0], (0, 3): [1.0, 1.0], (1, 3): [1.0, math.nan]})),
    "b": frame_of(losses("b", {(0, 2): [1.5, 2.0], (0, 3): [2.0, 3.0]})),
    "nobody": frame_of([]),
}


def test_means_are_over_seeds_and_episodes():
    standings = standings_of(FRAMES, mark=lambda step: step - 1)
    assert (standings.contenders, standings.problems, standings.marks("p")) == (["a", "b"], ["p"], [1, 2])
    assert standings.seeds("a", "p", 1) == [2.0, 2.0]
    assert standings.spreads("a", "p", 1) == [1.0, 0.0]
    assert standings.episodes("a", "p", 1).tolist() == [1.5, 2.5]
    assert standings.mean("b", "p", 1) == 1.75
    assert standings.seeds("nobody", "p", 1) == []
    assert standings.last("p") == 2
    assert standings.last("another") == 0


def test_a_loss_that_is_not_finite_never_wins():
    standings = standings_of(FRAMES)
    assert standings.mean("a", "p", 3) == math.inf
    assert standings.best(["a", "b", "nobody"], "p", 3) == "b"
    assert standings.best(["nobody"], "p", 3) is None
    assert standings.lead("a", "b", "p", 3) == "a loss is not finite"


def test_winners_lead_by_a_paired_difference():
    table = standings_of(FRAMES).winners("p", ["a", "b"])
    assert table["winner"].tolist() == ["b", "b"]
    assert table["winner − runner-up, 95 % interval"][0].startswith("-0.25 [")
    assert len(standings_of(FRAMES).winners("p", ["a"])) == 0


def test_ten_episodes_keep_their_order():
    values = list(np.linspace(0.0, 1.0, 12))
    standings = standings_of({"a": frame_of(losses("a", {(0, 1): values}))})
    assert standings.losses["a", "p", 1][0].tolist() == pytest.approx(values)


def test_curves_are_statistics_by_contender():
    rows = [
        Metric("x", seed, "loss", seed + step, step, statistic="mean", problem="p")
        for seed in (0, 1)
        for step in (1, 2)
    ]
    frame = curves_of({"shown": frame_of(rows), "not run": frame_of([])}, "p", mark=lambda step: 10 * step)
    assert frame.contender.unique().tolist() == ["shown"]
    assert frame.updates.tolist() == [10, 20, 10, 20]
    assert last_values(frame) == {"shown": 2.5}
