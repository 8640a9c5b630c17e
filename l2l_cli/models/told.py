"""Points on the loss surfaces of training loops outside this project, which supply loss and gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Batch, Params
from l2l_cli.models.point import Point


def told(params: Params, gradient: Params, loss: Callable[[], Tensor]) -> Point:
    """Return a point whose gradient is known, and whose loss is computed when it is needed.

    Args:
        params: Parameters, (E, ...) each.
        gradient: Gradient, shaped as the parameters.
        loss: Function that returns the loss, (E,).
    """
    nothing = torch.empty(0, device="cpu")
    point = Point(_Told(loss), lambda outputs, targets: outputs, params, Batch(nothing, nothing))
    point.grad = gradient
    return point


class _Told:
    """A network whose only output is its loss."""

    def __init__(self, loss: Callable[[], Tensor]) -> None:
        self._loss = loss

    def __call__(self, params: Params, inputs: Tensor) -> Tensor:
        del params, inputs
        return self._loss()

    @property
    def module(self) -> NoReturn:
        """No module is known."""
        raise _unknown()

    @property
    def parameter_types(self) -> NoReturn:
        """No types are known."""
        raise _unknown()

    def linearize(self, params: Params, inputs: Tensor) -> NoReturn:
        """Refuse: no outputs are known."""
        raise _unknown()

    def trace(self, params: Params, inputs: Tensor) -> NoReturn:
        """Refuse: no layers are known."""
        raise _unknown()


def _unknown() -> UsageError:
    return UsageError(
        "this rule needs more than the gradient, such as curvature or a line search; give load_optimizer the network "
        "itself in place of its parameters, and step a closure that returns outputs and loss"
    )
