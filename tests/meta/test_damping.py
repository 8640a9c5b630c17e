"""Damped meta-gradients: exact at ρ = γ = 1, stopped at ρ = 0, and a closed form in between."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l2l_cli.autodiff.damping import limited
from l2l_cli.config.build import build
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.learners.learned_init import LearnedInit
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.evolution import PersistentES
from l2l_cli.meta.horizon import LogUniform
from l2l_cli.meta.loss import LastStep, Trajectory
from l2l_cli.optimizers.base import FirstOrder
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import LEARNERS, TASKS
from tests.configured import node_of
from tests.meta.test_gradient import finite_difference, objective

STEPS = 6


class HeavyBall(FirstOrder):
    """Two numbers are learned: a rate and a momentum."""

    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.2))
        self.decay = nn.Parameter(torch.tensor(0.5))

    def init(self, params):
        return {name: torch.zeros_like(value) for name, value in params.items()}

    def update(self, grad, memory):
        velocity = {name: self.decay * memory[name] + value for name, value in grad.items()}
        return {name: -self.rate * value for name, value in velocity.items()}, velocity


def heavy_ball(**options):
    return Descent(Quadratic(dimension=3, horizon=STEPS), HeavyBall(), **options)


def estimate(learner, loss=None, **damping):
    estimator = Backprop(episodes=2, loss=loss, **damping)
    return estimator.estimate(learner, estimator.init(learner, 0), 0.0)[1]


def assert_same(one, other):
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    "make", [heavy_ball, lambda: LEARNERS["coordinatewise_lstm-log"](TASKS["digits"]())], ids=["ball", "lstm"]
)
@pytest.mark.parametrize("loss", [Trajectory(), LastStep()], ids=["trajectory", "last step"])
def test_undamped_it_equals_finite_differences(make, loss, double):
    learner = make()
    learner.task.horizon = STEPS
    found, rng = estimate(learner, loss, rho=1.0, gamma=1.0), torch.Generator().manual_seed(0)
    direction = {key: torch.randn(value.shape, generator=rng) for key, value in learner.named_parameters()}
    slope = sum((direction[key] * value).sum() for key, value in found.grad.items())
    numeric = finite_difference(learner, lambda: objective(learner, loss, STEPS), direction)
    torch.testing.assert_close(slope, numeric, rtol=2e-5, atol=1e-9)


def test_rho_one_is_second_order_and_rho_zero_is_not(double):
    assert_same(estimate(heavy_ball(), rho=1.0).grad, estimate(heavy_ball(second_order=True)).grad)
    assert_same(estimate(heavy_ball(), rho=0.0).grad, estimate(heavy_ball()).grad)
    assert_same(estimate(heavy_ball(second_order=True), rho=0.0).grad, estimate(heavy_ball()).grad)


@pytest.mark.parametrize("name", ["coordinatewise_lstm", "coordinatewise_lstm-second-order", "learned_init"])
def test_rho_zero_is_the_stopped_gradient_exactly(name, double):
    learner, stopped = (LEARNERS[name](TASKS["b14"]()) for _ in range(2))
    stopped = stopped.with_second_order(0.0)
    assert not stopped.second_order
    assert_same(estimate(learner, rho=0.0).grad, estimate(stopped).grad)
    assert Backprop(rho=0.0).path_of(learner) == stopped.path


def closed_form(rho, gamma):
    """The derivative of the mean loss in (rate, decay), by sums over what each step does to all later ones."""
    learner = heavy_ball()
    batches = learner.task.sample(2, derive(0, "episode", 0), Phase.META_TRAIN).batches(0, STEPS)
    theta = learner.init(2, generator(0, "learner", 0)).params["theta"]
    rate, decay = 0.2, 0.5
    matrix, targets = batches.inputs[0], batches.targets[0]  # W is the same at each step
    count = targets.shape[1]
    hessian = 2 / count * matrix.mT @ matrix
    offset = 2 / count * (matrix.mT @ targets[..., None])[..., 0]
    velocity = torch.zeros_like(theta)
    # Rows: θ and v; columns: the two meta-parameters.
    d_theta, d_velocity = (torch.zeros(2, 3, 2) for _ in range(2))
    total = torch.zeros(2)
    for _ in range(STEPS):
        d_theta, d_velocity = gamma * d_theta, gamma * d_velocity
        grad = (hessian @ theta[..., None])[..., 0] - offset
        total = total + (grad[..., None] * d_theta).sum((0, 1))
        after = decay * velocity + grad
        d_after = decay * d_velocity + rho * hessian @ d_theta
        d_after[..., 1] += velocity
        d_theta = d_theta - rate * d_after
        d_theta[..., 0] -= after
        theta, velocity, d_velocity = theta - rate * after, after, d_after
    return total / (2 * STEPS)


@pytest.mark.parametrize(("rho", "gamma"), [(0.7, 0.9), (0.3, 1.0), (1.0, 0.5), (0.0, 0.8)])
def test_in_between_it_equals_a_closed_form(rho, gamma, double):
    found = estimate(heavy_ball(), rho=rho, gamma=gamma).grad
    torch.testing.assert_close(torch.stack([found["rule.rate"], found["rule.decay"]]), closed_form(rho, gamma))


def test_damping_changes_no_loss(double):
    losses = [estimate(heavy_ball(), rho=rho, gamma=gamma).loss for rho, gamma in [(None, 1.0), (0.7, 0.9)]]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=0)


def test_of_the_gauss_newton_matrix_a_share_is_taken_too(double):
    learner = LEARNERS["coordinatewise_lstm"](TASKS["b14"]())
    learner.second_order = "ggn"
    whole, half, none = (estimate(learner, rho=rho).grad for rho in (1.0, 0.5, 0.0))
    assert learner.with_second_order(0.5).second_order == "ggn"
    assert any(
        not torch.equal(whole[name], value) and not torch.equal(none[name], value) for name, value in half.items()
    )


def test_the_state_of_any_learner_forgets(double):
    task = Booleans(xor=False, length=8)
    learner = LSTM(task, hidden=3)
    whole, damped, none = (estimate(learner, gamma=gamma).grad for gamma in (1.0, 0.9, 1e-12))
    assert any(not torch.allclose(whole[name], value) for name, value in damped.items())
    # With γ → 0 what is before a step is a constant to it.
    state = learner.init(2, generator(0, "learner", 0))
    batches = task.sample(2, derive(0, "episode", 0), Phase.META_TRAIN).batches(0, 8)
    total = torch.zeros(())
    for step in range(8):
        state, answer = learner.step(type(state)(*(value.detach() for value in state)), batches.at(step))
        total = total + task.loss(answer, batches.targets[step]).mean() / 8
    alone = torch.autograd.grad(total, list(learner.parameters()))
    for value, wanted in zip(none.values(), alone, strict=True):
        torch.testing.assert_close(value, wanted)


def test_damped_gradients_of_a_learned_start_leave_its_recorded_path(double):
    learner = LearnedInit(TASKS["halfplanes"](), second_order=True)
    assert Backprop(rho=0.5).path_of(learner).why_not
    half = estimate(learner, rho=0.5).grad
    ends = [estimate(learner, rho=rho).grad for rho in (0.0, 1.0)]
    assert all(not any(torch.equal(half[name], end[name]) for end in ends) for name in half)


def test_kernels_that_cannot_damp_say_so_and_are_left():
    learner = Descent(Quadratic(dimension=3, horizon=STEPS), CoordinatewiseLSTM(hidden=3))
    assert learner.path.is_compiled
    assert "gamma=0.9" in Backprop(gamma=0.9).path_of(learner).why_not
    assert "rho" in Backprop(rho=0.5).path_of(learner).why_not
    assert Backprop(rho=0.0).path_of(learner).is_compiled


def test_a_learner_that_descends_nothing_refuses_rho():
    learner = LSTM(Booleans(xor=False, length=8), hidden=3)
    with pytest.raises(UsageError, match=r"LSTM uses none; use gradient\.rho=null"):
        estimate(learner, rho=0.5)


@pytest.mark.parametrize("changes", [{"rho": 1.1}, {"rho": -0.1}, {"gamma": 1.5}, {"gamma": 0.0}])
def test_factors_are_fractions(changes):
    with pytest.raises((ValueError, UsageError), match=r"must lie in [\[(]0, 1\]"):
        build(node_of("gradient", "backprop") | changes, "gradient")


def test_no_episode_is_longer_than_the_limit(double):
    """A quadratic whose steps are too long: the derivative in an early θ grows, and is cut for each episode apart."""
    learner = heavy_ball()
    with torch.no_grad():
        learner.rule.rate.fill_(1.2)
    state = learner.init(2, generator(0))
    batches = learner.task.sample(2, 0, Phase.META_TRAIN).batches(0, STEPS)
    sizes = {}
    for limit in (1e9, 0.5):
        twin = learner.with_second_order(1.0).with_limit(limit)
        start = {name: value.detach().requires_grad_() for name, value in state.params.items()}
        _, losses = twin.losses(state._replace(params=start), batches)
        (found,) = torch.autograd.grad(losses.mean(), list(start.values()))
        sizes[limit] = found.norm(dim=1) * 2  # of an episode's own objective
    assert sizes[1e9].min() > 1.0
    assert torch.equal(sizes[0.5] <= 0.5 + 1e-12, torch.tensor([True, True]))
    torch.testing.assert_close(sizes[0.5], torch.full((2,), 0.5))


def test_a_limit_that_is_never_met_changes_nothing(double):
    assert_same(estimate(heavy_ball(), rho=0.7, limit=1e6).grad, estimate(heavy_ball(), rho=0.7).grad)
    assert "limit" in Backprop(limit=1.0).path_of(Descent(Quadratic(), CoordinatewiseLSTM(hidden=3))).why_not


def test_what_is_not_finite_is_cut_off():
    params = {"one": torch.ones(2, 3, requires_grad=True), "other": torch.ones(2, 1, requires_grad=True)}
    found = limited(params, 1.0)
    scale = torch.tensor([[1e30, 1e30, 0.0], [0.01, 0.0, 0.0]])
    objective = (found["one"] * scale).sum() + (found["other"] * torch.tensor([[1e38], [0.02]])).sum() * 100
    one, other = torch.autograd.grad(objective, list(params.values()))
    assert one[0].abs().sum() == 0
    torch.testing.assert_close(torch.cat([one[1], other[1]]).norm(), torch.tensor(0.5))  # 2 episodes share the mean


def test_of_a_long_episode_one_window_is_taken_and_the_way_there_is_walked(double):
    learner = LEARNERS["tensorwise_mixture"](TASKS["quadratic"]())
    estimator = Backprop(2, window=3, horizon=LogUniform(12, 12, one_window=True))
    progress, starts = estimator.init(learner, 0), []
    for draw in range(40):
        progress = estimator.resume(learner, progress, 0.0)
        assert (int(progress.draw), int(progress.horizon)) == (draw, 12)
        starts.append(int(progress.step))
        assert int(progress.state.memory.steps) == starts[-1]
        progress, found = estimator.estimate(learner, progress, 0.0)
        assert int(progress.step) == 12
    assert 0.3 < starts.count(9) / len(starts) < 0.7
    assert set(starts) > {0, 9}
    # The window is that of an episode that is walked through window by window.
    plain = Backprop(2, window=3, horizon=LogUniform(12, 12))
    walked = plain.begin(learner, 0, 39, 0.0)
    plain.window = starts[-1]
    walked, _ = plain.estimate(learner, walked, 0.0)
    plain.window = 3
    torch.testing.assert_close(plain.estimate(learner, walked, 0.0)[1].grad, found.grad, rtol=1e-12, atol=1e-15)


def test_a_short_episode_is_its_one_window(double):
    learner = LEARNERS["coordinatewise_lstm"](TASKS["b14"]())
    horizons = [LogUniform(12, 12, one_window=flag) for flag in (True, False)]
    one, whole = (estimate(learner, window=12, horizon=horizon).grad for horizon in horizons)
    assert_same(one, whole)


def test_estimators_that_take_all_windows_refuse_to_take_one():
    with pytest.raises(ValueError, match=r"PersistentES uses all windows .*one_window=false"):
        PersistentES(horizon=LogUniform(one_window=True))
