"""A task's loss surface as a recorded program of all parameters in one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.autodiff.recorder import NotPure, record
from l2l_cli.core.types import Batch, Params
from l2l_cli.models.model import Model
from l2l_cli.models.point import Loss, Point


class Answer(NamedTuple):
    """A model's outputs (E, N, ...), losses (E,) and gradient (C,)."""

    outputs: Tensor
    losses: Tensor
    gradient: Tensor


class Surface:
    """Computes what ``Point`` does; a program is recorded for each combination of shapes.

    Args:
        model: The network that is fitted.
        loss: The task's loss.
    """

    def __init__(self, model: Model, loss: Loss) -> None:
        self._model = model
        self._loss = loss
        self._programs: dict[Any, Callable[..., Any]] = {}

    def __call__(self, like: Params, flat: Tensor, inputs: Tensor, targets: Tensor) -> Answer:
        """Answer at θ, given as (C,): every parameter's (E, ...) flattened in turn, named and shaped as ``like``."""
        return Answer(*self.program(like, flat, inputs, targets)(flat, inputs, targets))

    def program(self, like: Params, flat: Tensor, inputs: Tensor, targets: Tensor) -> Callable[..., Any]:
        """Return what answers for tensors shaped as these: (θ, inputs, targets) -> an ``Answer``'s fields."""
        key = (flat.shape, flat.dtype, inputs.shape, inputs.dtype, targets.shape, targets.dtype)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._record(like, flat, inputs, targets)
        return program

    def _record(self, like: Params, *example: Tensor) -> Callable[..., Any]:
        shapes = {name: value.shape for name, value in like.items()}

        def surface(whole: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
            pieces = torch.split(whole, [shape.numel() for shape in shapes.values()])
            params = {name: piece.view(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}
            point = Point(self._model, self._loss, params, Batch(inputs, targets))
            gradient = [value.flatten() for value in point.grad.values()]
            flat = torch.cat(gradient) if len(gradient) > 1 else gradient[0]
            return point.outputs.detach(), point.loss.detach(), flat

        try:
            return record(surface, *example)
        except NotPure:  # it looks at numbers to decide what to do, so it has to be asked every time
            return surface
