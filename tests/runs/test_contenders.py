"""The problems of a contest: what a grid of settings makes of a task."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from l2l_cli.config.build import changed
from l2l_cli.config.compose import compose
from l2l_cli.core.errors import UsageError
from l2l_cli.evaluation import score, tune
from l2l_cli.evaluation.contest import Unit
from l2l_cli.runs.building import build_learner, build_task, store_of
from l2l_cli.runs.contenders import PLAIN, digest, hand_made_contender, learned_contender, problems_of, variations


def test_problems_are_crossed_with_the_grid():
    grid = {"hidden": [[20], [20, 20]], "base": {"length": [3]}}
    assert variations(grid, {}) == {
        "hidden=20, base.length=3": {"hidden": [20], "base.length": 3},
        "hidden=20–20, base.length=3": {"hidden": [20, 20], "base.length": 3},
    }
    both = variations({"start": [0.1, 0.2]}, {"as trained": {}, "ReLU": {"activation": "relu"}})
    assert list(both) == ["as trained, start=0.1", "as trained, start=0.2", "ReLU, start=0.1", "ReLU, start=0.2"]
    assert both["ReLU, start=0.2"] == {"activation": "relu", "start": 0.2}
    assert variations({}, {}) == {PLAIN: {}}


@pytest.mark.parametrize(
    ("grid", "problems", "message"),
    [
        ({"hidden": 20}, {}, "evaluation.grid.hidden must be a list of values, as in [20,40], not 20"),
        ({"base": {"length": []}}, {}, "evaluation.grid.base.length must be a list"),
        ({}, {"wide": [40]}, "evaluation.problems.wide must say what changes"),
    ],
)
def test_what_is_no_grid_is_explained(grid, problems, message):
    with pytest.raises(UsageError) as told:
        variations(grid, problems)
    assert message in str(told.value)


def test_a_node_is_changed_in_a_copy():
    node = {"_target_": "a.B", "rule": {"_target_": "a.C", "lr": 1.0, "decay": 0.5}, "sizes": [1]}
    found = changed(node, {"rule.lr": 2.0, "sizes": [3], "new": 4}, "learner")
    assert found == {"_target_": "a.B", "rule": {"_target_": "a.C", "lr": 2.0, "decay": 0.5}, "sizes": [3], "new": 4}
    assert changed(node, {"rule": {"lr": 3.0}}, "learner")["rule"] == {"_target_": "a.C", "lr": 3.0, "decay": 0.5}
    assert changed(node, {"rule": {"_target_": "a.D"}}, "learner")["rule"] == {"_target_": "a.D"}
    assert node["rule"] == {"_target_": "a.C", "lr": 1.0, "decay": 0.5}
    with pytest.raises(UsageError, match=r"nothing at learner\.rul to set .* did you mean 'rule'"):
        changed(node, {"rul.lr": 2.0}, "learner")


def test_longer_problems_get_as_many_fewer_episodes():
    settings = compose(
        "compare",
        [
            "task=quadratic",
            "task.horizon=10",
            "evaluation.episodes=20",
            "+evaluation.problems.twice.horizon=20",
            "+evaluation.problems.long.horizon=1000",
            "+evaluation.problems.short.horizon=5",
        ],
    )
    plain = {problem.name: (problem.steps, problem.plan.episodes) for problem in problems_of(settings)}
    assert plain == {"twice": (20, 20), "long": (1000, 20), "short": (5, 20)}
    shortened = {problem.name: problem.plan.episodes for problem in problems_of(settings, 10)}
    assert shortened == {"twice": 10, "long": 2, "short": 20}


def test_a_hand_made_contender_is_tuned_and_a_learned_one_transferred():
    settings = compose(
        "compare", ["task=quadratic", "learner=sgd", "task.horizon=5", "tune.episodes=2", "tune.budget=2"]
    )
    (problem,) = problems_of(settings)
    told = []
    contender = hand_made_contender("sgd", settings, lambda share, note: told.append(share))
    learner, tuning, setting = contender.prepare(problem)
    assert tuning is not None
    assert setting == tuning.best.setting
    assert learner.task is problem.task
    assert sum(told) == len(tuning.trials) == 2
    other = compose("compare", ["task=quadratic", "task.horizon=5"])
    learned = build_learner(other, build_task(other))
    contender = learned_contender("rule", learned, other)
    transferred, tuning, setting = contender.prepare(problem)
    assert (tuning, dict(setting)) == (None, {})
    assert transferred.task is problem.task
    assert contender.identity["weights"] == digest(learned)


def of(*overrides, **plan):
    """A rule on a problem, as a unit of work and the command's store, in the present folder."""
    settings = compose(
        "compare",
        [*"learner=sgd task.horizon=5 tune.episodes=2 tune.extensions=0 evaluation.episodes=2".split(), *overrides],
    )
    settings = replace(settings, tune=replace(settings.tune, **plan))
    (problem,) = problems_of(settings)
    store = store_of(settings)
    return Unit(hand_made_contender("sgd", settings, store=store), problem), store


