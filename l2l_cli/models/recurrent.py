"""A recurrent network that reads an image row by row, as a module to be wrapped by ``models.model.Model``."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor, nn

from l2l_cli.core.random import uniform
from l2l_cli.models.architecture import Architecture, ImageShape
from l2l_cli.models.model import Initializer, Model

FORGET_BIAS = 1.0
"""Number that is added to the drawn biases of the forget gates (Jozefowicz, Zaremba and Sutskever 2015, §5)."""


class Rows(nn.Module):
    """Lays an image out as the sequence of its rows, from top to bottom, each with all its channels."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (height, N, channels · width) of (N, channels, height, width)."""
        return inputs.movedim(-2, 0).flatten(2)


class LastStateLSTM(nn.Module):
    """One layer of LSTM cells that starts from a zero state and returns its last hidden state.

    Gates are in the order input, forget, output, candidate, so that the three with a sigmoid are adjacent.

    Source: Hochreiter and Schmidhuber 1997, with the forget gates of Gers, Schmidhuber and Cummins 2000.

    Args:
        features: Numbers in one step of the sequence.
        units: Number of cells.
    """

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.input = nn.Linear(features, 4 * units)
        self.hidden = nn.Linear(units, 4 * units, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the last hidden state (N, units) of sequences (steps, N, features)."""
        hidden = cell = inputs.new_zeros(inputs.shape[1], self.units)
        for fed in self.input(inputs).unbind():  # one product for all steps
            gates, candidate = (fed + self.hidden(hidden)).split((3 * self.units, self.units), -1)
            into, forget, out = gates.sigmoid().chunk(3, -1)
            cell = forget * cell + into * candidate.tanh()
            hidden = out * cell.tanh()
        return hidden


def row_reader(shape: ImageShape, units: int, outputs: int) -> nn.Sequential:
    """Build rows of an image → LSTM of ``units`` cells → dense layer on its last state.

    Raises:
        ValueError: A width is below 1.
    """
    if min(units, outputs, *shape) < 1:
        raise ValueError(f"every width must be at least 1, not {[*shape, units, outputs]}")
    return nn.Sequential(Rows(), LastStateLSTM(shape[0] * shape[2], units), nn.Linear(units, outputs))


def row_reader_weights(units: int) -> Initializer:
    """Return an initializer of a ``row_reader``: U(±1/√units), plus 1 for the biases of forget gates."""
    bound = units**-0.5

    def draw(name: str, shape: tuple[int, ...], rng: Generator) -> Tensor:
        drawn = uniform(shape, -bound, bound, rng)
        if name.endswith("input.bias"):
            drawn[:, units : 2 * units] += FORGET_BIAS
        return drawn

    return draw


@dataclass(frozen=True)
class RowReader(Architecture):
    """An LSTM that is given one row of pixels per step, and a dense layer on its last state.

    Source: Chen and Lu 2018 leave recurrent networks to future work; this one is ours.

    Args:
        units: Number of cells of the LSTM.
    """

    units: int = 32

    def model(self, shape: ImageShape, outputs: int) -> Model:
        """Build the network; see ``row_reader_weights`` for θ₀."""
        return Model(row_reader(shape, self.units, outputs), row_reader_weights(self.units))
