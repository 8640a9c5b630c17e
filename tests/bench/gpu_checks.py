"""What the GPU kernel must reproduce on a GPU: the reference rule in float64, and the reference learner's windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.random import generator, normal
from l2l_cli.core.tree import detach
from l2l_cli.core.types import Phase
from l2l_cli.kernels.gpu.coordinatewise import DeviceArena, TritonUnroll
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.compiled import Fitting
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.fast.unroll_cuda import CudaUnroll, Options, obstacle
from l2l_cli.optimizers.lstm_cell import LSTMStates
from l2l_cli.optimizers.preprocess import Identity, LogAndSign, Preprocess
from l2l_cli.tasks.base import Task
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


Trial = Callable[[], list[Check]]
"""Makes the checks of one thing; raises ``LeftOut`` where the device has no room for it."""


class LeftOut(Exception):
    """The project would not ask this of the device either."""


def kernel_trials(cases: Sequence[tuple[Preprocess, int, int, int]] = CASES) -> Iterator[tuple[str, Trial]]:
    """Yield trials of values and gradient of a few steps, by name."""
    for case in cases:
        for precision, dtype in LIMITS:
            preprocess, layers, hidden, count = case
            kind = f"{precision} {str(dtype).removeprefix('torch.')}"
            name = f"{type(preprocess).__name__} {layers}×{hidden}, C = {count}, {kind}"
            yield name, partial(kernel_checks, name, case, precision, dtype)


def kernel_checks(name: str, case: tuple[Preprocess, int, int, int], precision: str, dtype: torch.dtype) -> list[Check]:
    """Compare one rule's kernel with the rule."""
    preprocess, layers, hidden, count = case
    rule = CoordinatewiseLSTM(hidden, layers, preprocess)
    if why_not := obstacle(rule.weights(), dtype):
        raise LeftOut(why_not)
    errors = kernel_errors(rule, TritonUnroll(rule.weights(), DeviceArena(), dtype, precision), count)
    limits = LIMITS[precision, dtype]
    return [Check(f"{name}: {what}", *pair) for what, *pair in zip(("values", "gradient"), errors, limits, strict=True)]


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


def unroll_trials() -> Iterator[tuple[str, Trial]]:
    """Yield trials of whole windows of two tasks, by name; all of them use the memory of one arena."""
    arena = DeviceArena()
    for task, episodes in ((Quadratic(10), 128), (ImageNetwork(), 1)):
        for capture in (False, True):
            name = f"{type(task).__name__}, {'graph' if capture else 'from Python'}"
            yield name, partial(unroll_checks, name, task, episodes, Options(arena, "ieee", capture))


def unroll_checks(name: str, task: Task, episodes: int, options: Options) -> list[Check]:
    """Compare windows with the reference learner's: the second is recorded, the third replayed on other data."""
    rule = CoordinatewiseLSTM(20, 2, output_scale=0.1)
    learner = Descent(task, rule, paths=Paths(compiled=False))
    unroll = CudaUnroll(Fitting(task.model, task.loss), rule.weights(), options)
    state, episode, checks = learner.init(episodes, generator(0)), task.sample(episodes, 0, Phase.META_TRAIN), []
    for window in range(3):
        batches = episode.batches(window * STEPS, (window + 1) * STEPS)
        after, losses = learner.losses(state, batches)
        _, found = unroll.losses(state.params, state.memory, batches)
        expected = torch.autograd.grad(losses.log().mean(), tuple(rule.parameters()))
        gradient = torch.autograd.grad(found.log().mean(), tuple(rule.parameters()))
        checks.append(Check(f"{name}, window {window}: losses", relative(found, losses), 1e-5))
        errors = [relative(*pair) for pair in zip(gradient, expected, strict=True)]
        checks.append(Check(f"{name}, window {window}: gradient", max(errors), 1e-3))
        with torch.no_grad():
            answers, wanted = unroll.answers(*state, batches.at, batches.steps)[1], learner.unroll(state, batches)[1]
        checks.append(Check(f"{name}, window {window}: answers", relative(answers, wanted), 1e-5))
        detached = {key: value.detach() for key, value in after.params.items()}
        state = type(state)(detached, detach(after.memory))
    return checks
