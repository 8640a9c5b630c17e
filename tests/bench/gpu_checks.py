"""What the GPU kernel must reproduce on a GPU: the reference rule in float64, and the reference learner's windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.random import generator, normal
from l2l_cli.core.tree import detach
from l2l_cli.core.types import Phase
from l2l_cli.kernels.gpu.coordinatewise import TritonUnroll
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.compiled import Fitting
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.fast.unroll_cuda import CudaUnroll, Options
from l2l_cli.optimizers.lstm_cell import LSTMStates
from l2l_cli.optimizers.preprocess import Identity, LogAndSign, Preprocess
from l2l_cli.tasks.quadratic import Quadratic
from tests.bench.problems import ImageNetwork

STEPS = 5

# Relative errors ‖found − expected‖ / ‖expected‖ that rounding explains, of values and of gradients.
LIMITS = {
    ("ieee", torch.float32): (1e-5, 1e-4),
    ("tf32", torch.float32): (3e-3, 1e-2),
    ("tf32", torch.bfloat16): (2e-2, 5e-2),
}

# Preprocessing, layers, units and coordinates: on an H100 each size launches programs of its own, none of them full.
CASES = (
    *((presentation, 2, 20, count) for presentation in (Identity(), LogAndSign()) for count in (70, 15_910, 40_003)),
    (LogAndSign(), 1, 8, 1_003),
    (LogAndSign(), 1, 40, 1_003),
)


class Check(NamedTuple):
    """A name, the error that was found, and what rounding explains."""

    name: str
    error: float
    limit: float

    @property
    def holds(self) -> bool:
        """NaN never does."""
        return self.error <= self.limit


def relative(found: Tensor, expected: Tensor) -> float:
    expected = expected.detach().double()
    return float((found.detach().double() - expected).norm() / expected.norm())


def kernel_checks(cases: Sequence[tuple[Preprocess, int, int, int]] = CASES) -> Iterator[Check]:
    """Values and gradient of a few steps."""
    for preprocess, layers, hidden, count in cases:
        rule = CoordinatewiseLSTM(hidden, layers, preprocess)
        for (precision, dtype), limits in LIMITS.items():
            unroll = TritonUnroll(rule.weights(), dtype, precision)
            errors = kernel_errors(rule, unroll, count)
            kind = f"{precision} {str(dtype).removeprefix('torch.')}"
            name = f"{type(preprocess).__name__} {layers}×{hidden}, C = {count}, {kind}"
            yield Check(f"{name}: values", errors[0], limits[0])
            yield Check(f"{name}: gradient", errors[1], limits[1])


def kernel_errors(rule: CoordinatewiseLSTM, unroll: TritonUnroll, count: int) -> tuple[float, float]:
    """Return the largest relative error of θ, h and c, and of the gradient of any parameter."""
    rng = generator(0, count)
    grads, adjoint = normal((STEPS, count), rng, 0.3), normal((STEPS, count), rng)
    state = [normal((len(rule.cells), rule.hidden, count), rng, 0.5) for _ in range(2)]
    theta = normal((count,), rng)
    rule.double()
    moves, memory = [], LSTMStates(*(value.double() for value in state))
    for grad in grads.double():
        move, memory = rule.update({"theta": grad}, memory)
        moves.append(move["theta"])
    expected = torch.autograd.grad((torch.stack(moves) * adjoint).sum(), tuple(rule.parameters()))
    rule.float()
    unroll.weights = rule.weights()  # ``double`` has moved them
    params = theta
    unroll.begin(*state, STEPS)
    for t, grad in enumerate(grads):
        params = unroll.advance(t, grad, params)
    pairs = [(params - theta, torch.stack(moves).sum(0))]
    pairs += list(zip(unroll.state(), memory[:2], strict=True))
    gradients = zip(unroll.backward(adjoint), expected, strict=True)
    return max(relative(*pair) for pair in pairs), max(relative(*pair) for pair in gradients)


def unroll_checks() -> Iterator[Check]:
    """Two windows of each task, one after the other, so that a recording is replayed on other data."""
    for task, episodes in ((Quadratic(10), 128), (ImageNetwork(), 1)):
        rule = CoordinatewiseLSTM(20, 2, output_scale=0.1)
        learner = Descent(task, rule, paths=Paths(compiled=False))
        for capture in (False, True):
            unroll = CudaUnroll(Fitting(task.model, task.loss), rule.weights(), Options("ieee", capture))
            state = learner.init(episodes, generator(0))
            episode = task.sample(episodes, 0, Phase.META_TRAIN)
            for window in range(2):
                batches = episode.batches(window * STEPS, (window + 1) * STEPS)
                after, losses = learner.losses(state, batches)
                _, found = unroll.losses(state.params, state.memory, batches)
                expected = torch.autograd.grad(losses.log().mean(), tuple(rule.parameters()))
                gradient = torch.autograd.grad(found.log().mean(), tuple(rule.parameters()))
                name = f"{type(task).__name__}, window {window}, {'graph' if capture else 'eager'}"
                yield Check(f"{name}: losses", relative(found, losses), 1e-5)
                errors = [relative(*pair) for pair in zip(gradient, expected, strict=True)]
                yield Check(f"{name}: gradient", max(errors), 1e-3)
                detached = {key: value.detach() for key, value in after.params.items()}
                state = type(state)(detached, detach(after.memory))
