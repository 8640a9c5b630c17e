"""φ of a coordinatewise LSTM in the form that kernels take, and how they present a gradient to it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from torch import Tensor

PITCH = 128
"""A GPU's rows are padded to multiples of this many coordinates: whole blocks, aligned for the widest loads."""


class Mode(IntEnum):
    """Where features come from: the caller, or the gradient as in ``optimizers.preprocess``.

    The integer of a mode that takes the gradient is its number of features.
    """

    GIVEN = 0
    IDENTITY = 1
    LOG_AND_SIGN = 2


class Presentation(NamedTuple):
    """A mode and its constant: the identity's factor, or the p of log and sign."""

    mode: Mode = Mode.IDENTITY
    value: float = 1.0


class Weights(NamedTuple):
    """A rule's parameters, which are not copied, and the constants that belong to them.

    Attributes:
        layers: (4H, K) input weights, (4H, H) hidden weights and (4H,) biases of each layer.
        head: (1, H) weights and (1,) bias of the displacement.
        output_scale: Factor on the displacement.
        presentation: Form in which the first layer is shown a gradient.
    """

    layers: Sequence[Sequence[Tensor]]
    head: tuple[Tensor, Tensor]
    output_scale: float = 1.0
    presentation: Presentation = Presentation()

    @property
    def features(self) -> int:
        """The number of features of a coordinate."""
        return self.layers[0][0].shape[1]

    @property
    def hidden(self) -> int:
        """The number of units of a layer."""
        return self.layers[0][1].shape[1]

    @property
    def tensors(self) -> list[Tensor]:
        """All parameters, in the order of φ."""
        return [*(value for layer in self.layers for value in layer), *self.head]

    def holding(self, tensors: Sequence[Tensor]) -> Weights:
        """Return the same with other tensors in place of the parameters, in the order of φ."""
        *cells, weight, bias = tensors
        return self._replace(layers=[cells[k : k + 3] for k in range(0, len(cells), 3)], head=(weight, bias))
