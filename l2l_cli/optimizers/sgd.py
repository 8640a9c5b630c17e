"""Gradient descent, with heavy-ball or Nesterov momentum; updates as in ``torch.optim.SGD``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from l2l_cli.core.types import Params
from l2l_cli.optimizers.base import FirstOrder, decayed, fraction, positive, scaled, zeros


class Empty(NamedTuple):
    """The empty memory of a rule that remembers nothing."""


class Velocity(NamedTuple):
    """The decayed sum of past gradients, shaped as the parameters."""

    velocity: Params


class Sgd(FirstOrder[Empty]):
    """θ ← θ − lr · g."""

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__()
        positive(lr=lr)
        self.lr = lr

    def init(self, params: Params) -> Empty:
        """Return the empty memory."""
        del params
        return Empty()

    def update(self, grad: Params, memory: Empty) -> tuple[Params, Empty]:
        """Return −lr · g."""
        return scaled(grad, -self.lr), memory


class _WithVelocity(FirstOrder[Velocity], ABC):
    """The velocity that heavy-ball and Nesterov momentum share: v ← momentum · v + g."""

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__()
        positive(lr=lr)
        fraction(momentum=momentum)
        self.lr, self.momentum = lr, momentum

    def init(self, params: Params) -> Velocity:
        """Start at rest."""
        return Velocity(zeros(params))

    def update(self, grad: Params, memory: Velocity) -> tuple[Params, Velocity]:
        """Update the velocity, and return the displacement with it."""
        velocity = decayed(memory.velocity, grad, self.momentum, 1.0)
        return self._displacement(grad, velocity), Velocity(velocity)

    @abstractmethod
    def _displacement(self, grad: Params, velocity: Params) -> Params:
        """Return the displacement of the parameters."""


class Momentum(_WithVelocity):
    """θ ← θ − lr · v.

    Source: Polyak 1964 (heavy ball).
    """

    def _displacement(self, grad: Params, velocity: Params) -> Params:
        del grad
        return scaled(velocity, -self.lr)


class Nesterov(_WithVelocity):
    """θ ← θ − lr · (g + momentum · v).

    Source: Nesterov 1983 in the form of Sutskever et al. 2013, whose parameters are the look-ahead ones.
    """

    def _displacement(self, grad: Params, velocity: Params) -> Params:
        return decayed(velocity, grad, -self.lr * self.momentum, -self.lr)
