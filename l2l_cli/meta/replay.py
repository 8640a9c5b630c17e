"""Experience replay of θ: meta-training meets the parameters of long optimizations without making them.

Source: Chen and Lu 2018, algorithm 3.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Params
from l2l_cli.optimizers.base import fraction

GROWTH = 1.2
"""Largest norm of parameters that are kept, in multiples of that of the best ones (Chen and Lu's code)."""


class Slots(NamedTuple):
    """R stored parameters of E episodes each.

    Attributes:
        params: (R, E, ...) each.
        draw: Which draw of episodes they were fitted to, (R,).
        age: How many steps were made, (R,).
        stored: How many were ever stored, (); the first R of them fill the slots, later ones take the oldest's place.
        best: The lowest loss at which parameters were stored, and their norm, (2,).
        chance: The loss of the first θ_0, ().
    """

    params: Params
    draw: Tensor
    age: Tensor
    stored: Tensor
    best: Tensor
    chance: Tensor


class Found(NamedTuple):
    """Stored parameters (E, ...), the draw of episodes that they belong to, and their age."""

    params: Params
    draw: int
    age: int


class Replay:
    """After each window an episode ends by chance: its θ may be stored, and a stored one or a new θ_0 takes its place.

    Deviation: the paper keeps θ only while its loss is the best so far, which never shows φ an old θ again once the
    best ones have become young; "recent" keeps every θ that is not worse than a new one.

    Args:
        keep: Chance that an episode goes on; the paper's code has 0.3 for its convolutional network, 0.5 for its
            residual one.
        capacity: Slots R; 200.
        fresh: Chance of a new θ_0 in place of a stored one; the paper has 0.
        store: "recent"; "best" stores θ if its loss is not above the best so far and its norm at most 1.2 times that
            one's (the paper); "initial" holds the first θ_0 and nothing else, which is what the released code comes to:
            its best loss begins at 0.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        keep: float = 0.7,
        capacity: int = 200,
        fresh: float = 0.1,
        store: Literal["recent", "best", "initial"] = "recent",
    ) -> None:
        fraction(keep=keep)
        if capacity < 1 or not 0 <= fresh <= 1:
            raise ValueError(f"capacity must be at least 1 and fresh in [0, 1], not {capacity}, {fresh}")
        self.keep = keep
        self.capacity = capacity
        self.fresh = fresh
        self.store = store

    def init(self, params: Params) -> Slots:
        """Return empty slots for parameters (E, ...); those of "initial" hold these."""
        size = self.capacity if self.store != "initial" else 1
        slots = tree_map(lambda value: value.new_zeros(size, *value.shape), params)
        draw, age, stored = (torch.zeros(shape, dtype=torch.int64, device="cpu") for shape in (size, size, ()))
        empty = Slots(slots, draw, age, stored, torch.zeros(2, device="cpu"), torch.zeros((), device="cpu"))
        return self._put(empty, params, 0, 0) if self.store == "initial" else empty

    def goes_on(self, rng: Generator) -> bool:
        """Draw whether the present episodes do."""
        return _chance(rng) < self.keep

    def take(self, slots: Slots, rng: Generator) -> Found | None:
        """Draw stored parameters, all alike; None asks for a new θ_0."""
        filled = min(int(slots.stored), len(slots.draw))
        if not filled or _chance(rng) < self.fresh:
            return None
        index = int(torch.randint(filled, (), generator=rng, device="cpu"))
        params = {name: value[index].clone() for name, value in slots.params.items()}
        return Found(params, int(slots.draw[index]), int(slots.age[index]))

    def put(self, slots: Slots, params: Params, draw: int, age: int, loss: float) -> Slots:
        """Store the parameters of episodes that end, if they are good enough."""
        if self.store == "recent" and loss <= float(slots.chance):
            return self._put(slots, params, draw, age)
        norm = float(torch.cat([value.flatten() for value in params.values()]).norm())
        best, size = slots.best.tolist()
        if self.store == "best" and (not int(slots.stored) or (loss <= best and norm <= GROWTH * size)):
            return self._put(slots, params, draw, age)._replace(best=slots.best.new_tensor([loss, norm]))
        return slots

    def _put(self, slots: Slots, params: Params, draw: int, age: int) -> Slots:
        # In place: 200 copies of a large network are not copied each time.
        index = int(slots.stored) % len(slots.draw)
        for name, value in params.items():
            slots.params[name][index] = value.detach()
        slots.draw[index], slots.age[index] = draw, age
        return slots._replace(stored=slots.stored + 1)


def _chance(rng: Generator) -> float:
    return torch.rand((), generator=rng, device="cpu").item()
