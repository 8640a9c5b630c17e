"""A network in another network's memory, through T steps and back: products by BLAS, all else between them compiled.

Reference: ``learners.weights_in_cell``, for a model of one hidden layer of ReLU units and one logistic unit.  A row of
every array holds one number of all data sets, which lie side by side in the vector registers; the products, nine
tenths of the operations, are those of (gates, features) and (features, data sets), at which BLAS is near its peak
already.  Biases are weights of a row of ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.kernels.compiled import announce
from l2l_cli.kernels.team import flushed
from l2l_cli.kernels.vectors import SIXTEEN_AT_ONCE, WIDTH, zeros
from l2l_cli.kernels.weights_in_cell_steps import advance, mask, retreat


class Tape(NamedTuple):
    """What T steps of E data sets leave behind; E is padded to whole registers.

    Attributes:
        layers: u_t, then the activations of each layer, (T, n + 1, E); the last row is 1.
        gates: f, i and c̃, (T, 3P, E); after the backward pass ∂objective/∂(what is squashed).
        weights: θ before each step and after the last, (T + 1, P, E).
        hidden: Activations of the model's hidden layer, (T, H, E).
    """

    layers: list[Tensor]
    gates: Tensor
    weights: Tensor
    hidden: Tensor


class WeightsInCellKernel:
    """Runs and differentiates whole sequences of the learner; buffers are used again.

    Args:
        frozen: Whether weights stay as they are where targets are hidden.
    """

    def __init__(self, frozen: bool = False) -> None:
        self._frozen = frozen
        self._key: tuple[object, ...] = ()
        self.number = 0  # of sequences so far: the buffers hold the last one alone

    def __call__(
        self, start: Tensor, inputs: Tensor, targets: Tensor, shown: Tensor, phi: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the answers, (T, E), and the weights after the last step, (E, P), as constants.

        Args:
            start: θ before the first step, (E, P): the model's hidden weights, hidden biases, output weights, bias.
            inputs: x, (T, E, D).
            targets: y, (T, E).
            shown: I, (T, E).
            phi: Weights (n, …) and biases (n,) of each layer in turn, and at last of the gates f, i, c̃: (3P, n).
        """
        result: tuple[Tensor, Tensor] = _Cell.apply(self, start, inputs, targets, shown, *phi)  # type: ignore[no-untyped-call]
        return result

    def forward(
        self, start: Tensor, inputs: Tensor, targets: Tensor, shown: Tensor, phi: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Run all steps, kept in the buffers."""
        self.number += 1
        steps, episodes, width = inputs.shape
        matrices = [torch.cat([phi[k], phi[k + 1].unsqueeze(1)], 1) for k in range(0, len(phi), 2)]
        self._matrices, self._episodes = matrices, episodes
        tape = self._allocate(inputs, matrices)
        features = tape.layers[0]
        features[:, :width, :episodes] = inputs.transpose(1, 2)
        features[:, width, :episodes] = targets * shown
        features[:, width + 2, :episodes] = shown
        tape.weights[0, :, :episodes] = start.T
        arrays = self._arrays(tape)
        with flushed:
            advance(*arrays, -1, self._frozen, self._part)
            for t in range(steps):
                for below, above, matrix in zip(tape.layers, tape.layers[1:], matrices, strict=False):
                    torch.mm(matrix, below[t], out=above[t, :-1]).relu_()
                torch.mm(matrices[-1], tape.layers[-1][t], out=tape.gates[t])
                advance(*arrays, t, self._frozen, self._part)
        return features[:, width + 1, :episodes].clone(), tape.weights[-1, :, :episodes].T.contiguous()

    def backward(self, of_answers: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the gradients of ``start``, (E, P), and of φ, from ∂objective/∂answers (T, E)."""
        tape, matrices = self._tape, self._matrices
        sums = [torch.zeros_like(matrix) for matrix in matrices]
        errors = [torch.empty_like(layer[0]) for layer in tape.layers]
        of_weights = torch.zeros_like(tape.weights[0])
        asked = torch.zeros_like(tape.layers[0][:, 0])
        asked[:, : self._episodes] = of_answers
        carried = errors[0], of_weights, asked
        arrays = (*self._arrays(tape), *(value.numpy() for value in carried))
        activations = [layer.numpy() for layer in tape.layers]
        steps = len(asked)
        with flushed:
            retreat(*arrays, steps, self._frozen, self._part)
            for t in range(steps - 1, -1, -1):
                error = tape.gates[t]
                for k in range(len(matrices) - 1, -1, -1):
                    sums[k].addmm_(error, tape.layers[k][t].T)
                    torch.mm(matrices[k].T, error, out=errors[k])
                    if k > 0:
                        mask(errors[k].numpy(), activations[k], t, self._part)
                        error = errors[k][:-1]
                retreat(*arrays, t, self._frozen, self._part)
        parts = [part for total in sums for part in (total[:, :-1], total[:, -1])]
        return of_weights[:, : self._episodes].T, parts

    @staticmethod
    def _arrays(tape: Tape) -> tuple[Any, ...]:
        return tuple(value.numpy() for value in (tape.layers[0], tape.gates, tape.weights, tape.hidden))

    def _allocate(self, inputs: Tensor, matrices: list[Tensor]) -> Tape:
        steps, episodes, _ = inputs.shape
        key = (inputs.shape, inputs.dtype, *(matrix.shape for matrix in matrices))
        if key != self._key:
            announce(advance, "weights in cell")
            wide = 2 * WIDTH if SIXTEEN_AT_ONCE and episodes > WIDTH else WIDTH
            self._key, self._part = key, (0,) * (wide // WIDTH)
            lanes = -(-episodes // wide) * wide
            dtype = inputs.numpy().dtype
            rows = [matrix.shape[1] for matrix in matrices]
            size = matrices[-1].shape[0] // 3
            width = inputs.shape[2]
            shapes = [(steps, count, lanes) for count in rows]
            shapes += [(steps, 3 * size, lanes), (steps + 1, size, lanes), (steps, (size - 1) // (width + 2), lanes)]
            *layers, gates, weights, hidden = (torch.from_numpy(zeros(shape, dtype)) for shape in shapes)
            for layer in layers:
                layer[:, -1] = 1.0
            self._tape = Tape(layers, gates, weights, hidden)
        return self._tape


class _Cell(torch.autograd.Function):
    """Answers as a function of the first weights and of φ."""

    @staticmethod
    def forward(
        ctx: Any, runner: WeightsInCellKernel, start: Tensor, inputs: Tensor, targets: Tensor, shown: Tensor, *phi: Any
    ) -> tuple[Tensor, Tensor]:
        answers, weights = runner.forward(start, inputs, targets, shown, phi)
        ctx.runner, ctx.number = runner, runner.number
        ctx.mark_non_differentiable(weights)
        return answers, weights

    @staticmethod
    def backward(ctx: Any, of_answers: Tensor, _: Tensor) -> Any:
        if ctx.number != ctx.runner.number:
            raise RuntimeError("another sequence was run since: differentiate one before the next is begun")
        ctx.runner.number += 1  # the tape is used up
        of_start, of_phi = ctx.runner.backward(of_answers)
        return (None, of_start, None, None, None, *of_phi)
