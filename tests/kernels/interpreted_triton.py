"""The GPU kernel against the reference rule, under Triton's interpreter; run by ``test_coordinatewise_triton``.

Not collected with the rest: Triton must be told to interpret before anything imports it.
"""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.tree import detach
from l2l_cli.core.types import Phase
from l2l_cli.kernels.gpu.coordinatewise import DeviceArena, TritonUnroll
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.compiled import Fitting
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.fast.unroll_cuda import CudaUnroll, Options
from l2l_cli.optimizers.lstm_cell import LSTMStates
from l2l_cli.optimizers.preprocess import Identity, LogAndSign
from l2l_cli.tasks.quadratic import Quadratic

STEPS, COORDINATES = 3, 70  # three programs of 32, the last one almost empty


def reference(rule, grads, state, params, adjoint):
    """θ and the memory after all steps, and the gradient of Σ adjoint · moves."""
    moves, memory = [], state
    for grad in grads:
        move, memory = rule.update({"theta": grad}, memory)
        moves.append(move["theta"])
    gradient = torch.autograd.grad((torch.stack(moves) * adjoint).sum(), tuple(rule.parameters()))
    return (
        params + torch.stack(moves).sum(0).detach(),
        [value.detach() for value in memory[:2]],
        gradient,
    )


def draw(layers, hidden):
    rng = torch.Generator().manual_seed(0)
    grads = torch.randn(STEPS, COORDINATES, generator=rng) * 0.3
    grads[0, :3] = torch.tensor([0.0, 1e-6, -1e-3])  # both branches of log and sign
    params, adjoint = torch.randn(COORDINATES, generator=rng), torch.randn(STEPS, COORDINATES, generator=rng)
    state = LSTMStates(*(torch.randn(layers, hidden, COORDINATES, generator=rng) for _ in range(2)))
    return grads, params, adjoint, state


def run(unroll, grads, state, params, record=True):
    unroll.begin(*state[:2], len(grads), record)
    for t, grad in enumerate(grads):
        params = unroll.advance(t, grad, params)
    return params