@pytest.fixture
def tried(monkeypatch, tmp_path):
    """The number of settings that are tried together, each time that some are."""
    monkeypatch.chdir(tmp_path)
    found, compute = [], tune.score_together

    def counted(learners, *args, **named):
        found.append(len(learners))
        return compute(learners, *args, **named)

    monkeypatch.setattr(tune, "score_together", counted)
    return found


GRID = "tune.grid={learner.rule.lr: [0.1, 0.2, 0.3]}"
RANGES = {"grid": {}, "ranges": {"learner.rule.lr": [0.01, 1.0]}}


def test_a_larger_grid_costs_the_new_settings_alone_and_its_digits_are_the_same(tried):
    unit, store = of("tune.grid={learner.rule.lr: [0.1, 0.3]}")
    assert unit.missing(store) == 2 + 1
    unit.play(store)
    assert unit.missing(store) == 0
    more, _ = of(GRID)
    assert more.missing(store) == 1 + 1
    reused = more.play(store).entry.tuning
    alone, other = of(GRID, "store.dir=other")
    assert reused == alone.play(other).entry.tuning
    assert tried == [2, 1, 3]
    frame = pd.read_parquet("outputs/store/trials")
    assert sorted(frame.loss) == sorted(trial.loss for trial in reused.trials)
    assert (frame.cpu_seconds > 0).all()
    assert set(frame.setting) == {f'{{"learner.rule.lr": {rate}}}' for rate in (0.1, 0.2, 0.3)}


def test_a_search_beyond_an_edge_is_found_again_and_a_longer_one_costs_the_rest(tried):
    narrow = "tune.grid={learner.rule.lr: [0.001, 0.002]}"
    unit, store = of(narrow, "tune.extensions=2")
    assert unit.missing(store) == 2 + 1
    first = unit.play(store).entry
    assert (unit.missing(store), first.tuning.beyond) == (0, 2)
    assert first.identity["setting"] == {"learner.rule.lr": 0.008}
    more, _ = of(narrow, "tune.extensions=3")
    assert more.missing(store) == 1 + 1
    more.play(store)
    assert tried == [2, 1, 1, 1]


def test_halved_settings_are_found_again(tried):
    plan = {**RANGES, "budget": 4, "halving": {"settings": [4, 2, 1], "episodes": [1, 2, 3]}}
    unit, store = of(**plan)
    assert unit.missing(store) == 4 + 1
    chosen = unit.play(store).entry
    assert unit.missing(store) == 0
    assert of(**plan)[0].play(store).entry.tuning == chosen.tuning
    assert tried == [4, 2, 1]
    # A rung's trials are those of the same setting on as many episodes, however it came to be tried.
    plain, _ = of(**RANGES, budget=4, episodes=1)
    assert plain.contender.recall(plain.problem)[0] == 0


def test_more_draws_cost_those_alone(tried):
    for budget in (2, 5, 5, 3):
        unit, store = of(**RANGES, budget=budget)
        unit.play(store)
    assert tried == [2, 3]


def test_a_given_setting_is_not_taken_for_the_learners_own(tried):
    """With a budget of one there is nothing to choose from, and yet the rate is the grid's."""
    first, store = of(GRID, "tune.budget=1")
    first.play(store)
    own, _ = of("learner.rule.lr=0.7", grid={})
    assert own.missing(store) == 1
    assert (first.missing(store), tried) == (0, [])


@pytest.mark.parametrize(
    "changed",
    [
        "tune.episodes=3",
        "tune.criterion=final",
        "seed=1",
        "task.horizon=6",
        "task.dimension=3",
        "learner=momentum",
    ],
)
def test_whatever_decides_a_trial_is_part_of_its_key(tried, changed):
    unit, store = of(GRID)
    unit.play(store)
    other, _ = of(GRID, changed)
    assert other.missing(store) > 1
    other.play(store)
    assert tried == [3, 3]


def test_what_decides_no_digits_is_no_part_of_a_key(tried):
    unit, store = of(GRID)
    unit.play(store)
    for free in ("hardware.threads=2", "data.dir=elsewhere", "name=x", "store.limit=3"):
        assert of(GRID, free)[0].missing(store) == 0


def test_settings_side_by_side_and_alone_come_to_the_same_digits(tried, monkeypatch):
    """Alone, images are followed step by step; side by side they are read by windows."""
    monkeypatch.setattr(score, "NUMBERS", 1000)
    images = ["task=digits", "task.horizon=300", "task.examples=4"]
    unit, store = of(*images, "tune.grid={learner.rule.lr: [0.1, 0.2]}")
    unit.play(store)
    more, _ = of(*images, GRID)
    alone, other = of(*images, GRID, "store.dir=other")
    assert more.play(store).entry.tuning == alone.play(other).entry.tuning
    assert tried == [2, 1, 3]
