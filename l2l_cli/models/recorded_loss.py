"""A task's loss and its derivatives as recorded programs, which take all parameters as one tensor."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import NamedTuple

from torch import Tensor

from l2l_cli.autodiff.program_writer import NotPure
from l2l_cli.autodiff.recorder import record
from l2l_cli.core.types import Batch, Params
from l2l_cli.core.vectors import flattened, named, stacked
from l2l_cli.models.mlp import LinearMap
from l2l_cli.models.model import Model
from l2l_cli.models.point import Loss, Point, mean_squared_error

Program = Callable[..., tuple[Tensor, ...] | list[Tensor]]
"""A map from tensors to tensors, for the shapes for which it was recorded."""


class Layout(NamedTuple):
    """How one tensor θ holds parameters (E, ...): ``unpack`` maps θ to the parameters by name, ``pack`` the reverse."""

    unpack: Callable[[Tensor], Params]
    pack: Callable[[Params], Tensor]


def in_turn(like: Params) -> Layout:
    """Return the layout (C,) of all parameters (E, ...), flattened one after another, named and shaped as ``like``."""
    shapes = {name: value.shape for name, value in like.items()}

    def pack(params: Params) -> Tensor:
        return flattened(params) if len(params) > 1 else next(iter(params.values())).flatten()  # nothing to copy

    return Layout(partial(named, shapes=shapes), pack)


def by_episode(model: Model) -> Layout:
    """Return the layout (E, P) of a model's parameters: a row for each episode."""
    return Layout(partial(named, shapes=model.shapes), stacked)


class RecordedLoss:
    """Computes a loss and its derivatives as ``Point`` does; a program is recorded for each combination of shapes."""

    def __init__(self, model: Model, loss: Loss) -> None:
        self._model = model
        self._loss = loss
        self._programs: dict[Hashable, Program] = {}

    @property
    def is_least_squares(self) -> bool:
        """Whether the loss is ‖Wθ − y‖² averaged over the residuals, with the inputs as W and the targets as y."""
        return type(self._model.module) is LinearMap and self._loss is mean_squared_error

    def gradient(self, layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Program:
        """Return the program (θ, inputs, targets) -> outputs (E, N, ...), losses (E,), gradient (as θ)."""

        def function(theta: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
            point = self._point(layout, theta, inputs, targets)
            gradient = layout.pack(point.grad)
            return point.outputs.detach(), point.loss.detach(), gradient

        return self._program("gradient", layout, function, theta, inputs, targets)

    def hessian(self, layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Program:
        """Return the program (θ, inputs, targets, v) -> (H·v,) with the loss's Hessian H; v is shaped as θ."""

        def function(theta: Tensor, inputs: Tensor, targets: Tensor, v: Tensor) -> tuple[Tensor, ...]:
            point = self._point(layout, theta, inputs, targets)
            return (layout.pack(point.hessian(layout.unpack(v))),)

        return self._program("hessian", layout, function, theta, inputs, targets, theta.clone())

    def _point(self, layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Point:
        return Point(self._model, self._loss, layout.unpack(theta), Batch(inputs, targets))

    def draws(self, layout: Layout, theta: Tensor, inputs: Tensor) -> bool:
        """Return whether the network draws random numbers, in which case each program would compute with others."""
        return self._model.manner(layout.unpack(theta), inputs).draws

    def _program(
        self, name: str, layout: Layout, function: Callable[..., tuple[Tensor, ...]], *example: Tensor
    ) -> Program:
        key = name, *((value.shape, value.dtype, value.device) for value in example)
        if key not in self._programs:
            try:
                # How the network is called must be known beforehand: finding it out is not part of a program.
                self.draws(layout, *example[:2])
                self._programs[key] = record(function, *example)
            except NotPure:  # it has to be called every time
                self._programs[key] = function
        return self._programs[key]
