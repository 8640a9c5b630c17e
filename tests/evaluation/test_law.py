"""What tuning tries: rungs that halve, searches that go on beyond an edge, and choices beside ranges."""

from __future__ import annotations

import math

import pytest

from l2l_cli.config.compose import compose
from l2l_cli.core.ranges import Range
from l2l_cli.evaluation.law import Law, Trial
from l2l_cli.evaluation.spaces import Space, draws_of
from l2l_cli.evaluation.tune import Judge, tune
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.sgd import Momentum, Sgd
from l2l_cli.runs.tuning import law_of as law_of_settings
from l2l_cli.tasks.quadratic import Quadratic


def searched(law, loss):
    """All trials of a law on a known function of the setting and the number of episodes, and its rounds."""
    trials, rounds = [], []
    while (todo := law.following(trials)) is not None:
        rounds.append((len(todo.settings), todo.episodes))
        trials += [Trial(setting, loss(setting, todo.episodes)) for setting in todo.settings]
    return trials, rounds


def law_of(lists=None, ranges=None, budget=8, extensions=0, rungs=()):
    space = Space(lists or {}, ranges or {})
    return Law(space.settings(budget, 0), 4, space, extensions, rungs)


def best(law, trials):
    return min(law.last(trials), key=lambda trial: trial.loss).setting


@pytest.mark.parametrize(("optimum", "found"), [(30.0, 27.0), (1e-3, 8.14e-4), (1.0, 1.0)])
def test_a_grid_goes_on_by_its_own_ratio_until_the_best_is_inside(optimum, found):
    law = law_of({"lr": [0.1, 0.333, 1.0, 3.0, 9.0]}, extensions=8)
    trials, _ = searched(law, lambda setting, episodes: abs(math.log(setting["lr"] / optimum)))
    assert best(law, trials)["lr"] == pytest.approx(found, rel=0.01)
    assert not law.edges(trials)
    assert len(trials) - law.budget == (0 if optimum == 1.0 else 2 if optimum == 30.0 else 5)


def test_a_search_ends_at_its_stated_bound_and_the_edge_is_told():
    law = law_of({"lr": [1.0, 10.0]}, extensions=3)
    trials, rounds = searched(law, lambda setting, episodes: -setting["lr"])
    assert [trial.setting["lr"] for trial in trials] == [1.0, 10.0, 100.0, 1000.0, 10000.0]
    assert rounds == [(2, 4), (1, 4), (1, 4), (1, 4)]
    assert law.edges(trials) == [("lr", 1)]


def test_a_key_goes_on_from_the_best_of_the_others():
    lists = {"lr": [1.0, 2.0], "damping": [1.0, 2.0], "schedule": ["constant", "linear"], "iterations": [1, 2, 4]}
    law = law_of(lists, budget=100, extensions=20)

    def loss(setting, episodes):
        far = sum(math.log2(setting[key] / at) ** 2 for key, at in (("lr", 8.0), ("damping", 0.25), ("iterations", 1)))
        return far + (setting["schedule"] == "linear")

    trials, _ = searched(law, loss)
    assert best(law, trials) == {"lr": 8.0, "damping": 0.25, "schedule": "constant", "iterations": 1}
    assert not law.edges(trials)  # there is nothing below one iteration that is left to be tried


@pytest.mark.parametrize(("key", "optimum"), [("lr", 50.0), ("momentum", 0.9995), ("momentum", 0.9)])
def test_a_range_goes_on_by_an_eighth_of_it(key, optimum):
    ranges = {"momentum": Range(0.5, 0.99, 0), "lr": Range(0.01, 1.0, 1)}
    law = law_of({}, {key: ranges[key]}, budget=60, extensions=20)
    place = (lambda value: -math.log(1 - value)) if key == "momentum" else math.log
    trials, _ = searched(law, lambda setting, episodes: abs(place(setting[key]) - place(optimum)))
    width = place(ranges[key].high) - place(ranges[key].low)
    assert abs(place(best(law, trials)[key]) - place(optimum)) < 0.51 * width / 8
    assert not law.edges(trials)
    assert (len(trials) - law.budget > 0) == (optimum > ranges[key].high)


def test_the_last_value_that_there_can_be_is_no_edge():
    law = law_of({"momentum": [0.0, 0.5, 0.9]}, extensions=4)
    trials, _ = searched(law, lambda setting, episodes: setting["momentum"])
    assert (best(law, trials), len(trials), law.edges(trials)) == ({"momentum": 0.0}, 3, [])


