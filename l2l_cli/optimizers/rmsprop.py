"""RMSprop; updates as in ``torch.optim.RMSprop``."""

from __future__ import annotations

from typing import NamedTuple

from l2l_cli.core.types import Params
from l2l_cli.optimizers.base import FirstOrder, fraction, positive, zeros


class MeanSquare(NamedTuple):
    """The decayed mean of squared gradients, shaped as the parameters."""

    square: Params


class RmsProp(FirstOrder[MeanSquare]):
    """s ← decay · s + (1 − decay) · g²;  θ ← θ − lr · g / (√s + epsilon).

    Source: Tieleman and Hinton 2012, lecture 6.5; defaults are Torch7's, which Andrychowicz et al. 2016 use.
    """

    def __init__(self, lr: float = 0.01, decay: float = 0.99, epsilon: float = 1e-8) -> None:
        super().__init__()
        positive(lr=lr, epsilon=epsilon)
        fraction(decay=decay)
        self.lr, self.decay, self.epsilon = lr, decay, epsilon

    def init(self, params: Params) -> MeanSquare:
        """Start from zero squares."""
        return MeanSquare(zeros(params))

    def update(self, grad: Params, memory: MeanSquare) -> tuple[Params, MeanSquare]:
        """Return −lr · g / (√s + epsilon)."""
        square = {
            name: self.decay * memory.square[name] + (1.0 - self.decay) * value.square() for name, value in grad.items()
        }
        displacement = {name: -self.lr * value / (square[name].sqrt() + self.epsilon) for name, value in grad.items()}
        return displacement, MeanSquare(square)
