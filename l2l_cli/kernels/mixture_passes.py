"""The two passes of a tensorwise mixture over all coordinates: one for statistics, one for moves.

Reference: ``optimizers.tensorwise_mixture.TensorwiseMixture.step`` without derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2l_cli.kernels.memory_pool import Recycler
from l2l_cli.kernels.simd.addresses import pointer_to
from l2l_cli.kernels.simd.compiled import announce, kernel
from l2l_cli.kernels.simd.functions import at_least, at_most, inverse_root
from l2l_cli.kernels.simd.registers import (
    WIDTH,
    Array,
    IntArray,
    Lanes,
    fma,
    load,
    pointer,
    repeat,
    store,
)
from l2l_cli.kernels.simd.shuffles import fold, width_of
from l2l_cli.kernels.tensor_parts import Coordinates, parts_of, placed
from l2l_cli.kernels.threads import thread_group

SUMMED = 1024
"""Number of coordinates that are summed in their own type, before these sums are added up in float64."""

REGISTER: Lanes = (0,)
"""The length of one whole register; a tuple of one number of the coordinates' type stands for a single number."""

Places = tuple[int, int, int, int, int, int]
"""Where a part begins in second moments, faster and slower momenta; the addresses of gradient, θ and moved θ."""

SUMS = 6
"""Number of sums for a tensor: three powers, the agreement, θ², and second moments."""


class Decays(NamedTuple):
    """Numbers of a step that are the same for all coordinates, in the type of the coordinates.

    Attributes:
        momenta: Decays of the two momenta.
        square: Decay of the second moments.
        corrections: Factors that correct the bias of both momenta and of the second moments at this step.
        tiny: Number that is added to second moments.
        largest: Absolute value to which gradients are clipped.
    """

    momenta: Sequence[float]
    square: float
    corrections: Sequence[float]
    tiny: float
    largest: float

    def packed(self, dtype: torch.dtype) -> Array:
        """Return the numbers as kernels read them."""
        kept = [*self.momenta, self.square]
        numbers = [
            *kept,
            *(1.0 - one for one in kept),
            *self.corrections,
            self.tiny,
            self.largest,
            1.0,
            0.0,
            -self.largest,
        ]
        found: Array = torch.tensor(numbers, dtype=dtype, device="cpu").numpy()
        return found


class After(NamedTuple):
    """The results of the first pass.

    Attributes:
        momenta: Momenta, (E, 2, P).
        second: Second moments, (E, P).
        means: Means of each tensor, (E, K, SUMS), float64.
        table: Table of the parts, with the addresses of gradient and θ.
    """

    momenta: Tensor
    second: Tensor
    means: Array
    table: IntArray | None = None


class MomentRows(NamedTuple):
    """The moments of all coordinates, one episode after another, as kernels read and write them.

    Attributes:
        momenta: Momenta, (E · 2 · P,): the faster ones of an episode, then its slower ones.
        second: Second moments, (E · P,).
        momenta_after: Momenta after a step; for a move, the same as before.
        second_after: Second moments after a step; for a move, the same as before.
    """

    momenta: Array
    second: Array
    momenta_after: Array
    second_after: Array


def _rows(*values: Tensor) -> MomentRows:
    return MomentRows(*(value.contiguous().view(-1).numpy() for value in values))