@pytest.mark.parametrize("preprocess", [Identity(2.0), LogAndSign(5.0)], ids=["identity", "log"])
@pytest.mark.parametrize(("layers", "hidden"), [(1, 8), (2, 20), (3, 40)])
def test_params_state_and_gradient_are_the_references(layers, hidden, preprocess):
    rule = CoordinatewiseLSTM(hidden, layers, preprocess, output_scale=0.3)
    grads, params, adjoint, state = draw(layers, hidden)
    moved, memory, gradient = reference(rule, grads, state, params, adjoint)
    unroll = TritonUnroll(rule.weights(), DeviceArena(), precision="ieee")
    torch.testing.assert_close(run(unroll, grads, state, params), moved, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(list(unroll.state()), memory, rtol=1e-5, atol=1e-5)
    for value, expected in zip(unroll.backward(adjoint), gradient, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_a_state_in_bfloat16_is_the_references_to_its_digits():
    rule = CoordinatewiseLSTM(20, 2, LogAndSign())
    grads, params, adjoint, state = draw(2, 20)
    moved, memory, gradient = reference(rule, grads, state, params, adjoint)
    unroll = TritonUnroll(rule.weights(), DeviceArena(), torch.bfloat16, "ieee")
    torch.testing.assert_close(run(unroll, grads, state, params), moved, rtol=0, atol=0.02)
    torch.testing.assert_close([value.float() for value in unroll.state()], memory, rtol=0.01, atol=0.02)
    for value, expected in zip(unroll.backward(adjoint), gradient, strict=True):
        assert (value - expected).norm() < 0.03 * expected.norm()


def test_weights_are_read_again_and_memory_need_not_be_recorded():
    rule = CoordinatewiseLSTM(8, 2)
    grads, params, adjoint, state = draw(2, 8)
    unroll = TritonUnroll(rule.weights(), DeviceArena(), precision="ieee")
    run(unroll, grads, state, params)
    with torch.no_grad():
        for value in rule.parameters():
            value.mul_(0.7)
    moved, memory, gradient = reference(rule, grads, state, params, adjoint)
    torch.testing.assert_close(run(unroll, grads, state, params, record=False), moved, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(list(unroll.state()), memory, rtol=1e-5, atol=1e-5)
    run(unroll, grads, state, params)
    for _ in range(2):  # the second must not add to the first
        for value, expected in zip(unroll.backward(adjoint), gradient, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_products_may_wait_for_any_number_of_steps(monkeypatch):
    rule = CoordinatewiseLSTM(8, 2)
    grads, params, adjoint, state = draw(2, 8)
    gradients = []
    for wait in (1, 2, STEPS):
        monkeypatch.setattr("l2l_cli.kernels.gpu.coordinatewise.GATE_GRADIENT_BYTES", wait * 4 * 2 * 8 * 128 * 4)
        unroll = TritonUnroll(rule.weights(), DeviceArena(), precision="ieee")
        run(unroll, grads, state, params)
        gradients.append([value.clone() for value in unroll.backward(adjoint)])
    for found in gradients[1:]:
        torch.testing.assert_close(found, gradients[0], rtol=1e-4, atol=1e-5)


def test_two_windows_of_a_task_are_the_reference_learners():
    task, rule = Quadratic(5), CoordinatewiseLSTM(8, 2, output_scale=0.1)
    learner = Descent(task, rule, paths=Paths(compiled=False))
    unroll = CudaUnroll(Fitting(task.model, task.loss), rule.weights(), Options(DeviceArena(), "ieee"))
    episode = task.sample(7, 0, Phase.META_TRAIN)
    state = learner.init(7, generator(0))
    for start in (0, 4):
        batches = episode.batches(start, start + 4)
        after, losses = learner.losses(state, batches)
        (params, memory), found = unroll.losses(state.params, state.memory, batches)
        torch.testing.assert_close(found, losses, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(params, after.params, rtol=1e-5, atol=1e-6)
        for one, other in zip(memory[:2], after.memory[:2], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        weigh = torch.arange(28.0).view(4, 7).sqrt()
        expected = torch.autograd.grad((losses * weigh).sum(), tuple(rule.parameters()))
        gradient = torch.autograd.grad((found * weigh).sum(), tuple(rule.parameters()))
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)
        detached = {name: value.detach() for name, value in after.params.items()}
        state = type(state)(detached, detach(after.memory))


def test_answers_are_the_reference_learners():
    task, rule = Quadratic(5), CoordinatewiseLSTM(8, 2, output_scale=0.1)
    learner, arena = Descent(task, rule, paths=Paths(compiled=False)), DeviceArena()
    unroll = CudaUnroll(Fitting(task.model, task.loss), rule.weights(), Options(arena, "ieee"))
    state, batches = learner.init(7, generator(0)), task.sample(7, 0, Phase.TUNE).batches(0, 4)
    with torch.no_grad():
        after, wanted = learner.unroll(state, batches)
        (params, memory), found = unroll.answers(state.params, state.memory, batches.at, batches.steps)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(params, after.params, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(memory, after.memory, rtol=1e-5, atol=1e-6)


def test_unrolls_of_other_sizes_share_memory_and_do_not_see_what_was_left_there():
    rule, arena = CoordinatewiseLSTM(8, 2), DeviceArena()
    grads, params, adjoint, state = draw(2, 8)
    moved, memory, gradient = reference(rule, grads, state, params, adjoint)
    big = TritonUnroll(rule.weights(), arena, precision="ieee")
    big.begin(*(torch.zeros(2, 8, 300) for _ in range(2)), 2 * STEPS)
    held = dict(arena._kept)
    for value in held.values():
        value.fill_(torch.nan)
    unroll = TritonUnroll(rule.weights(), arena, precision="ieee")
    torch.testing.assert_close(run(unroll, grads, state, params), moved, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(list(unroll.state()), memory, rtol=1e-5, atol=1e-5)
    for value, expected in zip(unroll.backward(adjoint), gradient, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert all(arena._kept[key] is value for key, value in held.items())


@pytest.mark.parametrize("other", [2, 5], ids=["the same task", "another task"])
def test_a_window_that_was_overwritten_is_not_differentiated(other):
    rule, arena = CoordinatewiseLSTM(8, 1), DeviceArena()
    windows = []
    for dimension in (2, other):
        task = Quadratic(dimension)
        unroll = CudaUnroll(Fitting(task.model, task.loss), rule.weights(), Options(arena, "ieee"))
        state = Descent(task, rule).init(2, generator(0))
        batches = task.sample(2, 0, Phase.META_TRAIN).batches(0, 2)
        windows.append(unroll.losses(state.params, state.memory, batches)[1])
    with pytest.raises(RuntimeError, match="overwritten by a later window"):
        windows[0].sum().backward()
    windows[1].sum().backward()
