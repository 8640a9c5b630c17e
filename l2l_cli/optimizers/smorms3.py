"""SMORMS3: an RMSprop whose averaging window shortens by itself where the signal is strong.

Source: Funk 2015, "RMSprop loses to SMORMS3", the rule with which Bosc 2016 meta-trains.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from l2l_cli.core.types import Params
from l2l_cli.optimizers.base import FirstOrder, positive, zeros


class Smorms3Memory(NamedTuple):
    """Means of gradients and of their squares over ``window`` steps, each shaped as the parameters."""

    first: Params
    second: Params
    window: Params


class Smorms3(FirstOrder[Smorms3Memory]):
    """θ ← θ − g · min(lr, q) / (√s + epsilon), where q = m² / (s + epsilon) is the share of signal in the gradient.

    Args:
        lr: Largest step, in units of normalised gradients; 0.001 in the source.
        epsilon: Number that is added to denominators; 1e-16 in the source.
    """

    def __init__(self, lr: float = 1e-3, epsilon: float = 1e-16) -> None:
        super().__init__()
        positive(lr=lr, epsilon=epsilon)
        self.lr, self.epsilon = lr, epsilon

    def init(self, params: Params) -> Smorms3Memory:
        """Start with a window of one step."""
        return Smorms3Memory(
            zeros(params), zeros(params), {name: torch.ones_like(value) for name, value in params.items()}
        )

    def update(self, grad: Params, memory: Smorms3Memory) -> tuple[Params, Smorms3Memory]:
        """Return −g · min(lr, q) / (√s + epsilon)."""
        displacement: Params = {}
        first: Params = {}
        second: Params = {}
        window: Params = {}
        for name, value in grad.items():
            rate = 1.0 / (memory.window[name] + 1.0)
            first[name] = (1.0 - rate) * memory.first[name] + rate * value
            second[name] = (1.0 - rate) * memory.second[name] + rate * value.square()
            share = first[name].square() / (second[name] + self.epsilon)
            displacement[name] = -value * share.clamp(max=self.lr) / (second[name].sqrt() + self.epsilon)
            window[name] = 1.0 + memory.window[name] * (1.0 - share)
        return displacement, Smorms3Memory(first, second, window)