def test_halving_keeps_the_best_and_counts_all_trials():
    law = law_of({}, {"lr": Range(0.01, 1.0, 0)}, budget=32, rungs=[(32, 1), (8, 4), (2, 8)])

    def loss(setting, episodes):
        """The truth, and an error of the sign of a digit, which falls with the episodes."""
        return abs(math.log(setting["lr"] / 0.1)) + (-1) ** int(1e6 * setting["lr"]) * 0.2 / episodes

    trials, rounds = searched(law, loss)
    assert rounds == [(32, 1), (8, 4), (2, 8)]
    assert len(trials) == 42
    truly = min(law.first, key=lambda setting: abs(math.log(setting["lr"] / 0.1)))
    assert best(law, trials) == truly
    assert sum(law.weight(episodes) * count for count, episodes in rounds) == pytest.approx(32)


def test_a_halved_search_goes_on_at_its_last_rung():
    law = law_of({"lr": [1.0, 2.0, 4.0, 8.0]}, extensions=5, rungs=[(4, 1), (2, 3)])
    trials, rounds = searched(law, lambda setting, episodes: abs(math.log2(setting["lr"] / 16.0)))
    assert rounds == [(4, 1), (2, 3), (1, 3), (1, 3)]
    assert best(law, trials) == {"lr": 16.0}


def test_choices_are_drawn_beside_ranges_and_change_no_draw_of_theirs():
    ranges, names = {"lr": Range(0.01, 1.0, "lr")}, ["constant", "cosine", "linear"]
    alone, beside = draws_of(ranges, 600, 0), draws_of(ranges, 600, 0, {"schedule": names})
    assert [{"lr": one["lr"]} for one in beside] == alone
    assert beside[:5] == draws_of(ranges, 5, 0, {"schedule": names})
    counts = [sum(one["schedule"] == name for one in beside) for name in names]
    assert min(counts) > 160


def test_the_best_draws_are_given_their_other_choices():
    space = Space({"schedule": ["constant", "cosine", "linear"]}, {"lr": Range(0.01, 1.0, "lr")})
    law = Law(space.settings(9, 0), 4, space, rungs=[(12, 1), (2, 2)], changed=3)
    drawn = law.first

    def loss(setting, episodes):
        return abs(math.log(setting["lr"] / 0.1)) + 10.0 * (setting["schedule"] != "constant")

    trials, rounds = searched(law, loss)
    assert rounds == [(9, 1), (3, 1), (2, 2)]
    ranked = sorted(drawn, key=lambda setting: loss(setting, 1))
    others = [name for name in ("constant", "cosine", "linear") if name != ranked[0]["schedule"]]
    assert [trial.setting for trial in trials[9:11]] == [{**ranked[0], "schedule": name} for name in others]
    assert trials[11].setting["lr"] == ranked[1]["lr"]
    assert law.budget == len(trials) == 14


def test_a_schedule_costs_no_learner_its_best_constant_rate():
    """Of a budget of 48, 8 keep its own values, 28 are drawn, and 12 give the best of them the other choices."""
    law = law_of_settings(compose("compare", ["learner=adam", "tune=all"]))
    assert (len(law.first), law.changed, law.budget) == (36, 12, 48)
    own = [setting for setting in law.first if setting["learner.rule.beta1"] == 0.9]
    rates = [setting["learner.rule.lr"] for setting in own]
    assert rates == pytest.approx([3e-4 ** (1 - step / 7) for step in range(8)], rel=1e-3)
    assert {setting["learner.schedule"] for setting in own} == {"constant"}
    assert list(law.first[:8]) == own
    trials, _ = searched(law, lambda setting, episodes: abs(math.log(setting["learner.rule.lr"])))
    near = min(trials, key=lambda trial: trial.loss).setting
    rate = near["learner.rule.lr"]
    schedules = {one.setting["learner.schedule"] for one in trials if one.setting["learner.rule.lr"] == rate}
    assert schedules == {"constant", "cosine", "linear"}
    alone = law_of_settings(compose("compare", ["learner=adam", "tune=all", "tune.choices={learner.schedule: null}"]))
    assert (len(alone.first), alone.changed) == (48, 0)


def test_what_a_learner_refuses_beyond_an_edge_is_no_failure():
    """A momentum is below 1; by its grid's ratio the search would go beyond."""
    task = Quadratic(dimension=3, horizon=20)
    space = Space({"share": [0.25, 0.5]})
    law = Law(space.settings(2, 0), 4, space, 4)
    found = tune(lambda setting: Descent(task, Momentum(0.02, setting["share"])), law, Judge(4, 20, 0, "final"))
    assert (found.best.setting, found.at_edge, found.beyond) == ({"share": 0.5}, [], 1)
    assert found.trials[-1] == Trial({"share": 1.0}, math.inf)


def test_a_real_search_leaves_its_grid_for_the_best_rate():
    task, judge = Quadratic(dimension=3, horizon=20), Judge(8, 20, 0, "final")
    found = tune(lambda setting: Descent(task, Sgd(**setting)), law_of({"lr": [1e-4, 1e-3]}, extensions=4), judge)
    assert (found.best.setting, found.at_edge, found.warning) == ({"lr": 0.1}, [], "")
    assert found.chosen == "best of 2 and 3 beyond them: lr=0.1"
