"""A network in another network's memory, forward and backward over T steps: products by BLAS, the rest compiled.

Reference: ``learners.weights_in_cell``, for a model of one hidden layer of ReLU units and one logistic unit.  A row of
every array holds one number of all data sets, which lie side by side in the vector registers; the products, nine
tenths of the operations, are those of (gates, features) and (features, data sets), where BLAS is already near its
peak.  Biases are the weights of a row of ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2l_cli.kernels.columns.weights_in_cell_steps import (
    CellErrors,
    CellTape,
    backward_step,
    forward_step,
    mask_inactive,
)
from l2l_cli.kernels.differentiable import differentiable
from l2l_cli.kernels.simd.compiled import announce
from l2l_cli.kernels.simd.registers import SIXTEEN_AT_ONCE, WIDTH, Array, Registers, zeros
from l2l_cli.kernels.threads import flushed


class CellBuffers(NamedTuple):
    """The tape of sequences of one shape, and the views of it that products read and write, which are made once.

    Attributes:
        tape: Tape of the last sequence.
        columns: Number of data sets, without the padding.
        registers: Registers that are taken at once.
        layers: Inputs u_t of each step, and the activations (n + 1, E) of each layer, with a last row of ones.
        gates: Gates of each step, (3P, E).
        activations: Activations of each layer in the same memory, (T, n + 1, E) each.
        errors: ∂objective/∂(u_t, then each layer's activations), (n + 1, E) each.
    """

    tape: CellTape
    columns: int
    registers: Registers
    layers: list[tuple[Tensor, ...]]
    gates: tuple[Tensor, ...]
    activations: list[Array]
    errors: list[Tensor]


def buffers_for(inputs: Tensor, matrices: Sequence[Tensor]) -> CellBuffers:
    """Make buffers for inputs (T, E, D) and the matrices of the layers and of the gates, (n, …) with the bias."""
    steps, columns, width = inputs.shape
    wide = 2 * WIDTH if SIXTEEN_AT_ONCE and columns > WIDTH else WIDTH
    lanes = -(-columns // wide) * wide
    size = matrices[-1].shape[0] // 3
    rows = [matrix.shape[1] for matrix in matrices]
    activations = [zeros((steps, count, lanes), inputs.numpy().dtype) for count in rows]
    for layer in activations:
        layer[:, -1] = 1.0
    shapes = (steps, 3 * size, lanes), (steps + 1, size, lanes), (steps, (size - 1) // (width + 2), lanes)
    gates, weights, hidden = (zeros(shape, activations[0].dtype) for shape in shapes)
    layers = list(zip(*(torch.from_numpy(layer).unbind() for layer in activations), strict=True))
    errors = [torch.empty_like(layer) for layer in layers[0]]
    tape = CellTape(activations[0], gates, weights, hidden)
    return CellBuffers(
        tape, columns, (0,) * (wide // WIDTH), layers, torch.from_numpy(gates).unbind(), activations, errors
    )


class WeightsInCellKernel:
    """Runs and differentiates whole sequences of the learner; buffers are reused.

    Args:
        frozen: Whether weights stay as they are where targets are hidden.
        waits: Whether an example moves the weights only once the next x is known, which is then read with it.
    """

    def __init__(self, frozen: bool = False, waits: bool = False) -> None:
        self._frozen = frozen
        self._waits = waits
        self._key: tuple[object, ...] = ()
        self._passes = 0

    def __call__(
        self, start: Tensor, inputs: Tensor, targets: Tensor, shown: Tensor, phi: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the answers, (T, E), and the weights after the last step, (E, P), as constants.

        With ``waits``, the weights are those that answered the last example.

        Args:
            start: θ before the first step, (E, P): the model's hidden weights, hidden biases, output weights, bias.
            inputs: x, (T, E, D).
            targets: y, (T, E).
            shown: I, (T, E).
            phi: Weights (n, …) and biases (n,) of each layer in turn, and finally of the gates f, i, c̃: (3P, n).
        """
        answers, weights = differentiable(
            lambda: self._forward(start, inputs, targets, shown, phi),
            self._backward,
            lambda: self._passes,
            [start, *phi],
        )
        return answers, weights

    def _forward(
        self, start: Tensor, inputs: Tensor, targets: Tensor, shown: Tensor, phi: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Run all steps, kept in the buffers."""
        self._passes += 1
        matrices = self._matrices = [torch.cat([phi[k], phi[k + 1].unsqueeze(1)], 1) for k in range(0, len(phi), 2)]
        buffers = self._allocate(inputs, matrices)
        width, columns, tape = inputs.shape[2], buffers.columns, buffers.tape
        features, weights = torch.from_numpy(tape.features), torch.from_numpy(tape.weights)
        features[:, :width, :columns] = inputs.transpose(1, 2)
        features[:, width, :columns] = targets * shown
        features[:, width + 2, :columns] = shown
        if self._waits:  # zeros after the last step, whose move is not returned
            features[:-1, width + 3 : -1, :columns] = inputs[1:].transpose(1, 2)
        weights[0, :, :columns] = start.T
        outputs = [[above[:-1] for above in layers[1:]] for layers in buffers.layers]
        with flushed:
            forward_step(tape, -1, self._frozen, buffers.registers)
            for t, (layers, above, gates) in enumerate(zip(buffers.layers, outputs, buffers.gates, strict=True)):
                for k, output in enumerate(above):
                    torch.mm(matrices[k], layers[k], out=output).relu_()
                torch.mm(matrices[-1], layers[-1], out=gates)
                forward_step(tape, t, self._frozen, buffers.registers)
        last = weights[-2 if self._waits else -1, :, :columns]
        return features[:, width + 1, :columns].clone(), last.T.contiguous()

    def _backward(self, grad_answers: Tensor) -> list[Tensor]:
        """Return the gradients of ``start``, (E, P), and of φ, from ∂objective/∂answers (T, E); overwrite the tape."""
        self._passes += 1
        buffers, matrices = self._buffers, self._matrices
        sums = [torch.zeros_like(matrix) for matrix in matrices]
        transposed = [matrix.T for matrix in matrices]
        above = [error[:-1] for error in buffers.errors]
        arrays = [error.numpy() for error in buffers.errors]
        grad_weights = np.zeros_like(buffers.tape.weights[0])
        given = np.zeros_like(buffers.tape.features[:, 0])
        given[:, : buffers.columns] = grad_answers.numpy()
        tape, carried = buffers.tape, CellErrors(arrays[0], grad_weights, given)
        with flushed:
            backward_step(tape, carried, len(given), self._frozen, buffers.registers)
            for t in range(len(given) - 1, -1, -1):
                error, layers = buffers.gates[t], buffers.layers[t]
                for k in range(len(matrices) - 1, -1, -1):
                    sums[k].addmm_(error, layers[k].T)
                    torch.mm(transposed[k], error, out=buffers.errors[k])
                    if k > 0:
                        mask_inactive(arrays[k], buffers.activations[k], t, buffers.registers)
                        error = above[k]
                backward_step(tape, carried, t, self._frozen, buffers.registers)
        parts = [part for total in sums for part in (total[:, :-1], total[:, -1])]
        return [torch.from_numpy(grad_weights)[:, : buffers.columns].T, *parts]

    def _allocate(self, inputs: Tensor, matrices: list[Tensor]) -> CellBuffers:
        key = (inputs.shape, inputs.dtype, *(matrix.shape for matrix in matrices))
        if key != self._key:
            announce(forward_step, "weights in cell")
            self._key, self._buffers = key, buffers_for(inputs, matrices)
        return self._buffers
