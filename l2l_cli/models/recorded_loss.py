"""A task's loss and its derivatives as recorded programs of all parameters in one tensor."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.autodiff.recorder import if_pure, record
from l2l_cli.core.types import Batch, Params
from l2l_cli.models.model import Model
from l2l_cli.models.point import Loss, Point

Program = Callable[..., tuple[Tensor, ...] | list[Tensor]]
"""Tensors to tensors, for tensors of the shapes that it was recorded for."""


class Layout(NamedTuple):
    """How parameters (E, ...) lie in one tensor θ.

    Attributes:
        unpack: θ -> parameters, by name.
        pack: Parameters -> θ.
    """

    unpack: Callable[[Tensor], Params]
    pack: Callable[[Params], Tensor]


def in_turn(like: Params) -> Layout:
    """Return the layout (C,) of every parameter's (E, ...) flattened in turn, named and shaped as others."""
    shapes = {name: value.shape for name, value in like.items()}

    def pack(params: Params) -> Tensor:
        pieces = [value.flatten() for value in params.values()]
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]

    def unpack(theta: Tensor) -> Params:
        pieces = torch.split(theta, [shape.numel() for shape in shapes.values()])
        return {name: piece.view(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}

    return Layout(unpack, pack)


def by_episode(model: Model) -> Layout:
    """Return the layout (E, P) of a model's parameters: a row for each episode."""
    shapes = {name: torch.Size(shape) for name, shape in model.shapes.items()}

    def unpack(theta: Tensor) -> Params:
        pieces = torch.split(theta, [shape.numel() for shape in shapes.values()], 1)
        return {name: piece.view(len(theta), *shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}

    return Layout(unpack, lambda params: torch.cat([value.flatten(1) for value in params.values()], 1))


class RecordedLoss:
    """Computes what ``Point`` does; a program is recorded for each combination of shapes.

    Args:
        model: Network that is fitted.
        loss: Loss of the task.
    """

    def __init__(self, model: Model, loss: Loss) -> None:
        self._model = model
        self._loss = loss
        self._programs: dict[Hashable, Program] = {}

    def gradient(self, layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Program:
        """Return the program (θ, inputs, targets) -> outputs (E, N, ...), losses (E,), gradient (as θ)."""

        def function(theta: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
            point = self._point(layout, theta, inputs, targets)
            gradient = layout.pack(point.grad)
            return point.outputs.detach(), point.loss.detach(), gradient

        return self._program("gradient", function, theta, inputs, targets)

    def hessian(self, layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Program:
        """Return the program (θ, inputs, targets, v) -> (H·v,), with H the loss's Hessian in θ; v is as θ."""

        def function(theta: Tensor, inputs: Tensor, targets: Tensor, v: Tensor) -> tuple[Tensor, ...]:
            point = self._point(layout, theta, inputs, targets)
            return (layout.pack(point.hessian(layout.unpack(v))),)

        return self._program("hessian", function, theta, inputs, targets, theta.clone())

    def _point(self, layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Point:
        return Point(self._model, self._loss, layout.unpack(theta), Batch(inputs, targets))

    def _program(self, name: str, function: Callable[..., tuple[Tensor, ...]], *example: Tensor) -> Program:
        key = name, *((value.shape, value.dtype, value.device) for value in example)
        if key not in self._programs:
            # A function that is not pure has to be called every time.
            self._programs[key] = if_pure(lambda: record(function, *example)) or function
        return self._programs[key]
