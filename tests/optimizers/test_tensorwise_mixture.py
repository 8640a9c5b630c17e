"""The mixture for each tensor: what it moves by, what it is indifferent to, and what cannot break it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from l2l_cli.core.random import generator
from l2l_cli.core.tree import flatten
from l2l_cli.core.types import Batch, Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.horizon import LogUniform
from l2l_cli.meta.loss import LogTrajectory
from l2l_cli.models.model import Model
from l2l_cli.models.point import Point, mean_squared_error
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.tensor_traits import traits_of
from l2l_cli.optimizers.tensorwise_mixture import TensorwiseMixture
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.quadratic import Quadratic

E = 3


class Net(nn.Module):
    """Tensors of every shape: a scalar, vectors, a matrix, a filter."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.conv = nn.Conv1d(1, 4, 3)
        self.out = nn.Linear(8, 1)

    def forward(self, inputs):
        return self.scale * self.out(self.conv(inputs[:, None]).tanh().flatten(1)[:, :8])


def frozen(rule, grads, params, losses=None, steps=100):
    """θ after gradients that are given."""
    model = Model(Net())
    memory, found = rule.begin(params, steps), []
    for number, grad in enumerate(grads):
        batch = Batch(torch.zeros(E, 1, 4), torch.zeros(E, 1, 1))
        point = Point(model, mean_squared_error, params, batch)
        vars(point)["grad"] = grad
        vars(point)["loss"] = torch.ones(E) if losses is None else losses[number]
        with torch.no_grad():
            params, memory = rule.step(point, memory)
        found.append(params)
    return found, memory


def start():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model(Net()).init(E, generator(0))


def noise(count, seed=0, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    return [
        {name: scale * torch.randn(value.shape, generator=rng) for name, value in start().items()} for _ in range(count)
    ]


def trained(**options):
    """A rule whose every weight matters."""
    rule = TensorwiseMixture(**options)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in rule.parameters():
            value += 0.1 * torch.randn(value.shape, generator=rng)
    return rule


def test_it_has_some_nine_hundred_weights_and_three_numbers_a_coordinate():
    assert 800 < sum(value.numel() for value in TensorwiseMixture().parameters()) < 950
    params = {"w": torch.zeros(E, 1000, 10), "b": torch.zeros(E, 10)}
    numbers = sum(value.numel() for value in flatten(TensorwiseMixture().init(params)).values())
    assert numbers - 3 * E * 10_010 < 20


def test_untrained_and_blind_it_is_near_adam(double):
    """With an untrained network it takes Adam's direction with its own decays, at the rate START."""
    rule, adam = TensorwiseMixture(blind=True), Adam(lr=0.03, beta1=0.9, beta2=0.98)
    with torch.no_grad():
        rule.head.weight.zero_()
    grads, params = noise(5), start()
    found = frozen(rule, grads, params)[0][-1]
    memory = adam.init(params)
    for grad in grads:
        moves, memory = adam.update(grad, memory)
        params = {name: value + moves[name] for name, value in params.items()}
    for name, value in params.items():
        torch.testing.assert_close(found[name], value)


def test_told_and_untrained_its_rate_falls_as_the_root_of_what_is_left(double):
    rule = TensorwiseMixture()
    with torch.no_grad():
        rule.head.weight.zero_()
    steady = [noise(1)[0]] * 50
    found, _ = frozen(rule, steady, start(), steps=50)
    sizes = [
        float((two["scale"] - one["scale"]).abs().max()) for one, two in zip([start(), *found], found, strict=False)
    ]
    for step in (0, 10, 49):
        assert math.isclose(sizes[step], 0.03 * math.sqrt(1.03 - step / 50), rel_tol=1e-6)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_the_scale_of_the_loss_does_not_matter(factor):
    rule, losses = trained(), [torch.rand(E, generator=generator(n)) + 0.5 for n in range(6)]
    plain = frozen(rule, noise(6), start(), losses)[0][-1]
    other = frozen(rule, noise(6, scale=factor), start(), [factor * loss for loss in losses])[0][-1]
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-16, 1e16, 1e30])
def test_gradients_of_any_size_move_it_to_finite_places(scale):
    found, memory = frozen(trained(), noise(30, scale=scale), start())
    assert all(torch.isfinite(value).all() for value in [*found[-1].values(), *flatten(memory).values()])
    if scale == 0:
        for name, value in start().items():
            assert torch.equal(found[-1][name], value)


def test_its_steps_are_bounded_whatever_the_network_says():
    rule = trained()
    with torch.no_grad():
        for value in rule.parameters():
            value *= 1e6
    assert all(torch.isfinite(value).all() for value in frozen(rule, noise(5), start())[0][-1].values())


