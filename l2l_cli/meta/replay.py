"""Experience replay of θ: meta-training sees the parameters of long optimizations without rerunning them.

Source: Chen and Lu 2018, algorithm 3.
"""

from __future__ import annotations

import copy
import math
from abc import ABC
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Generator, Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import derive, generator
from l2l_cli.core.tree import detach, tree_map
from l2l_cli.core.types import Batches, Params
from l2l_cli.core.vectors import flattened
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent, DescentState
from l2l_cli.meta.gradient import Estimate, Estimator, Progress, meta_gradient
from l2l_cli.meta.horizon import Horizon
from l2l_cli.meta.loss import MetaLoss, Trajectory
from l2l_cli.optimizers.base import fraction
from l2l_cli.parallel.ranks import Ranks

GROWTH = 1.2
"""Largest norm of stored parameters, in multiples of the norm of the best ones (Chen and Lu's code)."""


class Slots(NamedTuple):
    """R stored parameters of E episodes each.

    Attributes:
        params: Stored parameters, (R, E, ...) each.
        draw: Number of the draw of episodes that they were fitted to, (R,).
        age: Number of steps that they were fitted for, (R,).
        stored: Number of parameters ever stored, (); the first R fill the slots, and later ones replace the oldest.
        best: Lowest loss at which parameters were stored, and their norm, (2,).
        chance: Loss of the first θ₀, ().
    """

    params: Params
    draw: Tensor
    age: Tensor
    stored: Tensor
    best: Tensor
    chance: Tensor


class ReplayState(NamedTuple):
    """The learner's state under replay, the slots, the number of windows so far, (), and the last loss, ()."""

    state: DescentState
    slots: Slots
    windows: Tensor
    loss: Tensor


class StoredParams(NamedTuple):
    """Parameters (E, ...) from a slot, the number of their draw of episodes, and their age in steps."""

    params: Params
    draw: int
    age: int


