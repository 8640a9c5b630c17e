"""The network of a tensorwise mixture, which infers coefficients for each tensor in a step, in float64.

Reference: ``losses_after``, ``sight`` and ``TensorwiseMixture._coefficients`` without derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2l_cli.kernels.simd.compiled import kernel
from l2l_cli.kernels.simd.registers import Array

DIRECTIONS = 6
"""Number of directions that are mixed; the network's outputs are a rate's logarithm, and a coefficient for each."""

OWN, SHARED = 4, 3
"""Numbers of inputs that are statistics of one tensor, and of all tensors together; others are traits and the clock."""

LEAST_POWER, LEAST_SIZE, LEAST_PRODUCT = 1e-5, 1e-8, 1e-12
"""Lower limits: of a power before its logarithm, of θ's mean square (added), of two powers' product before its root."""

RATIOS = (1e-6, 1e6)
"""Limits to which the ratio of two losses is clipped before its logarithm."""


class TensorInputs(NamedTuple):
    """The quantities from which the network's inputs are computed.

    Attributes:
        known: Traits of each tensor, (K, 5).
        means: Means of each tensor, (E, K, 6), as the first pass leaves them.
        losses: Means of the loss before this step, (E, 3), which become those after it.
        loss: Loss of this step, (E,).
        clock: Inputs for the time.
    """

    known: Array
    means: Array
    losses: Array
    loss: Array
    clock: Array


class TensorNetwork(NamedTuple):
    """A network of two layers of H tanh units and a linear skip connection, with the rule's constants.

    Attributes:
        weights: Weight and bias of both layers and of the head, and the weight of the skip connection, if there is one.
        hidden: Number H of units of a layer.
        rate: Rate before meta-training.
        rates: Least and largest logarithm of the learned factor on the rate.
        decays: Decays of the faster and the slower mean of the loss.
        mixed: Coefficients to which the network's are added, and the mask of those that count, (2, 6).
    """

    weights: Sequence[Tensor]
    hidden: int
    rate: float
    rates: tuple[float, float]
    decays: tuple[float, float]
    mixed: Sequence[Sequence[float]]

    def coefficients(self, seen: TensorInputs, bound: float) -> Array:
        """Return the coefficients of the six directions of each tensor, (E, K, 6), and update ``seen.losses``.

        The last three are divided by the tensor's r; ``bound`` is the absolute value to which inputs are clipped.
        """
        numbers = torch.cat([value.detach().flatten() for value in self.weights]).double().numpy()
        found = np.zeros((*seen.means.shape[:2], DIRECTIONS))
        limits = np.array([bound, self.rate, *self.rates, *self.decays])
        _infer(numbers, self.hidden, seen, limits, np.array(self.mixed), found)
        return found


@kernel
def _log_ratio(one: float, other: float) -> float:
    if other == 0.0:
        return 0.0
    return math.log(_within(one / other, RATIOS[0], RATIOS[1]))


@kernel
def _follow(losses: Array, loss: float, fast: float, slow: float) -> None:
    """Update the means of the loss and the first loss, unless the loss says nothing: it is 0, or not finite."""
    if loss != 0.0 and math.isfinite(loss):
        if losses[2] == 0.0:
            losses[:] = loss
        else:
            losses[0] = fast * losses[0] + (1.0 - fast) * loss
            losses[1] = slow * losses[1] + (1.0 - slow) * loss


@kernel
def _within(value: float, least: float, largest: float) -> float:
    """Return a value clipped to a range; NaN stays NaN."""
    return least if value < least else largest if value > largest else value


@kernel
def _noise(power: float) -> float:
    return math.log(LEAST_POWER if power < LEAST_POWER else power) / 4.0 + 0.5


@kernel
def _see(seen: Array, known: Array, means: Array, shared: Array, bound: float) -> None:
    """Write the network's inputs for one tensor."""
    product = means[0] * means[2]
    seen[:5] = known
    seen[5], seen[6] = _noise(means[1]), _noise(means[2])
    seen[7] = means[3] / math.sqrt(LEAST_PRODUCT if product < LEAST_PRODUCT else product)
    seen[8] = math.log(math.sqrt(means[4] + LEAST_SIZE)) / 4.0 + 0.5
    seen[9:] = shared
    for k in range(len(seen)):
        seen[k] = _within(seen[k], -bound, bound)


@kernel
def _layer(numbers: Array, begin: int, inputs: Array, outputs: Array, hidden: int) -> int:
    """Write a layer's tanh outputs, and return where the next layer's numbers begin."""
    size = len(inputs)
    for unit in range(hidden):
        total = numbers[begin + hidden * size + unit]
        for k in range(size):
            total += numbers[begin + unit * size + k] * inputs[k]
        outputs[unit] = math.tanh(total)
    return begin + hidden * (size + 1)


@kernel
def _infer(numbers: Array, hidden: int, given: TensorInputs, limits: Array, mixed: Array, found: Array) -> None:
    """Write the coefficients of every tensor of every episode."""
    known, means, losses = given.known, given.means, given.losses
    tensors, clock = len(known), given.clock
    seen, shared = np.zeros(known.shape[1] + OWN + SHARED + len(clock)), np.zeros(SHARED + len(clock))
    inner, outer, answer = np.zeros(hidden), np.zeros(hidden), np.zeros(1 + DIRECTIONS)
    shared[SHARED:] = clock
    for episode in range(len(means)):
        _follow(losses[episode], given.loss[episode], limits[4], limits[5])
        shared[0] = 0.0
        for tensor in range(tensors):
            shared[0] += _noise(means[episode, tensor, 2]) / tensors
        shared[1] = _log_ratio(losses[episode, 0], losses[episode, 2]) / 2.0 + 0.4
        shared[2] = 3.0 * _log_ratio(losses[episode, 0], losses[episode, 1])
        for tensor in range(tensors):
            _see(seen, known[tensor], means[episode, tensor], shared, limits[0])
            begin = _layer(numbers, 0, seen, inner, hidden)
            begin = _layer(numbers, begin, inner, outer, hidden)
            skip = begin + len(answer) * (hidden + 1)
            for k in range(len(answer)):
                answer[k] = numbers[begin + len(answer) * hidden + k]
                for unit in range(hidden):
                    answer[k] += numbers[begin + k * hidden + unit] * outer[unit]
                if skip < len(numbers):
                    for unit in range(len(seen)):
                        answer[k] += numbers[skip + k * len(seen) + unit] * seen[unit]
            rate = limits[1] * math.exp(_within(3.0 * answer[0], limits[2], limits[3]))
            root = math.sqrt(means[episode, tensor, 5])
            for k in range(DIRECTIONS):
                scale = rate if k < DIRECTIONS // 2 else rate / root
                found[episode, tensor, k] = scale * mixed[1, k] * (mixed[0, k] + answer[1 + k])
