"""The interface that a point on a loss surface requires of a network; ``Model`` implements it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from l2l_cli.autodiff.linearize import Linearization
from l2l_cli.core.types import Params
from l2l_cli.models.model import ParameterType, Trace


class Network(Protocol):
    """A network as a function of its parameters."""

    @property
    def module(self) -> nn.Module:
        """The network itself."""

    @property
    def parameter_types(self) -> dict[str, ParameterType]:
        """The type of each parameter, by name."""

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        """Return the outputs (E, N, ...) for inputs (E, N, ...) and parameters (E, ...)."""

    def linearize(self, params: Params, inputs: Tensor) -> Linearization:
        """Return the linearization at these parameters."""

    def trace(self, params: Params, inputs: Tensor) -> Trace:
        """Return the outputs with the inputs of each layer."""
