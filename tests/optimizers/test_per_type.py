"""One rule for convolutions, another one for the rest: on a small network that has both."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l2l_cli.core.random import derive, generator, normal
from l2l_cli.core.tree import detach, flatten
from l2l_cli.core.types import Batch, Phase, Spec, Split
from l2l_cli.kernels.paths import NUMBA, REFERENCE, Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.loss import LogTrajectory
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.models.model import Model, gaussian
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.per_type import PerType
from l2l_cli.optimizers.preprocess import ClippedLogAndSign, LogAndSign
from l2l_cli.optimizers.sgd import Momentum, Sgd
from l2l_cli.tasks.base import Episode, Task, mean_squared_error
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import on_path
from tests.meta.test_gradient import finite_difference, objective, shown_gradients

STEPS = 6


class Filters(Task):
    """Regression by convolutions whose parameters lie between those of other types."""

    def __init__(self) -> None:
        layers = [nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Conv2d(3, 2, 2), nn.Tanh(), nn.Flatten(-3), nn.Linear(8, 2)]
        self.model = Model(nn.Sequential(*layers), gaussian(0.5))
        self.spec = Spec(inputs=(1, 5, 5), targets=(2,), examples=4)
        self.horizon = STEPS

    def sample(self, episodes, seed, phase):
        return Drawn(episodes, derive(seed, "filters", phase))

    def loss(self, outputs, targets):
        return mean_squared_error(outputs, targets)


class Drawn(Episode):
    def __init__(self, episodes: int, seed: int) -> None:
        self.episodes, self.seed = episodes, seed

    def batch(self, step: int, split: Split = Split.TRAIN) -> Batch:
        rng = generator(self.seed, split, step)
        return Batch(normal((self.episodes, 4, 1, 5, 5), rng), normal((self.episodes, 4, 2), rng))


def lstms(**fc):
    conv = CoordinatewiseLSTM(hidden=4, layers=1, preprocess=LogAndSign(), output_scale=0.5, initial_seed=1)
    return PerType(conv, CoordinatewiseLSTM(hidden=3, **fc))


def test_the_type_is_a_matter_of_axes():
    params = Filters().model.init(2, generator(0))
    groups = PerType(Sgd(), Sgd()).split(params)
    assert list(groups["conv"]) == ["0.weight", "2.weight"]
    assert list(groups["fc"]) == ["0.bias", "2.bias", "5.weight", "5.bias"]
    assert list(PerType(Sgd(), Sgd()).split({"theta": torch.zeros(2, 3)})) == ["fc"]


def test_each_rule_moves_its_own():
    params = Filters().model.init(2, generator(0))
    conv, fc = Momentum(0.1), Momentum(0.7)
    rule = PerType(conv, fc)
    memory = rule.init(params)
    for _ in range(2):
        moves, memory = rule.update(params, memory)
    for part, names in ((conv, ["0.weight", "2.weight"]), (fc, ["0.bias", "2.bias", "5.weight", "5.bias"])):
        own = {name: params[name] for name in names}
        _, before = part.update(own, part.init(own))
        for name, move in part.update(own, before)[0].items():
            assert torch.equal(moves[name], move)


def estimates(learner, fast, windows=2):
    """The meta-gradients of windows of three steps, and the state after the last."""
    learner = on_path(learner, fast)
    assert learner.path.is_compiled == fast
    estimator = Backprop(episodes=3, window=3)
    progress, found = estimator.init(learner, 0), []
    for _ in range(windows):
        progress, estimate = estimator.estimate(learner, progress, 0.0)
        found.append(estimate)
    return found, flatten(progress.state)


@pytest.mark.parametrize("preprocess", [None, ClippedLogAndSign()], ids=["identity", "clipped"])
def test_the_fast_path_is_the_reference(preprocess, double):
    learner = Descent(Filters(), lstms(preprocess=preprocess))
    (fast, state), (plain, wanted) = estimates(learner, True), estimates(learner, False)
    assert list(state) == list(wanted)
    for name, value in state.items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-10, atol=1e-11)
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one.loss, other.loss, rtol=1e-10, atol=0)
        for name, value in one.grad.items():
            assert other.grad[name].abs().max() > 0
            torch.testing.assert_close(value, other.grad[name], rtol=1e-10, atol=1e-11)


def test_steps_without_a_graph_are_the_references(double):
    learner = Descent(Filters(), lstms(preprocess=ClippedLogAndSign()))
    batches = learner.task.sample(3, 0, Phase.TEST).batches(0, STEPS)
    found = []
    for fast in (True, False):
        learner = on_path(learner, fast)
        with torch.no_grad():
            state, answers = learner.unroll(learner.init(3, generator(0)), batches)
        found.append((answers, *state.params.values()))
        assert list(state.params) == list(learner.task.model.shapes)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("second_order", [False, True])
def test_the_meta_gradient_is_that_of_finite_differences(second_order, double):
    learner = Descent(Filters(), lstms(), second_order, paths=Paths(compiled=False))
    loss = LogTrajectory()
    estimator = Backprop(episodes=2, loss=loss)
    _, estimate = estimator.estimate(learner, estimator.init(learner, 0), 0.0)
    frozen = None if second_order else shown_gradients(learner, STEPS)
    rng = torch.Generator().manual_seed(0)
    direction = {key: torch.randn(value.shape, generator=rng) for key, value in learner.named_parameters()}
    slope = sum((direction[key] * value).sum() for key, value in estimate.grad.items())
    numeric = finite_difference(learner, lambda: objective(learner, loss, STEPS, frozen), direction)
    torch.testing.assert_close(slope, numeric, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("fast", [True, False])
def test_a_rule_whose_type_does_not_occur_stays_as_it_is(fast):
    learner = Descent(Quadratic(dimension=3, horizon=4), lstms(), paths=Paths(fast))
    before = {name: value.clone() for name, value in learner.rule.named_parameters()}
    plan = MetaPlan(updates=3, validate_every=3, validation_episodes=2, clip=0.01, warmup=0)
    list(MetaTraining(learner, Backprop(2), Adam(0.01), plan, 0).records())
    for name, value in learner.rule.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("conv"), name


def test_it_goes_to_a_task_with_convolutions():
    learner = Descent(Quadratic(), lstms())
    twin = learner.on(Filters())
    state = twin.init(2, generator(0))
    after, losses = twin.losses(detach(state), twin.task.sample(2, 0, Phase.META_TRAIN).batches(0, 2))
    losses.sum().backward()
    assert set(after.memory) == {"conv", "fc"}
    assert all(value.grad is not None for value in learner.parameters())


def test_kernels_run_it_if_both_rules_are_theirs():
    assert Descent(Filters(), lstms()).path == NUMBA
    assert Descent(Filters(), lstms(), second_order=True).path.why_not.startswith("second_order")
    assert Descent(Filters(), PerType(Sgd(), CoordinatewiseLSTM())).path == REFERENCE
