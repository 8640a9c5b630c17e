"""Grids, budgets and edges."""

from __future__ import annotations

import math

import pytest

from l2l_cli.config.compose import compose
from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.core.ranges import Range, ranges_of
from l2l_cli.evaluation.law import Law
from l2l_cli.evaluation.spaces import Space, draws_of, settings_of
from l2l_cli.evaluation.tune import Judge, tune
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.runs.tuning import tuned
from l2l_cli.tasks.quadratic import Quadratic


def grid(rates, extensions=0):
    """The law of a grid of learning rates, on 8 episodes."""
    space = Space({"lr": rates})
    return Law(space.settings(len(rates), 0), 8, space, extensions)


def test_a_grid_is_a_product_thinned_to_the_budget():
    grid = {"a": [1, 2, 3], "b": ["x", "y"]}
    assert len(settings_of(grid, None)) == 6
    assert settings_of(grid, 2) == [{"a": 1, "b": "x"}, {"a": 3, "b": "y"}]
    assert settings_of({}, None) == [{}]
    with pytest.raises(ValueError, match=r"tune\.budget"):
        settings_of(grid, 0)


def test_the_best_is_found_and_the_edge_is_told():
    task = Quadratic(dimension=3, horizon=20)

    def make(setting):
        return Descent(task, Sgd(setting["lr"]))

    inner = tune(make, grid([1e-4, 0.1, 100.0]), Judge(8, 20, 0, "final"))
    assert inner.best.setting == {"lr": 0.1}
    assert inner.at_edge == []
    outer = tune(make, grid([1e-4, 1e-3]), Judge(8, 20, 0, "mean"))
    assert outer.at_edge == ["lr"]
    with pytest.raises(RunFailed, match="no setting"):
        tune(make, grid([1e30]), Judge(2, 20, 0, "final"))


def test_draws_are_log_uniform_and_the_first_of_more():
    ranges = ranges_of({"rule.lr": [1e-4, 1.0], "rule.momentum": [0.0, 0.999]}, "ranges")
    many = draws_of(ranges, 2000, 0)
    assert many[:5] == draws_of(ranges, 5, 0)
    assert many[:5] != draws_of(ranges, 5, 1)
    rates, momenta = (sorted(draw[key] for draw in many) for key in ranges)
    assert 1e-4 <= rates[0] < rates[-1] <= 1.0
    assert math.log10(rates[1000]) == pytest.approx(-2.0, abs=0.2)
    assert 0.0 <= momenta[0] < momenta[-1] <= 0.999
    assert math.log10(1.0 - momenta[1000]) == pytest.approx(-1.5, abs=0.15)


@pytest.mark.parametrize(
    "ranges", [{"lr": [0.0, 1.0]}, {"lr": [1.0]}, {"lr": [1.0, 0.1]}, {"momentum": [0.5, 1.0]}], ids=str
)
def test_a_range_must_have_a_logarithm(ranges):
    with pytest.raises(ValueError, match=r"tune\.ranges"):
        draws_of(ranges_of(ranges, "tune.ranges"), 4, 0)


def test_a_renamed_key_keeps_its_draws():
    named = {"lr": [0.1, 1.0, "rate"], "damping": [0.1, 1.0]}
    renamed = dict(zip(("learning_rate", "lambda"), named.values(), strict=True))
    before, after = (draws_of(ranges_of(given, "tune.ranges"), 4, 0) for given in (named, renamed))
    assert [[*draw.values()] for draw in before] == [[*draw.values()] for draw in after]
    assert [draw["lr"] for draw in before] != [draw["damping"] for draw in before]


def test_the_draws_of_the_learners_own_files_are_frozen():
    """The numbers that version 0.1.0 drew."""
    adam, kfac = (compose("compare", words).tune for words in (["learner=adam", "tune=all"], ["learner=kfac"]))
    assert draws_of(adam.drawn_from, 1, 0) == [
        {
            "learner.rule.lr": 0.04268976317499978,
            "learner.rule.beta1": 0.910852517802639,
            "learner.rule.beta2": 0.9991239224586943,
            "learner.rule.epsilon": 7.928192829632203e-05,
        }
    ]
    assert draws_of(kfac.drawn_from, 1, 3) == [
        {"learner.rule.lr": 0.010107305064468258, "learner.rule.damping": 0.0025812029914748097}
    ]


def test_the_edge_of_a_range_is_told():
    task = Quadratic(dimension=3, horizon=20)
    ranges = {"lr": Range(1e-4, 1e-3, 0)}
    law = Law(draws_of(ranges, 60, 0), 8, Space({}, ranges))
    found = tune(lambda setting: Descent(task, Sgd(**setting)), law, Judge(8, 20, 0, "mean"))
    assert found.at_edge == ["lr"]
    assert found.chosen.startswith("best of 60: lr=0.000")


def test_a_learner_is_tuned_for_any_task_and_horizon():
    settings = compose("compare", ["learner=sgd", "tune.episodes=8", "tune.criterion=final"])
    told = []
    found = tuned(settings, Quadratic(dimension=3), 15, lambda share, note: told.append(share))
    assert found.tuning is not None
    tried = [trial.setting["learner.rule.lr"] for trial in found.tuning.trials]
    assert tried == settings.tune.grid["learner.rule.lr"]
    assert sum(told) == pytest.approx(len(tried))
    assert found.learner.rule.lr == found.tuning.best.setting["learner.rule.lr"]
    assert settings.learner["rule"]["lr"] == 0.1
    assert found.chosen == f"best of 8: rule.lr={found.learner.rule.lr:g}"


def test_every_hyper_parameter_can_be_tuned():
    settings = compose("compare", ["learner=adam", "tune=all", "tune.episodes=2", "tune.extensions=0"])
    found = tuned(settings, Quadratic(dimension=3), 5)
    assert len(found.tuning.trials) == 48
    assert {key.rpartition(".")[2] for key in found.tuning.best.setting} == {
        *("lr", "beta1", "beta2", "epsilon", "schedule")
    }
    assert found.chosen.startswith("best of 48: rule.lr=")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tune.grid={learner.rule.lrr:[0.1,1.0]}", "learner.rule.lrr: Sgd has no such argument; did you mean 'lr'?"),
        ("tune.grid={rule.lr:[0.1,1.0]}", "the learner has no key 'rule.lr'; did you mean 'learner.rule.lr'?"),
        ("tune.grid={learner.rle.lr:[0.1,1.0]}", "nothing at learner.rle to set 'rle.lr' in; did you mean 'rule'?"),
        ("tune.ranges={learner.rule.lr:[0.1,1.0]}", "give one of them"),
        ("tune.choices={learner.schedule:[cosine]}", "in a tune.grid, choices are one more key"),
        ("tune.halving={settings:[2,4],episodes:[1,2]}", "fewer settings on more episodes from rung to rung"),
        ("tune.halving={settings:[4,2]}", "must give lists of settings and episodes"),
        ("tune.grid={learner.schedule:[cosine,step]}", "learner.schedule must be of type"),
    ],
)
def test_a_key_that_cannot_be_tuned_is_explained(override, message):
    with pytest.raises(UsageError) as told:
        tuned(compose("compare", ["learner=sgd", override]), Quadratic(dimension=3), 2)
    assert message in str(told.value)
