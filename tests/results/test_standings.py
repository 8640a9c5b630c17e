"""Standings: who is ahead where, by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from l2l_cli.results.metrics import Metric
from l2l_cli.results.standings import curves_of, last_values, standings_of, stands
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
    assert standings.lead("a", "b", "p", 3) == "+inf [a loss is not finite]"
    assert stands(standings.difference("a", "b", "p", 3).interval) == "behind"


def test_winners_lead_by_a_paired_difference():
    table = standings_of(FRAMES).winners("p", ["a", "b"])
    assert table["lowest"].tolist() == ["b", "b"]
    assert table["difference [95 %]"][0] == "-0.25 [none of 2 episodes]"
    assert table["the lowest is"].tolist() == ["too few seeds", "ahead"]  # a diverged at the end
    assert len(standings_of(FRAMES).winners("p", ["a"])) == 0


def test_three_marks_are_judged_and_corrected_for():
    """A tenth of the run, half of it and its end: the one with p = 0.02 alone would count, of three it does not."""
    rng = np.random.default_rng(3)
    gaps = {step: rng.standard_normal(40) * 0.1 - lead for step, lead in ((10, 0.036), (50, 0.1), (100, 0.0))}
    base = rng.random(40)
    rows = [losses("b", {(0, step): base.tolist() for step in range(10, 101, 10)})]
    rows.append(losses("a", {(0, step): (base + gaps.get(step, 0.0)).tolist() for step in range(10, 101, 10)}))
    standings = standings_of({name: frame_of(part) for name, part in zip("ba", rows, strict=True)})
    assert standings.judged_marks("p", ["a", "b"]) == [10, 50, 100]
    alone = {mark: standings.difference("a", "b", "p", mark).p for mark in gaps}
    assert (alone[10] < 0.05, alone[50] < 0.01) == (True, True)
    judged = standings.judged(dict.fromkeys(gaps, ("a", "b")), "p")
    assert {mark: how for mark, (_, how) in judged.items()} == {10: "level", 50: "ahead", 100: "level"}
    assert judged[10][0].p == pytest.approx(2 * alone[10])


def test_seeds_of_a_recipe_are_more_than_episodes_of_one_rule():
    rows = losses("a", {(seed, 1): (0.5 + 0.3 * seed + 0.01 * np.arange(40)).tolist() for seed in range(3)})
    rows += losses("b", {(0, 1): (0.75 + 0.01 * np.arange(40)).tolist()})
    parts = {name: frame_of([row for row in rows if row.contender == name]) for name in "ab"}
    standings = standings_of(parts)
    assert standings.difference("a", "b", "p", 1).interval.side == 0  # one of three seeds is ahead
    assert standings.values("a", "p", 1).shape == (3, 40)
    assert standings.values("nobody", "p", 1).size == 0


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


def test_values_lie_by_seed_and_episode_in_whatever_order_they_were_measured():
    rows = [(seed, episode, 10.0 * seed + episode) for seed in (3, 1) for episode in (2, 0, 1)]
    frame = pd.DataFrame(rows, columns=["seed", "episode", "value"]).assign(problem="p", step=1, metric="loss")
    expected = [[10, 11, 12], [30, 31, 32]]
    assert standings_of({"x": frame.sample(frac=1, random_state=0)}).values("x", "p", 1).tolist() == expected


def test_episodes_that_a_seed_lacks_are_infinite_and_repeated_ones_are_averaged():
    rows = [(0, 0, 1.0), (0, 1, 2.0), (1, 1, 3.0), (1, 1, 5.0)]
    frame = pd.DataFrame(rows, columns=["seed", "episode", "value"]).assign(problem="p", step=1, metric="loss")
    assert standings_of({"x": frame}).values("x", "p", 1).tolist() == [[1, 2], [np.inf, 4]]
