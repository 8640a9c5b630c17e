"""A learned rule: a small MLP applied to every coordinate, which sees momenta and factored second moments.

Names: d → direction, m → magnitude; θ ← θ − d · exp(0.001 · m) · 0.001.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from l2l_cli.core.random import TRUNCATED, generator, truncated_normal
from l2l_cli.core.types import Params
from l2l_cli.models.point import Point
from l2l_cli.optimizers import factored
from l2l_cli.optimizers.base import Optimizer, positive
from l2l_cli.optimizers.factored import MeanSquares

MOMENTA, SQUARES, FACTORS = (0.9, 0.99, 0.999), (0.999,), (0.9, 0.99, 0.999)
"""Decays before meta-training: of momenta, of second moments, and of the factored ones."""

TIMES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
"""Numbers of steps at which a feature of the time changes from negative to positive."""

SEEN = 39
"""Number of features of a coordinate: 28 that are normalised over its tensor, and 11 of the time."""

LARGEST = 1e18
"""Bound to which gradients are clipped, so that their squares do not overflow float32."""


class Accumulated(NamedTuple):
    """What the rule remembers of one tensor (E, S), where S is its shape in one episode.

    Attributes:
        momenta: Decayed means of gradients, (E, 3, S).
        squares: Decayed mean of their squares, (E, 1, S).
        factors: Factored means of their squares.
    """

    momenta: Tensor
    squares: Tensor
    factors: MeanSquares


class AdafacMemory(NamedTuple):
    """What the rule remembers of each tensor, and the steps so far, ()."""

    tensors: dict[str, Accumulated]
    steps: Tensor


class AdafacMLP(Optimizer[AdafacMemory]):
    """θ ← θ − step_scale · d · exp(magnitude_scale · m), with d and m from a network that sees 39 features.

    The features of a coordinate are: the gradient, θ, three momenta, a second moment, momenta in units of its root, one
    over that root, the gradient in units of three factored second moments, the means of the coordinate's row and column
    and one over their roots, and momenta in units of the factored second moments.  Each of these is divided by its root
    mean square over the tensor.  Functions of the time follow.  The decays of all these means are learned, too.

    Source: Metz, Freeman, Harrison, Maheswaranathan and Sohl-Dickstein 2022, "Practical tradeoffs between memory,
    compute, and performance in learned optimizers", §3 and appendix; features and constants are those of their code.
    Deviation: gradients beyond 10¹⁸ are clipped, so that their squares are finite.
    Deviation: their rule is meta-trained by evolution strategies for 200 000 steps on many machines; ours is not.

    Args:
        hidden: Units of each hidden layer; 4 in the paper.
        layers: Number of hidden layers; 2 in the paper.
        step_scale: Factor on the step; 0.001 in the paper.
        magnitude_scale: Factor on m; 0.001 in the paper.
        initial_seed: Seed of the initial weights.

    Raises:
        ValueError: An argument is out of range.
    """

    takes_gradients: ClassVar[bool] = True

    def __init__(
        self,
        hidden: int = 4,
        layers: int = 2,
        step_scale: float = 0.001,
        magnitude_scale: float = 0.001,
        initial_seed: int = 0,
    ) -> None:
        super().__init__()
        if hidden < 1 or layers < 1:
            raise ValueError(f"hidden and layers must be at least 1, not {hidden} and {layers}")
        positive(step_scale=step_scale, magnitude_scale=magnitude_scale)
        self.step_scale, self.magnitude_scale = step_scale, magnitude_scale
        widths = [SEEN, *[hidden] * layers, 2]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        # Shifts of log(1 − decay) / 10, so that a step of the meta-optimizer moves a decay as much as a weight.
        self.momenta, self.squares, self.factors = (
            nn.Parameter(torch.zeros(len(decays))) for decays in (MOMENTA, SQUARES, FACTORS)
        )
        self._reset(initial_seed)

    @torch.no_grad()
    def _reset(self, seed: int) -> None:
        rng = generator(seed, "adafac_mlp")
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            # In the authors' code, 1 / √inputs is the standard deviation before truncation.
            scale = TRUNCATED * layer.in_features**-0.5
            layer.weight.copy_(truncated_normal(tuple(layer.weight.shape), rng, scale))
            layer.bias.zero_()

    def init(self, params: Params) -> AdafacMemory:
        """Start from zero moments."""
        tensors = {name: self._at_rest(value.to(self.momenta.dtype)) for name, value in params.items()}
        # float64 on the CPU: the count is exact, and reading it does not wait for a GPU.
        return AdafacMemory(tensors, torch.zeros((), dtype=torch.float64, device="cpu"))

    def _at_rest(self, value: Tensor) -> Accumulated:
        momenta, squares = (value.new_zeros(len(value), len(decays), *value.shape[1:]) for decays in (MOMENTA, SQUARES))
        return Accumulated(momenta, squares, factored.begin(value, len(FACTORS)))

    def step(self, point: Point, memory: AdafacMemory) -> tuple[Params, AdafacMemory]:
        """Move every coordinate by the network's outputs for it."""
        dtype, steps = self.momenta.dtype, memory.steps.item()
        clock = torch.tensor([math.tanh(steps / time - 1.0) for time in TIMES]).to(self.momenta)
        decays = [
            1.0 - (own.new_tensor([math.log(1.0 - decay) for decay in first]) + 10.0 * own).exp()
            for first, own in ((MOMENTA, self.momenta), (SQUARES, self.squares), (FACTORS, self.factors))
        ]
        after, moved = {}, {}
        for name, value in point.params.items():
            gradient = point.grad[name].to(dtype).clamp(-LARGEST, LARGEST)
            after[name] = _accumulated(memory.tensors[name], gradient, *decays)
            seen = _normalised(_features(gradient, value.to(dtype), after[name]))
            moved[name] = value - self._moves(seen, clock).view_as(value).to(value.dtype)
        return moved, AdafacMemory(after, memory.steps + 1)

    def _moves(self, seen: Tensor, clock: Tensor) -> Tensor:
        """Return the steps (E, coordinates) of coordinates with features (E, coordinates, 28)."""
        first, *others = self.layers
        assert isinstance(first, nn.Linear)
        weight, split = first.weight, seen.shape[-1]
        # The features of the time are the same for all coordinates, and so is their product with the first layer.
        inner = seen @ weight[:, :split].T + (weight[:, split:] @ clock + first.bias)
        for layer in others:
            inner = layer(inner.relu())
        moves: Tensor = inner[..., 0] * (self.magnitude_scale * inner[..., 1]).exp() * self.step_scale
        return moves


