"""All steps of a coordinatewise LSTM on ‖Wθ − y‖² in one call: outputs, gradients and moves.

Small problems would spend a third of their time on returning to torch and back at every step.  The coordinates of an
episode are contiguous, so that a run of blocks that holds whole episodes needs no other blocks for its steps, and
threads synchronise only at the end.
Reference: ``models.point.Point`` of a ``models.mlp.LinearMap`` and ``mean_squared_error``, then ``coordinatewise``.
Source: Andrychowicz et al. 2016, §3.1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.kernels.columns.coordinatewise import PackedRule, RuleStep, forward
from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.registers import Array


class LeastSquares(NamedTuple):
    """Problems of E episodes at T steps, and the outputs of their models.

    Attributes:
        matrix: W, (T, E, N, P), or (1, E, N, P): the same at every step.
        targets: y, (T, E, N), or (1, E, N).
        outputs: Wθ, (T, E, N), to be written.
    """

    matrix: Array
    targets: Array
    outputs: Array


class WindowRows(NamedTuple):
    """The rows of an ``LSTMWindow``; step t takes the rows whose index is t modulo their number.

    Attributes:
        gradients: Gradients, (R, B · BLOCK).
        features: Features, (R, B, F, BLOCK).
        hidden: h, (R', layers, B, H, BLOCK), R' ≥ 2.
        cell: c, of the same shape.
        params: θ, (R', B · BLOCK).
    """

    gradients: Array
    features: Array
    hidden: Array
    cell: Array
    params: Array


def blocks_of_whole_episodes(coordinates: int) -> int:
    """Return the smallest number of blocks that hold whole episodes of a number of coordinates, and nothing else."""
    return math.lcm(coordinates, BLOCK) // BLOCK


@kernel
def unroll(rule: PackedRule, rows: WindowRows, problem: LeastSquares, first: int, last: int) -> None:
    """Take the blocks ``first`` … ``last`` − 1, which hold whole episodes, through all steps."""
    episodes, size = problem.matrix.shape[1], problem.matrix.shape[3]
    begin, end = first * BLOCK // size, min(last * BLOCK // size, episodes)
    for t in range(problem.outputs.shape[0]):
        now, old, new = t % rows.gradients.shape[0], t % rows.hidden.shape[0], (t + 1) % rows.hidden.shape[0]
        _gradients(problem, rows.params[old], rows.gradients[now], t, begin, end)
        step = RuleStep(
            rows.gradients[now],
            rows.features[now],
            rows.hidden[old],
            rows.cell[old],
            rows.hidden[new],
            rows.cell[new],
            rows.params[old],
            rows.params[new],
        )
        forward(rule, step, first, last)


@kernel
def _gradients(problem: LeastSquares, theta: Array, gradient: Array, t: int, begin: int, end: int) -> None:
    """Write outputs and mean squared errors' gradients (E · P) at θ (E · P), for episodes ``begin`` … ``end`` − 1."""
    _, _, count, size = problem.matrix.shape
    for e in range(begin, end):
        matrix = problem.matrix[t % problem.matrix.shape[0], e]
        targets = problem.targets[t % problem.targets.shape[0], e]
        at, outputs = theta[e * size : (e + 1) * size], problem.outputs[t, e]
        into = gradient[e * size : (e + 1) * size]
        into[:] = 0.0
        for n in range(count):
            answer = theta.dtype.type(0.0)
            for k in range(size):
                answer += matrix[n, k] * at[k]
            outputs[n] = answer
            error = (answer - targets[n]) * (theta.dtype.type(2.0) / count)
            for k in range(size):
                into[k] += error * matrix[n, k]
