"""The coordinatewise LSTM's kernels against the reference rule under automatic differentiation."""

from __future__ import annotations

import copy

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Phase
from l2l_cli.kernels.blocks import BLOCK, fill, unblocked
from l2l_cli.kernels.memory_pool import Recycler
from l2l_cli.kernels.paths import NUMBA, Paths
from l2l_cli.kernels.unroll import LSTMWindow, SingleSteps
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.backprop import Backprop
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.lstm_cell import LSTMStates
from l2l_cli.optimizers.preprocess import ClippedLogAndSign, Identity, LogAndSign, Momenta, Preprocess
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import one_in
from tests.image_tasks import digits_mlp

STEPS, COORDINATES = 11, 130  # more than one chunk of steps; three blocks, the last one almost empty
SCALE = 0.7


def blocked(values):
    """Return (..., H, C) as (..., B, H, BLOCK), the last block padded by zeros."""
    padded = torch.nn.functional.pad(values, (0, -values.shape[-1] % BLOCK))
    return padded.view(*values.shape[:-1], -1, BLOCK).transpose(-3, -2).contiguous()


class Cubed(Preprocess):
    """What a user may write: the kernels have never heard of it."""

    width = 3

    def forward(self, grad):
        return torch.stack([grad, grad**2, grad**3])


PREPROCESS = {"identity": Identity(0.5), "log": LogAndSign(), "clipped": ClippedLogAndSign(), "users": Cubed()}


def case(hidden, layers, preprocess):
    """A rule, gradients with zeros and tiny ones among them, adjoints and a state to begin with."""
    rule = CoordinatewiseLSTM(hidden, layers, PREPROCESS[preprocess], output_scale=SCALE)
    rng = torch.Generator().manual_seed(0)
    grads = torch.randn(STEPS, COORDINATES, generator=rng) * 10 ** torch.randn(STEPS, COORDINATES, generator=rng)
    grads[:, 3], grads[:, 4], grads[2] = 0.0, 1e-7, 1e-5 * grads[2]
    adjoint = torch.randn(STEPS, COORDINATES, generator=rng)
    state = LSTMStates(*(torch.randn(layers, hidden, COORDINATES, generator=rng) for _ in range(2)))
    return rule, grads, adjoint, state


def reference(rule, grads, adjoint, state):
    """Parameters after every step, the last state, and ∂Σ adjoint · moves / ∂φ."""
    moves = []
    for grad in grads:
        move, state = rule.update({"theta": grad}, state)
        moves.append(move["theta"])
    wanted = torch.autograd.grad((torch.stack(moves) * adjoint).sum(), list(rule.parameters()))
    return torch.stack(moves).detach(), state, wanted


@pytest.mark.parametrize(("hidden", "layers", "preprocess"), one_in(3, [3, 8], [1, 2, 3], PREPROCESS))
def test_moves_and_gradient_are_the_references(hidden, layers, preprocess, threads, double):
    rule, grads, adjoint, state = case(hidden, layers, preprocess)
    moves, last, wanted = reference(rule, grads, adjoint, state)
    weights, buffers = rule.weights(), LSTMWindow()
    buffers.begin(weights, state[:2], torch.zeros(COORDINATES), STEPS)
    buffers.gradients[:, :COORDINATES] = grads
    buffers.grad_moves[:, :COORDINATES] = adjoint
    buffers.features[:] = torch.stack([blocked(rule.preprocess(grad)) for grad in grads])
    for t in range(STEPS):
        buffers.advance(t)
    close = {"rtol": 1e-10, "atol": 1e-11}
    torch.testing.assert_close(buffers.params[1:, :COORDINATES], moves.cumsum(0), **close)
    for found, expected in zip(buffers.backward(), wanted, strict=True):
        torch.testing.assert_close(found, expected, **close)
    for found, expected in zip((buffers.hidden[-1], buffers.cell[-1]), last[:2], strict=True):
        torch.testing.assert_close(unblocked(found, COORDINATES), expected, **close)


@pytest.mark.parametrize("size", [1.0, 30.0, 100.0])
@pytest.mark.parametrize("coordinates", [1, 37, 64, 129])
def test_saturated_gates_are_the_references(size, coordinates):
    """Gates of ± the size by their inputs and biases, in float32 against the reference in float64."""
    rule = CoordinatewiseLSTM(5, 2)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in rule.named_parameters():
            if value.shape == (20, 1) or name.endswith("bias"):  # through h, roundings would grow from step to step
                value.copy_(size * torch.randn(value.shape, generator=rng).clamp(-1, 1))
    grads, adjoint = torch.randn(2, STEPS, coordinates, generator=rng)
    state = LSTMStates(*(torch.randn(2, 5, coordinates, generator=rng) for _ in range(2)))
    exact = copy.deepcopy(rule).double()
    moves, last, wanted = reference(exact, grads.double(), adjoint.double(), tree_map(torch.Tensor.double, state))
    window = LSTMWindow()
    window.begin(rule.weights(), state[:2], torch.zeros(coordinates), STEPS)
    window.grad_moves[:, :coordinates] = adjoint
    for t in range(STEPS):
        window.gradients[t, :coordinates] = grads[t]
        window.advance(t)
    close = {"rtol": 1e-6, "atol": 1e-6 * size}  # a sum of this size has lost as many digits
    torch.testing.assert_close(window.params[1:, :coordinates].double(), moves.cumsum(0), **close)
    torch.testing.assert_close(unblocked(window.cell[-1], coordinates).double(), last.cell, **close)
    found, expected = (torch.cat([value.flatten() for value in values]) for values in (window.backward(), wanted))
    assert (found - expected).norm() < 1e-6 * size * expected.norm()


