"""A recurrent network whose fixed weights are a learning algorithm and whose state does the learning.

Source: Hochreiter, Younger and Conwell 2001, §2: at step t the network reads (x_t, y_{t−1}) and answers ŷ_t.
Names: θ → ``parameters()``; the network's activations → ``InWeightsState``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from l2l_cli.core.random import generator, uniform
from l2l_cli.core.types import Batch, Batches
from l2l_cli.kernels.paths import EVERY_PATH, NUMBA, REFERENCE, Path, Paths
from l2l_cli.kernels.sequence import SequenceLSTM
from l2l_cli.learners.base import Learner, step_losses
from l2l_cli.tasks.base import Task


class InWeightsState(NamedTuple):
    """Hidden and cell activations, (layers, E, hidden) each, and the target seen last, (E, K).

    If the task hides targets, a flag is appended, (E, K + 1): 1 after a target that was shown, and 0 at the start and
    after a hidden target, which is replaced by zeros.
    """

    hidden: Tensor
    cell: Tensor
    previous: Tensor


class LSTM(Learner[InWeightsState]):
    """A modern LSTM, with forget gates, and a readout.

    Deviation: the paper's LSTM of 1997 has no forget gates, feeds gate activations back and is trained by a
    truncated gradient.  This one is meant to be trained by full back-propagation through time.

    Args:
        task: Task whose targets lie in [0, 1]; if it hides some, the network also reads whether the last was shown.
        hidden: Units of each layer.
        layers: LSTM layers.
        readout: Hidden ReLU units between [h_t, x_t] and the answer; 0 is a linear readout of h_t.
        forget_bias: Initial bias of the forget gates.
        initial_seed: Seed of the initial weights.
        paths: Paths that the learner may take.
    """

    def __init__(
        self,
        task: Task,
        hidden: int = 32,
        layers: int = 1,
        readout: int = 0,
        forget_bias: float = 1.0,
        initial_seed: int = 0,
        *,
        paths: Paths = EVERY_PATH,
    ) -> None:
        super().__init__(task, paths=paths)
        if min(hidden, layers) < 1 or readout < 0:
            raise ValueError(f"hidden and layers must be at least 1, readout 0; not {hidden}, {layers}, {readout}")
        if task.spec.examples != 1:
            raise ValueError(
                f"learner lstm reads one example a step; {type(task).__name__} gives {task.spec.examples} at once"
            )
        inputs, targets = math.prod(task.spec.inputs), math.prod(task.spec.targets)
        self._seen = targets + task.spec.hides
        self.cell = nn.LSTM(inputs + self._seen, hidden, layers)
        self.readout = (
            nn.Sequential(nn.Linear(hidden + inputs, readout), nn.ReLU(), nn.Linear(readout, targets))
            if readout
            else nn.Linear(hidden, targets)
        )
        self._reads_inputs = readout > 0
        self._fast = SequenceLSTM()
        self._reset(forget_bias, initial_seed)

    def _reset(self, forget_bias: float, seed: int) -> None:
        rng = generator(seed, "lstm")
        hidden = self.cell.hidden_size
        with torch.no_grad():
            for name, value in self.named_parameters():
                fan_in = hidden if name.startswith("cell") or value.dim() < 2 else value.shape[1]
                value.copy_(uniform(tuple(value.shape), -(fan_in**-0.5), fan_in**-0.5, rng))
            for name, value in self.cell.named_parameters():
                if name.startswith("bias_ih"):
                    value[hidden : 2 * hidden] += forget_bias

    def init(self, episodes: int, rng: Generator) -> InWeightsState:
        """Start from zero activations and y_0 = 0."""
        del rng
        weight = next(self.parameters())
        zero = weight.new_zeros(self.cell.num_layers, episodes, self.cell.hidden_size)
        return InWeightsState(zero, zero, weight.new_zeros(episodes, self._seen))

    def step(self, state: InWeightsState, batch: Batch) -> tuple[InWeightsState, Tensor]:
        """Answer x_t given y_{t−1}, then keep y_t for the next step."""
        shown = None if batch.shown is None else batch.shown.unsqueeze(0)
        state, answers = self.unroll(state, Batches(batch.inputs.unsqueeze(0), batch.targets.unsqueeze(0), shown))
        return state, answers[0]

    def predict(self, state: InWeightsState, inputs: Tensor) -> Tensor:
        """Answer each of N inputs as if it came next, without changing the state."""
        episodes, count = inputs.shape[:2]
        hidden, cell = (value.repeat_interleave(count, 1) for value in state[:2])
        flat = inputs.reshape(1, episodes * count, -1)
        answers, _ = self._answer(flat, state.previous.repeat_interleave(count, 0).unsqueeze(0), hidden, cell)
        return answers.reshape(episodes, count, *self.task.spec.targets)

    def unroll(self, state: InWeightsState, batches: Batches) -> tuple[InWeightsState, Tensor]:
        """Run all steps in one call, which is possible because the targets are known beforehand."""
        return self._sequence(state, batches, self.path.is_compiled and not torch.is_grad_enabled())

    def losses(self, state: InWeightsState, batches: Batches) -> tuple[InWeightsState, Tensor]:
        """Return the losses of T steps; on the compiled path, the state before them is a constant."""
        state, outputs = self._sequence(state, batches, self.path.is_compiled)
        return state, step_losses(self.task, outputs, batches.targets)

    @property
    def path(self) -> Path:
        """The CPU's kernels, if the learner is on a CPU."""
        return NUMBA if self.paths.compiled and next(self.parameters()).device.type == "cpu" else REFERENCE

    def _sequence(self, state: InWeightsState, batches: Batches, fast: bool) -> tuple[InWeightsState, Tensor]:
        inputs, seen = batches.inputs.flatten(2), self._shown(batches)
        previous = torch.cat([state.previous.unsqueeze(0), seen[:-1]])
        answers, (hidden, cell) = self._answer(inputs, previous, state.hidden, state.cell, fast)
        return InWeightsState(hidden, cell, seen[-1]), answers.reshape(batches.targets.shape)

    def _shown(self, batches: Batches) -> Tensor:
        """Return each step's targets as the learner sees them later, (T, E, K), or with the flag (T, E, K + 1)."""
        targets = batches.targets.flatten(2)
        if not self.task.spec.hides:
            return targets
        flag = torch.ones_like(targets[..., :1]) if batches.shown is None else batches.shown.unsqueeze(-1).to(targets)
        return torch.cat([torch.where(flag > 0, targets, 0.0), flag], -1)

    def _answer(
        self, inputs: Tensor, previous: Tensor, hidden: Tensor, cell: Tensor, fast: bool = False
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run the cell over inputs (T, E, D) and the targets before them, (T, E, K or K + 1); answers are (T, E, K)."""
        seen = torch.cat([inputs, previous], -1)
        if fast:
            activations, state = self._fast(seen, hidden, cell, list(self.cell.parameters()))
        else:
            activations, state = self.cell(seen, (hidden, cell))
        if self._reads_inputs:
            activations = torch.cat([activations, inputs], -1)
        return torch.sigmoid(self.readout(activations)), state
