"""Replay of parameters, and gradients that bend by the Gauss-Newton matrix."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from itertools import pairwise

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator, normal
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.loss import Trajectory
from l2l_cli.meta.replay import Replay, ReplayedBackprop
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.halfplanes import Halfplanes
from l2l_cli.tasks.quadratic import Quadratic
from tests.image_tasks import digits_mlp
from tests.meta.test_gradient import finite_difference, objective


def rule(**options):
    made = MLHF(0.5, iterations=2, base_damping=0.1, **options)
    with torch.no_grad():
        for index, value in enumerate(made.parameters()):
            value += normal(tuple(value.shape), generator(index), 0.3)
    return made


def test_where_the_loss_is_quadratic_both_second_orders_are_one(double):
    grads = []
    for second_order in (True, "ggn"):
        learner = Descent(Quadratic(dimension=4, horizon=5), CoordinatewiseLSTM(hidden=3), second_order)
        estimator = Backprop(2)
        grads.append(estimator.estimate(learner, estimator.init(learner, 0), 0.0)[1].grad)
    stopped = Descent(learner.task, learner.rule)
    other = Backprop(2)
    third = other.estimate(stopped, other.init(stopped, 0), 0.0)[1].grad
    for name, value in grads[0].items():
        torch.testing.assert_close(value, grads[1][name])
    assert any(not torch.allclose(value, third[name]) for name, value in grads[0].items())


@pytest.mark.parametrize("options", [{}, {"pace": "learned"}], ids=["paper", "pace"])
def test_mlhf_is_differentiated_whole_where_the_loss_is_quadratic(options, double):
    learner = Descent(Quadratic(dimension=4, horizon=5), rule(**options), "ggn")
    estimator = Backprop(2)
    _, estimate = estimator.estimate(learner, estimator.init(learner, 0), 0.0)
    for draw in range(3):
        direction = {
            name: normal(tuple(value.shape), generator(draw, name)) for name, value in learner.named_parameters()
        }
        expected = finite_difference(learner, partial(objective, learner, Trajectory(), 5), direction)
        found = sum((estimate.grad[name] * direction[name]).sum() for name in direction)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


def test_the_first_window_is_that_of_back_propagation():
    task = digits_mlp(hidden=[3], examples=5, start=0.3, pool=4, horizon=60)
    learner = Descent(task, CoordinatewiseLSTM(hidden=3))
    estimates = []
    for estimator in (Backprop(2, window=6), ReplayedBackprop(2, window=6)):
        estimates.append(estimator.estimate(learner, estimator.init(learner, 0), 0.0)[1])
    for name, value in estimates[0].grad.items():
        torch.testing.assert_close(value, estimates[1].grad[name])
    assert estimates[0].loss == estimates[1].loss


def run(replay, windows=30, horizon=60):
    task = digits_mlp(hidden=[3], examples=5, start=0.3, pool=4, horizon=horizon)
    learner = Descent(task, CoordinatewiseLSTM(hidden=3, output_scale=0.1))
    estimator = ReplayedBackprop(1, 2, replay=replay)
    progress = estimator.init(learner, 0)
    seen = []
    for _ in range(windows):
        progress, _ = estimator.estimate(learner, progress, 0.0)
        seen.append(progress)
    return learner, seen


def test_recent_parameters_grow_old_and_new_ones_come():
    _, seen = run(Replay(keep=0.6, fresh=0.2), 60)
    ages = [int(progress.step) for progress in seen]
    assert max(ages) > 8
    assert ages.count(2) > 1
    assert len({int(progress.draw) for progress in seen}) > 2
    assert int(seen[-1].state.slots.stored) > 3


def test_no_parameters_grow_older_than_the_horizon():
    _, seen = run(Replay(keep=0.99, fresh=0.0), 40, horizon=8)
    assert max(int(progress.step) for progress in seen) == 8


def test_the_released_code_goes_back_to_the_first_parameters():
    learner, seen = run(Replay(keep=0.3, fresh=0.0, store="initial"), 12)
    first = learner.init(1, generator(0, "learner", 0)).params
    slots = seen[-1].state.slots
    assert int(slots.stored) == 1
    assert all(torch.equal(slots.params[name][0], value) for name, value in first.items())
    ages = [int(progress.step) for progress in seen]
    assert all(age in (2, before + 2) for before, age in pairwise(ages))
    assert 2 in ages[1:]


def test_the_paper_keeps_the_best_and_no_larger_ones():
    replay = Replay(store="best", capacity=2)
    params = {"w": torch.ones(1, 4)}
    slots = replay.init(params)
    slots = replay.put(slots, params, 3, 10, 2.0)
    assert int(slots.stored) == 1
    assert int(replay.put(slots, params, 0, 20, 2.1).stored) == 1
    assert int(replay.put(slots, {"w": 1.3 * params["w"]}, 0, 20, 1.9).stored) == 1
    slots = replay.put(slots, {"w": 1.1 * params["w"]}, 4, 20, 1.9)
    assert slots.best.tolist() == pytest.approx([1.9, 2.2])
    found = [replay.take(slots, generator(seed)) for seed in range(40)]
    assert {one.draw for one in found if one is not None} == {3, 4}


def test_a_ring_forgets_the_oldest():
    replay = Replay(capacity=2, fresh=0.0)
    slots = replay.init({"w": torch.zeros(1, 1)})._replace(chance=torch.tensor(1.0))
    for age in (10, 20, 30):
        slots = replay.put(slots, {"w": torch.full((1, 1), float(age))}, age, age, 0.5)
    assert int(replay.put(slots, {"w": torch.zeros(1, 1)}, 9, 9, 1.5).stored) == 3
    found = [replay.take(slots, generator(seed)) for seed in range(20)]
    assert {one.age for one in found} == {20, 30}
    assert all(float(one.params["w"]) == one.age == one.draw for one in found)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="shows all targets"):
        ReplayedBackprop().init(
            Descent(Halfplanes(dimension=3, samples=12, hidden=[4], share=[0.2, 0.6]), CoordinatewiseLSTM(hidden=3)), 0
        )
    with pytest.raises(UsageError, match="learners without one"):
        ReplayedBackprop().init(LSTM(Booleans(length=12), hidden=3), 0)
    with pytest.raises(ValueError, match="keep"):
        Replay(keep=1.0)


@pytest.mark.parametrize("second_order", [False, "ggn"])
def test_a_window_is_forgotten_when_it_is_over(second_order):
    """A graph that held what holds it would stay for ever: windows of large networks fill the memory."""
    task = digits_mlp(hidden=[3], examples=5, start=0.3, pool=4, horizon=60)
    learner = Descent(task, rule(), second_order)
    estimator = ReplayedBackprop(1, 3)
    progress = estimator.init(learner, 0)
    gone = []
    for _ in range(3):
        progress, _ = estimator.estimate(learner, progress, 0.0)
        step = learner.rule.step

        def watched(point, memory, step=step):
            gone.append(weakref.ref(point))
            return step(point, memory)

        learner.rule.step = watched
    del learner.rule.step
    gc.collect()
    assert len(gone) > 3
    assert all(point() is None for point in gone)
