"""Second moments of a matrix from the means of its rows and columns, as in Adafactor.

Source: Shazeer and Stern 2018, algorithm 4; with several decays and the constants of Metz et al. 2022.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

LEAST = 1e-9
"""Smallest mean square whose root is taken."""


class MeanSquares(NamedTuple):
    """Decayed mean squares of a tensor (E, S), where S is its shape in one episode, for K decays.

    Attributes:
        rows: Means over the longest axis, (E, K, S without it); for a vector, the squares themselves, (E, K, S).
        columns: Means over the second longest axis, (E, K, S without it); for a vector, nothing, (E, K, 0).
    """

    rows: Tensor
    columns: Tensor


def axes_of(value: Tensor) -> tuple[int, int] | None:
    """Return the second longest and the longest axis of S, as axes of (E, K, S); None for a vector."""
    shape = value.shape[2:]
    if len(shape) < 2:
        return None
    *_, second, longest = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return second + 2, longest + 2


def begin(value: Tensor, decays: int) -> MeanSquares:
    """Return the factors before the first gradient of a tensor (E, S)."""
    zeros = value.new_zeros(len(value), decays, *value.shape[1:])
    axes = axes_of(zeros)
    if axes is None:
        return MeanSquares(zeros, zeros.new_zeros(*zeros.shape[:2], 0))
    second, longest = axes
    return MeanSquares(zeros.mean(longest), zeros.mean(second))


def updated(factors: MeanSquares, gradient: Tensor, decays: Tensor) -> MeanSquares:
    """Return the factors updated with a gradient (E, S).

    Args:
        factors: Mean squares before the update.
        gradient: Gradient, (E, S).
        decays: Decays, (K,).
    """
    squares = gradient[:, None].square() + 1e-30
    axes = axes_of(squares)
    if axes is None:
        return MeanSquares(_mixed(factors.rows, squares, decays), factors.columns)
    second, longest = axes
    return MeanSquares(
        _mixed(factors.rows, squares.mean(longest), decays), _mixed(factors.columns, squares.mean(second), decays)
    )


def spread(factors: MeanSquares, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of the rows and of the columns at every coordinate, (E, K, S) each, for a tensor (E, S)."""
    axes = axes_of(like[:, None])
    if axes is None:
        return factors.rows, factors.rows
    shape = (*factors.rows.shape[:2], *like.shape[1:])
    second, longest = axes
    return factors.rows.unsqueeze(longest).expand(shape), factors.columns.unsqueeze(second).expand(shape)


def whitening(factors: MeanSquares, like: Tensor) -> Tensor:
    """Return the factor on gradients, 1 / √v̂ with the factored second moments v̂, (E, K, S)."""
    axes = axes_of(like[:, None])
    if axes is None:
        return _inverse_root(factors.rows + LEAST)
    second, longest = axes
    among = second - 1 if second > longest else second  # the second longest axis once the longest is removed
    rows = _inverse_root(factors.rows / (factors.rows.mean(among, keepdim=True) + LEAST))
    return rows.unsqueeze(longest) * _inverse_root(factors.columns).unsqueeze(second)


def _inverse_root(value: Tensor) -> Tensor:
    return value.clamp(min=LEAST).rsqrt()


def _mixed(old: Tensor, new: Tensor, decays: Tensor) -> Tensor:
    kept = decays.view(1, -1, *[1] * (old.dim() - 2))
    mixed: Tensor = kept * old + (1.0 - kept) * new
    return mixed
