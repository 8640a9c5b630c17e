"""Compiled steps of a coordinatewise LSTM on the CPU.

If no derivative flows through the gradients that the rule is shown, ∂objective/∂g_t = Σ_{s>t} ∂objective/∂ℓ_s · ∇_s,
and the forward pass has computed all ∇_s: back-propagation needs no second pass through the network, and treats each
coordinate independently.
Reference: ``optimizers.coordinatewise_lstm.CoordinatewiseLSTM`` (Andrychowicz et al. 2016, §2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Generator, Tensor

from l2l_cli.core.types import Params
from l2l_cli.kernels.blocks import BLOCK, fill, unblocked
from l2l_cli.kernels.paths import NUMBA
from l2l_cli.kernels.unroll import LSTMWindow, SingleSteps
from l2l_cli.kernels.weights import Mode, Weights
from l2l_cli.optimizers.compiled import CompiledSteps
from l2l_cli.optimizers.fast.block_sampling import all_that_matter, sample
from l2l_cli.optimizers.lstm_cell import LSTMStates
from l2l_cli.optimizers.preprocess import Preprocess


class LSTMSteps(CompiledSteps[LSTMStates]):
    """Makes the steps of one LSTM by kernels, in buffers that all models share; the largest model sets their size.

    Args:
        weights: Function that returns the current φ.
        preprocess: Map from a gradient to its features, for features that the kernels cannot compute.
    """

    path = NUMBA

    def __init__(self, weights: Callable[[], Weights], preprocess: Preprocess) -> None:
        self.windows = 0
        self._weights = weights
        self._preprocess = preprocess
        self._buffers = LSTMWindow()
        self._single = SingleSteps()

    @property
    def phi(self) -> Sequence[Tensor]:
        """The LSTM's parameters."""
        return self._weights().tensors

    def step(self, memory: LSTMStates, grad: Tensor, theta: Tensor) -> tuple[Tensor, LSTMStates]:
        """Return the coordinates (C,) and the memory after one step, without recording it."""
        weights, features, seen = self._weights(), None, memory.seen
        if weights.presentation.mode == Mode.GIVEN:
            features, seen = self._preprocess.show(grad, seen)
        hidden, cell, after = self._single.step(weights, grad, features, (memory.hidden, memory.cell), theta)
        return after, LSTMStates(hidden, cell, seen)

    def begin(self, memory: LSTMStates, theta: Tensor, steps: int, record: bool = True) -> None:
        """Begin a window of T steps with the current φ, a memory and coordinates (C,)."""
        self.windows += 1
        weights, buffers, count = self._weights(), self._buffers, theta.numel()
        buffers.begin(weights, (memory.hidden, memory.cell), theta, steps, record)
        self._given, self._seen = weights.presentation.mode == Mode.GIVEN, memory.seen
        thetas, self._gradients = buffers.params[:, :count].unbind(), buffers.gradients[:, :count].unbind()
        self.thetas = thetas if record else [thetas[t % 2] for t in range(steps + 1)]
        self._last = steps if record else steps % 2

    def advance(self, t: int, grad: Tensor) -> None:
        """Make step t with gradient ∇_t (C,)."""
        row = t % len(self._gradients)
        self._gradients[row].copy_(grad)
        if self._given:
            features, self._seen = self._preprocess.show(grad, self._seen)
            fill(self._buffers.features[row], features)
        self._buffers.advance(t)

    def least_squares(self, matrix: Tensor, targets: Tensor) -> Tensor | None:
        """Make all steps on the mean of ‖Wθ − y‖²; see ``CompiledSteps``."""
        return None if self._given else self._buffers.least_squares(matrix, targets)

    def last(self) -> tuple[Tensor, LSTMStates]:
        """Return the coordinates (C,) and the memory after the last step, independent of the buffers."""
        theta = self.thetas[-1].clone()
        hidden, cell = (
            unblocked(value[self._last], theta.numel()) for value in (self._buffers.hidden, self._buffers.cell)
        )
        return theta, LSTMStates(hidden, cell, self._seen)

    def backward(self, grad_losses: Tensor, params: Params, visited: float | None, rng: Generator) -> list[Tensor]:
        """Return the gradient of φ; see ``CompiledSteps``."""
        grad_moves, gradients, start = self._buffers.grad_moves, self._buffers.gradients, 0
        steps, episodes = grad_losses.shape
        for value in params.values():
            stop = start + value.numel()
            # Each coordinate belongs to one episode: weight its gradients by ∂objective/∂(that episode's loss).
            shown = gradients[1:, start:stop].view(steps - 1, episodes, -1)
            grad_moves[:-1, start:stop] = (shown * grad_losses[1:, :, None]).flatten(1)
            start = stop
        grad_moves[-1] = 0.0
        for t in range(steps - 2, 0, -1):  # a move affects all later losses
            grad_moves[t - 1] += grad_moves[t]
        if visited is None:
            return self._buffers.backward(all_that_matter(grad_moves))
        visits = sample(grad_moves, visited, rng)
        grad_moves.view(steps, -1, BLOCK)[:, visits.blocks] *= visits.factors[:, None]
        return self._buffers.backward(visits.blocks)
