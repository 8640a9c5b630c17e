"""Maps from the features of an example to three gates for each weight of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn

from l2l_cli.core.random import uniform


def initial_biases(size: int, forget: float, entrance: float) -> Tensor:
    """Return the biases of f, i and c̃ for P weights, (3P,)."""
    return torch.tensor([forget, entrance, 0.0]).repeat_interleave(size)


class Gates(nn.Linear):
    """Gates that are affine in the features, each with its own weights: 3P · (n + 1) parameters.

    Source: Bosc 2016, §2.

    Args:
        features: Number n of features.
        size: Number P of the model's weights.
    """

    def __init__(self, features: int, size: int) -> None:
        super().__init__(features, 3 * size)

    @torch.no_grad()
    def reset(self, biases: Tensor, scale: float, rng: Generator) -> None:
        """Draw weights of standard deviation ``scale`` / √n, and set the biases."""
        bound = scale * math.sqrt(3.0 / self.in_features)
        self.weight.copy_(uniform(tuple(self.weight.shape), -bound, bound, rng))
        self.bias.copy_(biases)


class FactoredGates(nn.Module):
    """Gates of low rank: for a matrix of weights (out, in) they are Σ_r a_r b_rᵀ / √rank, plus a bias for each gate.

    a (out) and b (in) are affine in the features, so a step takes about P · rank + (out + in) · n · rank operations
    instead of P · n, and φ has 3P + 3 · (out + in) · (n + 1) · rank parameters.  A vector of weights (out,) is treated
    as a matrix of one column, and a convolution's weights as a matrix whose columns run over all axes but the first.

    Args:
        features: Number n of features.
        shapes: Shapes of the model's parameters, by name.
        rank: Number of products in a sum.
    """

    def __init__(self, features: int, shapes: Mapping[str, tuple[int, ...]], rank: int) -> None:
        super().__init__()
        self.rank = rank
        self._sides = [(shape[0], math.prod(shape[1:])) for shape in shapes.values()]
        rows, columns = (sum(counts) for counts in zip(*self._sides, strict=True))
        self.rows = nn.Linear(features, 3 * rank * rows)
        self.columns = nn.Linear(features, 3 * rank * columns)
        self.bias = nn.Parameter(torch.empty(3 * sum(out * into for out, into in self._sides)))

    @torch.no_grad()
    def reset(self, biases: Tensor, scale: float, rng: Generator) -> None:
        """Initialise b near 1, so that gates depend on the features as if all weights of a unit shared one gate."""
        for layer, size, middle in ((self.rows, scale, 0.0), (self.columns, 1.0, 1.0)):
            bound = size * math.sqrt(3.0 / layer.in_features)
            layer.weight.copy_(uniform(tuple(layer.weight.shape), -bound, bound, rng))
            layer.bias.fill_(middle)
        self.bias.copy_(biases)

    def forward(self, features: Tensor) -> Tensor:
        """Return the gates of features (E, n), (E, 3P): all f, then all i, then all c̃."""
        rows, columns = (layer(features).view(len(features), 3, self.rank, -1) for layer in (self.rows, self.columns))
        pairs = zip(
            torch.split(rows, [out for out, _ in self._sides], 3),
            torch.split(columns, [into for _, into in self._sides], 3),
            strict=True,
        )
        products = [torch.einsum("egro,egri->egoi", *pair).flatten(2) for pair in pairs]
        return torch.cat(products, 2).flatten(1) / math.sqrt(self.rank) + self.bias