class MixturePasses:
    """The passes; the memory of the states is reused."""

    def __init__(self) -> None:
        self._momenta, self._second, self._theta = Recycler(), Recycler(), Recycler()

    def remember(
        self,
        sizes: Sequence[int],
        gradient: Coordinates,
        theta: Coordinates,
        momenta: Tensor,
        second: Tensor,
        decays: Decays,
        *,
        in_place: bool = False,
    ) -> After:
        """Return moments that include the gradient, and the statistics of each tensor.

        Args:
            sizes: Number of coordinates of each of K tensors.
            gradient: Gradient.
            theta: Parameters.
            momenta: Momenta before, (E, 2, P).
            second: Second moments before, (E, P).
            decays: Numbers of this step.
            in_place: Whether the moments before are overwritten, if they are contiguous: a third of the memory traffic.
        """
        announce(_remember, "tensorwise mixture")
        parts, owners = parts_of(tuple(sizes), len(second))
        table = placed(parts, owners, second.shape[1], gradient, theta, theta)
        momenta, second = momenta.contiguous(), second.contiguous()
        after = (momenta, second) if in_place else (self._momenta.empty_like(momenta), self._second.empty_like(second))
        sums = np.zeros((len(table), SUMS))
        rows, constants = _rows(momenta, second, *after), decays.packed(second.dtype)
        size = second.shape[1]
        thread_group(torch.get_num_threads()).each(
            len(table), lambda _, first, last: _remember(table[first:last], size, rows, constants, sums[first:last])
        )
        totals = np.zeros((len(second), len(sizes), SUMS))
        np.add.at(totals, (owners[:, 0], owners[:, 1]), sums)
        return After(*after, totals / np.asarray(sizes)[:, None], table)

    def move(
        self, sizes: Sequence[int], gradient: Tensor, theta: Tensor, after: After, weights: Tensor, decays: Decays
    ) -> Tensor:
        """Return θ (E, P) moved by coefficients (E, K, 6) of the six directions, which lack the bias corrections."""
        moved = self._theta.empty_like(theta)
        parts, owners = parts_of(tuple(sizes), len(after.second))
        _moved(placed(parts, owners, after.second.shape[1], gradient, theta, moved), after, weights, decays)
        return moved

    def move_in_place(self, after: After, weights: Tensor, decays: Decays) -> None:
        """Do what ``move`` does, in place on the θ of ``remember``, unnoticed by torch's version counters."""
        assert after.table is not None, "what remember returned"
        _moved(after.table, after, weights, decays)


def _moved(table: IntArray, after: After, weights: Tensor, decays: Decays) -> None:
    rows = _rows(after.momenta, after.second, after.momenta, after.second)
    constants, size = decays.packed(after.second.dtype), after.second.shape[1]
    chosen = weights.contiguous().view(-1, weights.shape[-1]).numpy()
    thread_group(torch.get_num_threads()).each(
        len(table), lambda _, first, last: _move(table[first:last], size, rows, chosen, constants)
    )


@kernel
def _places(part: IntArray, size: int) -> Places:
    """Return where a part of a table is in memory."""
    first, episode = part[0] * size + part[1], part[0] * size
    return first, first + episode, first + episode + size, part[4], part[5], part[6]


@kernel
def _remember(table: IntArray, size: int, rows: MomentRows, constants: Array, sums: Array) -> None:
    """Update the moments and sum up statistics, part by part."""
    few = np.zeros(SUMS, constants.dtype)
    for part in range(len(table)):
        count = table[part, 2]
        at = _places(table[part], size)
        for start in range(0, count, SUMMED):
            stop = min(start + SUMMED, count)
            whole = stop - (stop - start) % WIDTH
            if whole > start:
                _remember_span(rows, at, start, whole, constants, few, REGISTER)
                for k in range(SUMS):
                    sums[part, k] += few[k]
            if stop > whole:
                _remember_span(rows, at, whole, stop, constants, few, (constants[12],))
                for k in range(SUMS):
                    sums[part, k] += few[k]


