"""The problems of a contest: what a grid of settings makes of a task."""

from __future__ import annotations

import pytest

from l2l_cli.config.build import changed
from l2l_cli.config.compose import compose
from l2l_cli.core.errors import UsageError
from l2l_cli.runs.building import build_learner, build_task
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
    learner, tuning = hand_made_contender("sgd", settings, lambda share, note: told.append(share)).prepare(problem)
    assert tuning is not None
    assert learner.task is problem.task
    assert sum(told) == len(tuning.trials) == 2
    other = compose("compare", ["task=quadratic", "task.horizon=5"])
    learned = build_learner(other, build_task(other))
    contender = learned_contender("rule", learned, other)
    transferred, tuning = contender.prepare(problem)
    assert tuning is None
    assert transferred.task is problem.task
    assert contender.identity["weights"] == digest(learned)