class Replay:
    """After each window, episodes end at random; then their θ may be stored, and a stored θ or a new θ₀ follows.

    Deviation: the paper stores θ only if its loss is the best so far, so that φ no longer sees old θ once the best ones
    are young; "recent" stores every θ that is not worse than a new one.

    Args:
        keep: Probability that an episode continues; the paper's code has 0.3 for its convolutional network, 0.5 for its
            residual one.
        capacity: Number R of slots; the paper's 200.
        fresh: Probability of a new θ₀ in place of a stored one; the paper has 0.
        store: Rule by which θ is stored: "recent" stores every θ whose loss is not above that of the first θ₀; "best"
            stores θ if its loss is not above the best so far and its norm at most 1.2 times that of the best (the
            paper); "initial" holds only the first θ₀, as the released code does in effect, since its best loss begins
            at 0.
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
        self.keep, self.capacity, self.fresh, self.store = keep, capacity, fresh, store

    def init(self, params: Params) -> Slots:
        """Return empty slots for parameters (E, ...); the slot of "initial" holds the parameters."""
        size = self.capacity if self.store != "initial" else 1
        slots = tree_map(lambda value: value.new_zeros(size, *value.shape), params)
        draw, age, stored = (torch.zeros(shape, dtype=torch.int64, device="cpu") for shape in (size, size, ()))
        empty = Slots(slots, draw, age, stored, torch.zeros(2, device="cpu"), torch.zeros((), device="cpu"))
        return self._put(empty, params, 0, 0) if self.store == "initial" else empty

    def goes_on(self, rng: Generator) -> bool:
        """Draw whether the current episodes continue."""
        return _chance(rng) < self.keep

    def take(self, slots: Slots, rng: Generator) -> StoredParams | None:
        """Draw stored parameters, each with the same probability; None stands for a new θ₀."""
        filled = min(int(slots.stored), len(slots.draw))
        if not filled or _chance(rng) < self.fresh:
            return None
        index = int(torch.randint(filled, (), generator=rng, device="cpu"))
        params = {name: value[index].clone() for name, value in slots.params.items()}
        return StoredParams(params, int(slots.draw[index]), int(slots.age[index]))

    def put(self, slots: Slots, params: Params, draw: int, age: int, loss: float, ranks: Ranks | None = None) -> Slots:
        """Store the parameters of ending episodes if they are good enough; ``ranks`` are the ranks that share them."""
        if self.store == "recent" and loss <= float(slots.chance):
            return self._put(slots, params, draw, age)
        if self.store != "best":
            return slots
        norm = _norm(params, ranks)
        best, size = slots.best.tolist()
        if not int(slots.stored) or (loss <= best and norm <= GROWTH * size):
            return self._put(slots, params, draw, age)._replace(best=slots.best.new_tensor([loss, norm]))
        return slots

    def _put(self, slots: Slots, params: Params, draw: int, age: int) -> Slots:
        # In place, so that 200 copies of a large network are not copied each time.
        index = int(slots.stored) % len(slots.draw)
        for name, value in params.items():
            slots.params[name][index] = value.detach()
        slots.draw[index], slots.age[index] = draw, age
        return slots._replace(stored=slots.stored + 1)


def _norm(params: Params, ranks: Ranks | None) -> float:
    """Return the norm of the parameters of all episodes, which are divided over the ranks."""
    if ranks is None:
        return float(flattened(params).norm())
    square = flattened(params).square().sum().view(1)
    ranks.total(square)
    return math.sqrt(float(square))


def _chance(rng: Generator) -> float:
    return torch.rand((), generator=rng, device="cpu").item()


class Replayed(Estimator, ABC):
    """An estimator whose episodes may start from stored parameters; its progress carries a ``ReplayState``.

    Every window has new batches, also in an episode that is continued from stored parameters.

    Args:
        episodes: Number of optimizations side by side.
        window: Number of steps in a window.
        horizon: Age of parameters at which their episode ends; None is the task's own horizon.
        replay: Rule by which episodes end and follow each other; None is ``Replay`` with its defaults.
    """

    def __init__(self, episodes: int, window: int, horizon: Horizon | None, replay: Replay | None) -> None:
        super().__init__(episodes, window, horizon)
        self.steps = window
        self.replay = replay if replay is not None else Replay()

    def smallest(self, episodes: int) -> Self:
        """Return this estimator for some episodes in one process, with a single slot."""
        twin = super().smallest(episodes)
        twin.replay = copy.copy(self.replay)
        twin.replay.capacity = 1
        return twin

    def begin(self, learner: Learner[Any], seed: int, draw: int, done: float) -> Progress:
        """Begin episodes with empty slots.

        Raises:
            UsageError: The learner is not an optimizer, or its task hides targets or varies.
        """
        if not isinstance(learner, Descent):
            raise UsageError("replay stores the parameters of a model; learners without one take gradient=backprop")
        if learner.task.spec.hides or learner.task.vary is not None:
            raise UsageError("replay is for one task that shows all targets; remove vary, or take gradient=backprop")
        progress = super().begin(learner, seed, draw, done)
        slots = self.replay.init(progress.state.params)
        zero = torch.zeros((), device="cpu")
        return progress._replace(state=ReplayState(progress.state, slots, zero.to(torch.int64), zero))

    def replayed(self, learner: Learner[Any], progress: Progress, done: float) -> Progress:
        """Continue the current episodes, or store their θ and start from another with a new memory of the rule."""
        replay: ReplayState = progress.state
        seed, number = int(progress.seed), int(replay.windows)
        rng = generator(seed, "replay", number)
        if not number or (self.replay.goes_on(rng) and progress.step < progress.horizon):
            return progress
        draw, age = int(progress.draw), int(progress.step)
        slots = self.replay.put(replay.slots, replay.state.params, draw, age, float(replay.loss), self.ranks)
        stored = self.replay.take(slots, rng)
        if stored is None or stored.age >= int(progress.horizon):
            newest = derive(seed, "fresh", number) % (1 << 40)
            fresh = super().begin(learner, seed, newest, done)
            return fresh._replace(state=replay._replace(state=fresh.state, slots=slots))
        assert isinstance(learner, Descent)
        left = int(progress.horizon) - stored.age
        state = DescentState(stored.params, learner.rule.begin(stored.params, left))
        draw_of, step = (torch.tensor(value, device="cpu") for value in (stored.draw, stored.age))
        return progress._replace(draw=draw_of, step=step, state=replay._replace(state=state, slots=slots))

    def learner_state(self, learner: Learner[Any], progress: Progress) -> object:
        """Return the learner's own state."""
        del learner
        return progress.state.state

    def window_of(self, learner: Learner[Any], progress: Progress) -> Batches:
        """Return the data of the next window."""
        start = int(progress.state.windows) * self.steps
        return self.episode(learner, progress).batches(start, start + self.steps)

    def after(self, progress: Progress, state: DescentState, first: Tensor, last: Tensor) -> Progress:
        """Return the progress after a window, given the learner's state then and the first and last loss, () both."""
        replay: ReplayState = progress.state
        if self.ranks is not None:
            first, last = self.ranks.mean(torch.stack([first, last]), self.episodes)
        slots = replay.slots if int(replay.windows) else replay.slots._replace(chance=first.detach().cpu())
        replay = ReplayState(detach(state), slots, replay.windows + 1, last.detach().cpu())
        return progress._replace(step=progress.step + self.steps, state=replay)


class ReplayedBackprop(Replayed):
    """``Backprop`` with replay, for any rule, with the arguments of ``Replayed`` and the ``loss`` of ``Backprop``."""

    def __init__(
        self,
        episodes: int = 1,
        window: int = 20,
        horizon: Horizon | None = None,
        loss: MetaLoss | None = None,
        replay: Replay | None = None,
    ) -> None:
        super().__init__(episodes, window, horizon, replay)
        self.loss = loss if loss is not None else Trajectory()

    def estimate(self, learner: Learner[Any], progress: Progress, done: float) -> tuple[Progress, Estimate]:
        """Unroll one window and differentiate it."""
        progress = self.replayed(learner, progress, done)
        state, losses = learner.losses(detach(progress.state.state), self.window_of(learner, progress))
        objective = self.loss(losses, min(1.0, (int(progress.step) + self.steps) / int(progress.horizon)))
        grad = meta_gradient(learner, objective, self.steps)
        progress = self.after(progress, state, losses[0].mean(), losses[-1].mean())
        return progress, Estimate(grad, objective.detach(), losses.detach().mean())
