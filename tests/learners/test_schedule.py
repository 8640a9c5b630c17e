"""Schedules of learning rates: closed forms, where they end, and which rules have them."""

from __future__ import annotations

import math

import pytest
import torch

from l2l_cli.config.compose import compose
from l2l_cli.config.groups import options
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.hessian_free import LevenbergMarquardt
from l2l_cli.optimizers.sgd import Momentum, Nesterov, Sgd
from l2l_cli.runs.building import build_learner, build_task
from l2l_cli.runs.contenders import hand_made_contender, problems_of
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import TASKS
from tests.configured import missing_package

SCHEDULED = ("cosine", "linear")
HAND_MADE = [
    name
    for name in options("tune/all")
    if "learner.schedule" in compose("compare", [f"learner={name}", "tune=all"]).tune.choices
]


def rates(schedule, steps):
    """The multiples of the rate by their definition."""
    shares = [step / steps for step in range(steps)]
    return [0.5 + 0.5 * math.cos(math.pi * one) if schedule == "cosine" else 1.0 - one for one in shares]


@pytest.mark.parametrize("schedule", SCHEDULED)
def test_descent_on_a_parabola_has_its_closed_form(schedule, double):
    """With f(θ) = (wθ − y)² each step takes 1 − 2·lr·w²·factor of the distance from the minimum, whatever it is."""
    task = Quadratic(dimension=1, horizon=12)
    losses = score(Descent(task, Sgd(0.01), schedule=schedule), 3, 13, 0, Phase.TUNE).losses
    episode = task.sample(3, derive(0, "chunk", 0), Phase.TUNE)
    curvature = 2 * episode.batch(0).inputs.flatten() ** 2
    distance = torch.ones(3)
    for step, rate in enumerate(rates(schedule, 12)):
        torch.testing.assert_close(losses[step], losses[0] * distance**2)
        distance = distance * (1 - 0.01 * rate * curvature)
    torch.testing.assert_close(losses[12], losses[0] * distance**2)


@pytest.mark.parametrize("schedule", SCHEDULED)
@pytest.mark.parametrize("rule", [Adam, Nesterov])
def test_a_rule_is_that_of_the_rate_at_every_step(schedule, rule, double):
    task = TASKS["quadratic"]()
    learner = Descent(task, rule(0.1), schedule=schedule, episode_steps=6)
    state, episode = learner.init(2, generator(0)), task.sample(2, 0, Phase.TUNE)
    other = learner.memory_of(state)
    params = state.params
    for step, rate in enumerate([*rates(schedule, 6), 0.0]):
        batch = episode.batch(step)
        state, _ = learner.step(state, batch)
        # A rate of 0 is none that a rule may have; the parameters stay.
        if rate:
            after, _ = Descent(task, rule(0.1 * rate)).step(type(state)(params, other), batch)
            torch.testing.assert_close(state.params, after.params)
            params, other = after
        else:
            assert all(torch.equal(state.params[name], value) for name, value in params.items())
    assert learner.rule.lr == 0.1


def test_levenberg_and_marquardt_judge_the_step_that_is_made():
    task = TASKS["digits"]()
    plain, slow = (
        score(Descent(task, LevenbergMarquardt(0.2, 0.5, 2), schedule=one), 2, 8, 0, Phase.TUNE)
        for one in ("constant", "linear")
    )
    assert torch.equal(plain.losses[:2], slow.losses[:2])
    assert not torch.equal(plain.losses[2:], slow.losses[2:])
    assert slow.losses.isfinite().all()


def test_a_constant_schedule_is_none():
    task = TASKS["digits"]()
    plain, constant = (
        Descent(task, Adam(0.01), **given) for given in ({}, {"schedule": "constant", "episode_steps": 3})
    )
    assert torch.equal(*(score(one, 2, 8, 0, Phase.TUNE).losses for one in (plain, constant)))
    assert plain.init(2, generator(0))._fields == ("params", "memory")
    assert set(plain.init(2, generator(0)).memory._fields) == {"first", "second", "steps"}


@pytest.mark.parametrize("name", HAND_MADE)
def test_every_hand_made_rule_has_one(name):
    if missing := missing_package(name):
        pytest.skip(f"{missing} is not installed")
    settings = compose("compare", [f"learner={name}", "tune=all", "task=halfplanes", "++learner.schedule=cosine"])
    task = build_task(settings)
    learner = build_learner(settings, task, steps=10)
    losses = score(learner, 2, 10, 0, Phase.TUNE).losses
    assert learner.schedule == "cosine"
    assert "schedule=cosine" in learner.path.why_not or not isinstance(learner, Descent)
    assert losses.isfinite().all()


class Own(Momentum):
    """A rule of somebody else's."""


def test_a_rule_of_somebody_else_is_vetted_and_has_one_too():
    words = ["learner=momentum", "learner.rule._target_=tests.learners.test_schedule.Own", "+learner.schedule=linear"]
    settings = compose("compare", [*words, "task=quadratic", "task.horizon=6"])
    task = build_task(settings)
    found = score(build_learner(settings, task), 2, 6, 0, Phase.TUNE).losses
    assert torch.equal(found, score(Descent(task, Momentum(0.03), schedule="linear"), 2, 6, 0, Phase.TUNE).losses)


def test_it_ends_with_the_problem_that_it_is_tuned_and_scored_for():
    """The problem's steps count, whatever the task's horizon; a mark before the end is on the way."""
    words = ["learner=sgd", "+learner.schedule=linear", "task=quadratic", "tune.grid={learner.rule.lr: [0.05]}"]
    words += ["evaluation.episodes=4", "evaluation.problems={short: {horizon: 5}, long: {horizon: 20}}"]
    settings = compose("compare", words)
    short, long = (hand_made_contender("sgd", settings).enter(problem) for problem in problems_of(settings))
    assert (short.learner.episode_steps, long.learner.episode_steps) == (5, 20)
    cut = compose("compare", [*words, "evaluation.steps=5"])
    entries = [hand_made_contender("sgd", cut).enter(problem) for problem in problems_of(cut)]
    assert [one.learner.episode_steps for one in entries] == [5, 5]
    ends = [score(one.learner, 4, 5, 0, Phase.TUNE).losses for one in (short, long, entries[1])]
    assert torch.equal(ends[0], ends[2])
    assert not torch.equal(ends[0], ends[1])  # the first five of twenty steps are no schedule of five


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learner=conjugate_gradient"], "needs a learning rate lr, but ConjugateGradient has none"),
        (["learner=mlhf", "task=digits"], "is for hand-made rules, but MLHF is learned"),
        (["learner=coordinatewise_lstm"], "is for hand-made rules, but CoordinatewiseLSTM is learned"),
    ],
)
def test_what_has_no_rate_of_its_own_has_no_schedule(words, message):
    settings = compose("compare", [*words, "+learner.schedule=cosine"])
    with pytest.raises(UsageError, match=message):
        build_learner(settings, build_task(settings))