@kernel
def _remember_span(
    rows: MomentRows, at: Places, start: int, stop: int, constants: Array, few: Array, length: Lanes
) -> None:
    """Do what ``_remember`` does for some coordinates of a part, by registers of the given length; write the sums."""
    gradient, theta = pointer_to(constants, at[3]), pointer_to(constants, at[4])
    second = pointer(rows.second, at[0])
    momenta, slower = pointer(rows.momenta, at[1]), pointer(rows.momenta, at[2])
    momenta_after, slower_after = pointer(rows.momenta_after, at[1]), pointer(rows.momenta_after, at[2])
    second_after = pointer(rows.second_after, at[0])
    fast, slow, square = repeat(constants, 0, length), repeat(constants, 1, length), repeat(constants, 2, length)
    new_fast, new_slow = repeat(constants, 3, length), repeat(constants, 4, length)
    new_square, tiny = repeat(constants, 5, length), repeat(constants, 9, length)
    to_fast, to_slow = repeat(constants, 6, length), repeat(constants, 7, length)
    to_second, largest = repeat(constants, 8, length), repeat(constants, 10, length)
    least = repeat(constants, 13, length)
    power_0 = power_1 = power_2 = agreement = extent = total = repeat(constants, 12, length)
    for i in range(start, stop, width_of(tiny)):
        g, t = at_least(at_most(load(gradient, i, length, 1), largest), least), load(theta, i, length, 1)
        m = fma(fast, load(momenta, i, length, 1), new_fast * g)
        n = fma(slow, load(slower, i, length, 1), new_slow * g)
        v = fma(square, load(second, i, length, 1), new_square * g * g)
        store(momenta_after, i, m, 1)
        store(slower_after, i, n, 1)
        store(second_after, i, v, 1)
        scale = fma(v, to_second, tiny)
        inverse = inverse_root(scale)
        a, b, c = g * inverse, m * to_fast * inverse, n * to_slow * inverse
        power_0, power_1, power_2 = fma(a, a, power_0), fma(b, b, power_1), fma(c, c, power_2)
        agreement, extent, total = fma(a, c, agreement), fma(t, t, extent), total + scale
    for k, found in enumerate((power_0, power_1, power_2, agreement, extent, total)):
        store(few, k, fold(found, 1), 1)


@kernel
def _move(table: IntArray, size: int, rows: MomentRows, weights: Array, constants: Array) -> None:
    """Move the coordinates, part by part."""
    for part in range(len(table)):
        count, own = table[part, 2], table[part, 3]
        at = _places(table[part], size)
        whole = count - count % WIDTH
        _move_span(rows, at, 0, whole, weights[own], constants, REGISTER)
        _move_span(rows, at, whole, count, weights[own], constants, (constants[12],))


@kernel
def _move_span(
    rows: MomentRows, at: Places, start: int, stop: int, weights: Array, constants: Array, length: Lanes
) -> None:
    """Do what ``_move`` does for some coordinates of a part, by registers of the given length."""
    gradient, theta = pointer_to(constants, at[3]), pointer_to(constants, at[4])
    moved, second = pointer_to(constants, at[5]), pointer(rows.second, at[0])
    momenta, slower = pointer(rows.momenta, at[1]), pointer(rows.momenta, at[2])
    to_fast, to_slow = repeat(constants, 6, length), repeat(constants, 7, length)
    to_second, tiny = repeat(constants, 8, length), repeat(constants, 9, length)
    largest, least = repeat(constants, 10, length), repeat(constants, 13, length)
    own_0, own_1 = repeat(weights, 0, length), repeat(weights, 1, length) * to_fast
    own_2, all_0 = repeat(weights, 2, length) * to_slow, repeat(weights, 3, length)
    all_1, all_2 = repeat(weights, 4, length) * to_fast, repeat(weights, 5, length) * to_slow
    for i in range(start, stop, width_of(tiny)):
        g = at_least(at_most(load(gradient, i, length, 1), largest), least)
        m, n = load(momenta, i, length, 1), load(slower, i, length, 1)
        inverse = inverse_root(fma(load(second, i, length, 1), to_second, tiny))
        own = fma(own_0, g, fma(own_1, m, own_2 * n))
        shared = fma(all_0, g, fma(all_1, m, all_2 * n))
        store(moved, i, load(theta, i, length, 1) - fma(own, inverse, shared), 1)