def test_what_is_not_finite_stays_with_its_coordinate():
    rule, grads, _, state = case(5, 2, "identity")
    found = []
    for bad in (0.0, torch.nan, torch.inf, -torch.inf):
        grads[:, 70] = bad
        window = LSTMWindow()
        window.begin(rule.weights(), state[:2], torch.zeros(COORDINATES), STEPS)
        window.gradients[:, :COORDINATES] = grads
        for t in range(STEPS):
            window.advance(t)
        found.append(window.params[-1, :COORDINATES].clone())
    others = torch.arange(COORDINATES) != 70
    for params in found[1:]:
        assert torch.equal(params[others], found[0][others])
    assert found[1][70].isnan()
    assert torch.isfinite(torch.stack(found[2:])).all()  # gates saturate, as the reference's do
    moves, _, _ = reference(rule, grads, torch.zeros_like(grads), state)
    torch.testing.assert_close(found[3][70], moves[:, 70].sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("preprocess", PREPROCESS)
def test_applied_without_a_graph_it_moves_alike(preprocess, threads):
    rule, grads, _, state = case(20, 2, preprocess)
    with torch.no_grad():
        move, after = rule.update({"theta": grads[0]}, state)
        features = rule.preprocess(grads[0]) if preprocess in ("clipped", "users") else None
        theta = torch.zeros(COORDINATES)
        hidden, cell, params = SingleSteps().step(rule.weights(), grads[0], features, state[:2], theta)
    torch.testing.assert_close(params, move["theta"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(hidden, after.hidden, rtol=0, atol=1e-6)
    torch.testing.assert_close(cell, after.cell, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("task", [Quadratic(), Booleans(xor=True, length=20)], ids=["quadratic", "b16"])
def test_single_precision_is_within_its_digits(task):
    """Value to 1e-6 and meta-gradient to 1e-4, both relative, over a window that carries a state."""
    found = {}
    for fast in (False, True):
        learner = Descent(task, CoordinatewiseLSTM(preprocess=LogAndSign(), output_scale=0.1), paths=Paths(fast))
        estimator = Backprop(episodes=8, window=10)
        progress, _ = estimator.estimate(learner, estimator.init(learner, 0), 0.0)
        found[fast] = estimator.estimate(learner, progress, 0.0)[1]
    torch.testing.assert_close(found[True].loss, found[False].loss, rtol=1e-6, atol=0)
    vectors = [torch.cat([value.flatten() for value in found[fast].grad.values()]) for fast in (False, True)]
    assert (vectors[0] - vectors[1]).norm() < 1e-4 * vectors[0].norm()


def test_a_window_must_be_differentiated_before_the_next():
    learner = Descent(Quadratic(), CoordinatewiseLSTM(hidden=4))
    state = learner.init(3, generator(0, "x"))
    batches = learner.task.sample(3, 0, Phase.META_TRAIN).batches(0, 2)
    state, losses = learner.losses(state, batches)
    learner.losses(state, batches)
    with pytest.raises(RuntimeError, match="overwritten by a later window"):
        losses.sum().backward()


def test_memory_is_used_again_when_nobody_holds_it():
    recycler, like = Recycler(), torch.zeros(3, 4)
    first = recycler.empty_like(like)
    part, place = first[1:], first.data_ptr()
    del first
    assert recycler.empty_like(like).data_ptr() != place  # a view of it is held
    part.fill_(7.0)
    held = recycler.empty_like(like)
    held.zero_()
    assert part.min() == 7.0
    del part
    found = {recycler.empty_like(like).data_ptr() for _ in range(3)}
    assert place in found
    assert held.abs().max() == 0.0


def test_second_derivatives_take_the_reference_path():
    rule = CoordinatewiseLSTM(hidden=4)
    assert Descent(Quadratic(), rule).path == NUMBA
    path = Descent(Quadratic(), rule, second_order=True).path
    assert not path.is_compiled
    assert path.why_not.startswith("second_order")


def test_blocks_hold_what_they_are_given():
    values = torch.randn(2, 3, BLOCK + 5)
    assert blocked(values).shape == (2, 2, 3, BLOCK)
    torch.testing.assert_close(unblocked(blocked(values), BLOCK + 5), values)
    assert blocked(values)[:, 1, :, 5:].abs().max() == 0
    into = torch.zeros(2, 2, 3, BLOCK)
    fill(into, values)
    torch.testing.assert_close(into, blocked(values))
    fill(into, 2 * values[..., :7])
    torch.testing.assert_close(unblocked(into, 7), 2 * values[..., :7])


def test_models_of_several_sizes_take_turns_in_one_memory(double):
    rule = CoordinatewiseLSTM(hidden=3, preprocess=Momenta())
    tasks = [digits_mlp(hidden=[width], examples=5, start=0.3) for width in (5, 2, 3)]
    shared = Descent(tasks[0], rule)
    for task in [*tasks, tasks[0]]:
        found = []
        for learner in (shared.on(task), Descent(task, rule)):
            batches = task.sample(2, 0, Phase.META_TRAIN).batches(0, 4)
            _, losses = learner.losses(learner.init(2, generator(0)), batches)
            found.append(torch.autograd.grad(losses.mean(), list(rule.parameters())))
        torch.testing.assert_close(*found, rtol=0, atol=0)


def test_a_window_whose_memory_was_taken_over_cannot_be_differentiated():
    task = digits_mlp(hidden=[2], examples=5)
    learner = Descent(task, CoordinatewiseLSTM(hidden=2))
    batches = task.sample(2, 0, Phase.META_TRAIN).batches(0, 2)
    _, losses = learner.losses(learner.init(2, generator(0)), batches)
    learner.on(task).losses(learner.init(2, generator(0)), batches)
    with pytest.raises(RuntimeError, match="overwritten by a later window"):
        losses.sum().backward()
