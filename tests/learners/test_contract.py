"""What every learner owes on every task (DESIGN: answer, then learn; state in, state out)."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.tree import flatten, tree_map, unflatten
from l2l_cli.core.types import Batch, Phase
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import HIDING, LEARNERS, OF_CLASSES, PAIRS, TASKS, is_refused, marked, pair_of
from tests.configured import missing_package

E, T = 3, 4

pair = cache(pair_of)  # no contract changes a learner, and each meets the same pair


@pytest.fixture(params=marked(PAIRS))
def setting(request, double):
    task, learner = pair(*request.param)
    return task, learner, task.sample(E, 7, Phase.TEST)


def test_answers_have_the_targets_shape(setting):
    task, learner, episode = setting
    batch = episode.batch(0)
    with torch.no_grad():
        state, answer = learner.step(learner.init(E, generator(0)), batch)
        assert answer.shape == batch.targets.shape
        assert learner.predict(state, batch.inputs).shape == batch.targets.shape
    assert task.loss(answer, batch.targets).shape == (E,)


def test_the_answer_comes_before_the_targets(setting):
    _, learner, episode = setting
    batch = episode.batch(0)
    other = Batch(batch.inputs, 1.0 - batch.targets)
    with torch.no_grad():
        state = learner.init(E, generator(0))
        first = learner.step(state, batch)[1]
        second = learner.step(state, other)[1]
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_step_leaves_its_state_alone_and_learns(setting):
    _, learner, episode = setting
    with torch.no_grad():
        state, _ = learner.step(learner.init(E, generator(0)), episode.batch(0))
        before = {name: value.clone() for name, value in flatten(state).items()}
        after, _ = learner.step(state, episode.batch(1))
    for name, value in flatten(state).items():
        assert torch.equal(value, before[name]), name
    changed = [
        name for name, value in flatten(after).items() if name not in before or not torch.equal(value, before[name])
    ]
    assert changed


def test_unroll_is_the_loop_over_step(setting):
    _, learner, episode = setting
    batches = episode.batches(0, T)
    with torch.no_grad():
        looped, answers = learner.init(E, generator(0)), []
        for step in range(T):
            looped, answer = learner.step(looped, episode.batch(step))
            answers.append(answer)
        unrolled, together = learner.unroll(learner.init(E, generator(0)), batches)
    torch.testing.assert_close(together, torch.stack(answers), rtol=1e-10, atol=1e-12)
    for name, value in flatten(looped).items():
        torch.testing.assert_close(flatten(unrolled)[name], value, rtol=1e-8, atol=1e-10)


def test_predict_answers_as_step_does(setting):
    _, learner, episode = setting
    with torch.no_grad():
        state, _ = learner.unroll(learner.init(E, generator(0)), episode.batches(0, T))
        batch = episode.batch(T)
        torch.testing.assert_close(learner.predict(state, batch.inputs), learner.step(state, batch)[1])


def test_episodes_do_not_influence_each_other(setting):
    _, learner, episode = setting
    batches = episode.batches(0, T)
    altered = batches._replace(targets=batches.targets.clone(), inputs=batches.inputs.clone())
    altered.targets[:, 0] = 1.0 - altered.targets[:, 0]
    with torch.no_grad():
        plain = learner.unroll(learner.init(E, generator(0)), batches)[1]
        other = learner.unroll(learner.init(E, generator(0)), altered)[1]
    torch.testing.assert_close(plain[:, 1:], other[:, 1:], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(plain[:, 0], other[:, 0])


@pytest.mark.parametrize("pair_of_names", marked([one for one in PAIRS if one[0] in HIDING]))
def test_answers_never_depend_on_hidden_targets(pair_of_names, double):
    _, learner = pair(*pair_of_names)
    batches = learner.task.sample(E, 7, Phase.TEST).batches(0, 12)
    hidden = batches.shown[:, :, None, None] == 0
    altered = batches._replace(targets=torch.where(hidden, 1.0 - batches.targets, batches.targets))
    assert not torch.equal(altered.targets, batches.targets)
    with torch.no_grad():
        state, plain = learner.unroll(learner.init(E, generator(0)), batches)
        other, answers = learner.unroll(learner.init(E, generator(0)), altered)
        torch.testing.assert_close(answers, plain, rtol=0, atol=0)
        inputs = batches.inputs[3]
        torch.testing.assert_close(learner.predict(other, inputs), learner.predict(state, inputs), rtol=0, atol=0)
        stepped = learner.init(E, generator(0))
        for step in range(12):
            stepped, answer = learner.step(stepped, altered.at(step))
            torch.testing.assert_close(answer, plain[step], rtol=1e-9, atol=1e-12)


def test_state_survives_flattening(setting):
    _, learner, episode = setting
    with torch.no_grad():
        state, _ = learner.step(learner.init(E, generator(0)), episode.batch(0))
        saved = {name: value.clone() for name, value in flatten(state).items()}
        revived = unflatten(tree_map(torch.zeros_like, state), saved)
        batch = episode.batch(1)
        torch.testing.assert_close(learner.step(revived, batch)[1], learner.step(state, batch)[1], rtol=0, atol=0)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_fits_some_task(name, double):
    if name in OF_CLASSES and (missing := missing_package(name)):
        pytest.skip(f"{missing} is not installed")
    fitting = (task for task, learner in PAIRS if learner == name and not is_refused(task, learner))
    assert next(fitting, None) is not None


@pytest.mark.parametrize("name", ["sgd", "adam", "coordinatewise_lstm"])
@pytest.mark.parametrize("task", TASKS)
def test_update_rules_fit_every_task(task, name, double):
    """They ask for gradients alone, so what is skipped above is never for want of a gradient."""
    assert is_refused(task, name) is None


def test_a_learner_on_another_task_shares_its_weights():
    small, large = Quadratic(dimension=3), Quadratic(dimension=5)
    learner = Descent(small, CoordinatewiseLSTM(hidden=3))
    twin = learner.on(large)
    assert next(twin.parameters()) is next(learner.parameters())
    assert (learner.task, twin.task) == (small, large)
    episode = large.sample(E, 7, Phase.TEST)
    fresh = Descent(large, CoordinatewiseLSTM(hidden=3))
    with torch.no_grad():
        state, other = (one.init(E, generator(0)) for one in (twin, fresh))
        for step in range(T):
            state, answer = twin.step(state, episode.batch(step))
            other, wanted = fresh.step(other, episode.batch(step))
    torch.testing.assert_close(answer, wanted, rtol=0, atol=0)