def _accumulated(
    before: Accumulated, gradient: Tensor, momenta: Tensor, squares: Tensor, factors: Tensor
) -> Accumulated:
    """Return what is remembered after a gradient (E, S), at decays (3,), (1,) and (3,)."""
    shape = (1, -1, *[1] * (gradient.dim() - 1))
    kept, squared = momenta.view(shape), squares.clamp(0.0, 1.0).view(shape)
    return Accumulated(
        kept * before.momenta + (1.0 - kept) * gradient[:, None],
        squared * before.squares + (1.0 - squared) * gradient[:, None].square(),
        factored.updated(before.factors, gradient, factors.clamp(0.0, 1.0)),
    )


def _features(gradient: Tensor, value: Tensor, known: Accumulated) -> Tensor:
    """Return the 28 features of each coordinate of a tensor (E, S), (E, coordinates, 28)."""
    momenta, squares, factors = known
    inverse = (squares + 1e-6).rsqrt()
    whitening, (rows, columns) = factored.whitening(factors, value), factored.spread(factors, value)
    if value.dim() < 3:  # for a vector, the factored second moments are RMSprop's
        units = momenta * (factors.rows + 1e-6).rsqrt()
    else:
        units = momenta * whitening
    single = [gradient, value]
    several = [momenta, squares, momenta * inverse, inverse, gradient[:, None] * whitening, rows, columns]
    several += [(rows + 1e-8).rsqrt(), (columns + 1e-8).rsqrt(), units]
    features = [each.reshape(len(value), -1, value[0].numel()) for each in single + several]
    return torch.cat(features, 1).mT


def _normalised(features: Tensor) -> Tensor:
    """Return features (E, coordinates, K), each divided by its root mean square over the tensor."""
    return features * (features.square().mean(1, keepdim=True) + 1e-5).rsqrt()
