"""Adam and AdamW; updates as in ``torch.optim.Adam`` and ``torch.optim.AdamW``."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.types import Params
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import FirstOrder, Optimizer, decayed, fraction, positive, zeros


class Moments(NamedTuple):
    """Decayed means of gradients and of their squares, shaped as the parameters, and the number of steps so far, ()."""

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
        return _at_rest(params)

    def update(self, grad: Params, memory: Moments) -> tuple[Params, Moments]:
        """Return −lr · m̂ / (√v̂ + epsilon)."""
        return _moved(grad, memory, self)


class AdamW(Optimizer[Moments]):
    """θ ← θ − lr · (weight_decay · θ + m̂ / (√v̂ + epsilon)): Adam with a weight decay outside the moments.

    It needs θ, so it cannot serve for meta-updates of φ, as Adam can.

    Source: Loshchilov and Hutter 2019, algorithm 2, with the decay multiplied by the learning rate as torch has it.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__()
        positive(lr=lr, epsilon=epsilon)
        fraction(beta1=beta1, beta2=beta2)
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, not {weight_decay}")
        self.lr, self.beta1, self.beta2, self.epsilon, self.weight_decay = lr, beta1, beta2, epsilon, weight_decay

    def init(self, params: Params) -> Moments:
        """Start from zero moments."""
        return _at_rest(params)

    def step(self, point: Point, memory: Moments) -> tuple[Params, Moments]:
        """Decay the parameters, and move them as Adam does."""
        displacement, memory = _moved(point.grad, memory, self)
        kept = 1.0 - self.lr * self.weight_decay
        return {name: kept * value + displacement[name] for name, value in point.params.items()}, memory


def _at_rest(params: Params) -> Moments:
    # float64: Adam's bias correction at step 10⁷ needs the exact count.  On the CPU: reading it never waits for a GPU.
    return Moments(zeros(params), zeros(params), torch.zeros((), dtype=torch.float64, device="cpu"))


def _moved(grad: Params, memory: Moments, rule: Adam | AdamW) -> tuple[Params, Moments]:
    """Return −lr · m̂ / (√v̂ + epsilon), and the next moments."""
    steps = memory.steps + 1
    first = decayed(memory.first, grad, rule.beta1, 1.0 - rule.beta1)
    squares = {name: value.square() for name, value in grad.items()}
    second = decayed(memory.second, squares, rule.beta2, 1.0 - rule.beta2)
    rate = -rule.lr / (1.0 - rule.beta1 ** steps.item())
    correction = (1.0 - rule.beta2 ** steps.item()) ** 0.5
    displacement = {name: rate * first[name] / (second[name].sqrt() / correction + rule.epsilon) for name in grad}
    return displacement, Moments(first, second, steps)
