"""Adam; updates as in ``torch.optim.Adam``."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.types import Params
from l2l_cli.optimizers.base import FirstOrder, decayed, fraction, positive, zeros


class Moments(NamedTuple):
    """Decayed means of gradients and of their squares, shaped as the parameters, and the steps so far ()."""

    first: Params
    second: Params
    steps: Tensor


class Adam(FirstOrder[Moments]):
    """θ ← θ − lr · m̂ / (√v̂ + epsilon), with bias-corrected moments.

    Source: Kingma and Ba 2015, algorithm 1; defaults are the paper's.
    """

    def __init__(self, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        super().__init__()
        positive(lr=lr, epsilon=epsilon)
        fraction(beta1=beta1, beta2=beta2)
        self.lr, self.beta1, self.beta2, self.epsilon = lr, beta1, beta2, epsilon

    def init(self, params: Params) -> Moments:
        """Start from zero moments."""
        # float64: Adam's bias correction at step 10⁷ needs the count exactly.  On the CPU: reading it waits for no GPU.
        return Moments(zeros(params), zeros(params), torch.zeros((), dtype=torch.float64, device="cpu"))

    def update(self, grad: Params, memory: Moments) -> tuple[Params, Moments]:
        """Return −lr · m̂ / (√v̂ + epsilon)."""
        steps = memory.steps + 1
        first = decayed(memory.first, grad, self.beta1, 1.0 - self.beta1)
        squares = {name: value.square() for name, value in grad.items()}
        second = decayed(memory.second, squares, self.beta2, 1.0 - self.beta2)
        rate = -self.lr / (1.0 - self.beta1 ** steps.item())
        correction = (1.0 - self.beta2 ** steps.item()) ** 0.5
        displacement = {name: rate * first[name] / (second[name].sqrt() / correction + self.epsilon) for name in grad}
        return displacement, Moments(first, second, steps)
