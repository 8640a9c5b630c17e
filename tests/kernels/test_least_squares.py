"""The compiled steps on ‖Wθ − y‖² against steps one by one, and against the reference in double precision."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator, normal
from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Batch, Batches, Phase, Spec
from l2l_cli.kernels.paths import Paths
from l2l_cli.kernels.unroll import LSTMWindow
from l2l_cli.learners.descent import Descent
from l2l_cli.models.mlp import LinearMap
from l2l_cli.models.model import Model, gaussian
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.preprocess import LogAndSign
from l2l_cli.tasks.base import Episode, Regression
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import one_in

STEPS = 7


class Changing(Episode):
    """Another W (E, rows, d) and y (E, rows) at every step."""

    def __init__(self, shape, seed):
        self.shape, self.seed = shape, seed

    def batch(self, step, split=None):
        rng = generator(self.seed, "changing", str(step))
        return Batch(normal(self.shape, rng), normal(self.shape[:2], rng))


class Rows(Regression):
    """Least squares with other numbers of rows than of coordinates."""

    def __init__(self, rows, dimension):
        self.rows, self.dimension, self.horizon = rows, dimension, 20
        self.model = Model(LinearMap(dimension), gaussian(0.5))
        self.spec = Spec(inputs=(dimension,), targets=(), examples=rows)

    def sample(self, episodes, seed, phase):
        return Changing((episodes, self.rows, self.dimension), seed)


class Doubled(Quadratic):
    """A loss of its own, which the kernels must not take for the mean."""

    def loss(self, outputs, targets):
        return 2 * (outputs - targets).square().mean(1)


TASKS = {
    "10": lambda: Quadratic(),
    "7": lambda: Quadratic(dimension=7),
    "1": lambda: Quadratic(dimension=1),
    "64": lambda: Quadratic(dimension=64),
    "wide": lambda: Rows(3, 13),
    "tall": lambda: Rows(9, 4),
    "doubled": lambda: Doubled(),
}


@pytest.fixture
def taken(monkeypatch):
    """Whether the compiled steps were taken, each time that they were asked for."""
    found, own = [], LSTMWindow.least_squares

    def counted(self, *args):
        outputs = own(self, *args)
        found.append(outputs is not None)
        return outputs

    monkeypatch.setattr(LSTMWindow, "least_squares", counted)
    return found


def unrolled(task, episodes, fast):
    """Losses, meta-gradient, parameters and h after two windows, of which the second is differentiated."""
    rule = CoordinatewiseLSTM(hidden=4, preprocess=LogAndSign(), output_scale=0.3)
    learner = Descent(task, rule, paths=Paths(fast))
    episode = task.sample(episodes, 0, Phase.META_TRAIN)
    state, _ = learner.losses(learner.init(episodes, generator(0)), episode.batches(0, 2))
    state = tree_map(torch.Tensor.detach, state)
    after, losses = learner.losses(state, episode.batches(2, 2 + STEPS))
    weights = torch.linspace(1, 2, losses.numel()).view_as(losses)
    grad = torch.autograd.grad((weights * losses).sum(), list(rule.parameters()))
    return losses.detach(), grad, after.params["theta"].detach(), after.memory.hidden.detach()


@pytest.mark.parametrize(("name", "episodes"), one_in(2, TASKS, [1, 5, 130]))
def test_value_and_meta_gradient_are_the_references(name, episodes, threads, double, taken):
    task = TASKS[name]()
    for found, wanted in zip(unrolled(task, episodes, True), unrolled(task, episodes, False), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
    assert bool(taken) == (name != "doubled")


@pytest.mark.parametrize("episodes", [1, 130])
@pytest.mark.parametrize("name", ["10", "wide"])
def test_answers_without_a_graph_are_those_of_single_steps(name, episodes, double, taken):
    task, rule = TASKS[name](), CoordinatewiseLSTM(hidden=4)
    batches = task.sample(episodes, 0, Phase.TEST).batches(0, STEPS)
    with torch.no_grad():
        found = []
        for fast in (True, False):
            learner = Descent(task, rule, paths=Paths(fast))
            found.append(learner.unroll(learner.init(episodes, generator(0)), batches))
    (one, answers), (other, wanted) = found
    torch.testing.assert_close(answers, wanted, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(one.params, other.params, rtol=1e-9, atol=1e-10)
    assert all(taken)


def test_threads_share_what_whole_episodes_do_not_divide(threads, taken):
    """Episodes of 23 coordinates end with a block every 23 blocks; two threads share 46, more than 90 episodes fill."""
    for episodes, fits in ((9, True), (90, threads == 1), (300, True)):
        learner = Descent(Quadratic(dimension=23), CoordinatewiseLSTM(hidden=4))
        batches = learner.task.sample(episodes, 0, Phase.TEST).batches(0, STEPS)
        learner.losses(learner.init(episodes, generator(0)), batches)
        assert taken.pop() == fits


def test_a_problem_that_is_not_finite_leaves_the_others_alone():
    rule = CoordinatewiseLSTM(hidden=4)
    learner = Descent(Quadratic(dimension=3), rule)
    state = learner.init(40, generator(0))
    batches = learner.task.sample(40, 0, Phase.TEST).batches(0, STEPS)
    found = []
    for bad in (0.0, torch.nan):
        targets = batches.targets[0].clone()
        targets[21] = bad
        after, _ = learner.losses(state, Batches(batches.inputs, targets.expand(STEPS, -1, -1)))
        found.append(after.params["theta"])
    others = torch.arange(40) != 21
    assert torch.equal(found[0][others], found[1][others])
    assert found[1][21].isnan().all()