def test_losses_that_say_nothing_are_passed_over():
    """A hidden target's loss is 0, and a likelihood may be below 0."""
    rule = trained()
    values = [torch.full((E,), value) for value in (0.0, 2.0, 0.0, 1.0)]
    memory = frozen(rule, noise(4), start(), values)[1]
    torch.testing.assert_close(memory.losses, torch.tensor([[1.8, 1.95, 2.0]]).expand(E, 3))
    found = frozen(rule, noise(4), start(), [torch.full((E,), value) for value in (-1.0, 2.0, -3.0, math.inf)])[0][-1]
    assert all(torch.isfinite(value).all() for value in found.values())


def test_traits_go_by_the_order_and_the_shapes_of_tensors():
    params = {
        "conv.w": torch.zeros(E, 8, 3, 5, 5),
        "conv.b": torch.zeros(E, 8),
        "u": torch.zeros(E, 20, 30),
        "v": torch.zeros(E, 4, 20),
    }
    known = traits_of(params).known
    assert known[:, 0].tolist() == [0, 1, 0, 0]
    assert known[:, 1].tolist() == [0, 0, 0, 1]
    assert known[:, 2].tolist() == [1, 1, 0, 0]
    torch.testing.assert_close(known[:, 3], torch.tensor([75, 1, 30, 20], dtype=torch.float64).log() / 5)
    assert traits_of({"theta": torch.zeros(E, 10)}).known[0, :3].tolist() == [1, 1, 1]


@pytest.mark.parametrize("directions", ["own", "tensor", "adam"])
def test_fewer_directions_are_fewer_coefficients(directions):
    rule = trained(directions=directions)
    seen = torch.rand(E, 2, rule.layers[0].in_features)
    with torch.no_grad():
        used = (rule._coefficients(seen) != 0).flatten(0, 1).all(0).tolist()
    wanted = {"own": [True] * 3 + [False] * 3, "tensor": [False] * 3 + [True] * 3, "adam": [False, True] + [False] * 4}
    assert used == wanted[directions]


def test_what_it_is_told_is_the_horizon_of_whoever_asks():
    task = Quadratic(dimension=3, horizon=40)
    learner = Descent(task, trained())
    assert float(learner.init(E, generator(0)).memory.horizon) == 40
    assert float(learner.told(7).init(E, generator(0)).memory.horizon) == 7
    progress = Backprop(2, horizon=LogUniform(11, 11)).init(learner, 0)
    assert float(progress.state.memory.horizon) == int(progress.horizon) == 11
    one, other = (score(learner, 2, steps, 0, Phase.TUNE).losses[:20] for steps in (20, 40))
    assert not torch.allclose(one[1:], other[1:])
    blind = Descent(task, trained(blind=True))
    assert (learner.is_told, blind.is_told) == (True, False)
    one, other = (score(blind, 2, steps, 0, Phase.TUNE).losses[:20] for steps in (20, 40))
    torch.testing.assert_close(one, other)


def test_it_learns_what_hides_targets_and_what_goes_on_beyond_the_horizon():
    task = Booleans(xor=False, length=12)
    losses = score(Descent(task, trained()).told(5), 4, 12, 0, Phase.TUNE).losses
    assert torch.isfinite(losses).all()


@pytest.mark.parametrize("options", [{"hidden": 0}, {"directions": "north"}])
def test_arguments_out_of_range_are_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TensorwiseMixture(**options)


def test_random_horizons_are_log_uniform_but_for_the_tasks_own():
    rng = generator(0)
    lengths = torch.tensor(
        [LogUniform(50, 2000, own=0.25).draw(0.0, 100, rng) for _ in range(2000)], dtype=torch.double
    )
    assert 0.2 < (lengths == 100).double().mean() < 0.3
    others = lengths[lengths != 100]
    assert (others.min(), others.max()) >= (50, 1900)
    assert 290 < others.log().mean().exp() < 345  # √(50 · 2000) = 316


def test_the_end_of_an_episode_has_its_weight():
    losses = torch.rand(20, 3, dtype=torch.double)
    logs = (losses + 0.001).log()
    plain, late = LogTrajectory(), LogTrajectory(end=0.5)
    torch.testing.assert_close(late(losses, 0.9), plain(losses, 0.9))
    torch.testing.assert_close(late(losses, 1.0), 0.5 * logs.mean() + 0.5 * logs[-2:].mean())


@pytest.mark.slow
def test_meta_training_beats_its_start():
    from l2l_cli.meta.gradient_training import MetaTraining
    from l2l_cli.meta.plan import MetaPlan

    learner = Descent(Quadratic(horizon=40), TensorwiseMixture())
    before = score(learner, 64, 40, 1, Phase.META_VALID).losses[-1].mean()
    estimator = Backprop(16, loss=LogTrajectory(end=0.5), rho=0.7, gamma=0.985, limit=3.0)
    run = MetaTraining(learner, estimator, Adam(0.01), MetaPlan(updates=150, validate_every=50, criterion="final"), 0)
    list(run.records())
    run.finish()
    after = score(learner, 64, 40, 1, Phase.META_VALID).losses[-1].mean()
    assert after < 0.5 * before
