"""Experience replay of θ: meta-training meets the parameters of long optimizations without making them.

Source: Chen and Lu 2018, algorithm 3.
"""

from __future__ import annotations

from abc import ABC
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import derive, generator
from l2l_cli.core.tree import detach, tree_map
from l2l_cli.core.types import Batches, Params
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent, DescentState
from l2l_cli.meta.gradient import Estimate, Estimator, Progress
from l2l_cli.meta.horizon import Horizon
from l2l_cli.meta.loss import MetaLoss, Trajectory
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


class ReplayState(NamedTuple):
    """Where meta-training with replay stands.

    ``state`` is the learner's, ``windows`` counts those so far, (), and ``loss`` is the last one, ().
    """

    state: DescentState
    slots: Slots
    windows: Tensor
    loss: Tensor


class StoredParams(NamedTuple):
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

    def take(self, slots: Slots, rng: Generator) -> StoredParams | None:
        """Draw stored parameters, all alike; None asks for a new θ_0."""
        filled = min(int(slots.stored), len(slots.draw))
        if not filled or _chance(rng) < self.fresh:
            return None
        index = int(torch.randint(filled, (), generator=rng, device="cpu"))
        params = {name: value[index].clone() for name, value in slots.params.items()}
        return StoredParams(params, int(slots.draw[index]), int(slots.age[index]))

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


class Replayed(Estimator, ABC):
    """An estimator whose episodes go on from parameters of others; its progress carries a ``ReplayState``.

    Every window sees batches of its own, also of an episode that is taken up again.

    Args:
        episodes: Optimizations side by side.
        window: Steps of a window.
        horizon: How old parameters may become before their episode ends; None is the task's own horizon.
        replay: What follows an episode; None is ``Replay``'s defaults.
    """

    def __init__(self, episodes: int, window: int, horizon: Horizon | None, replay: Replay | None) -> None:
        super().__init__(episodes, window, horizon)
        self.steps = window
        self.replay = replay if replay is not None else Replay()

    def begin(self, learner: Learner[Any], seed: int, draw: int, done: float) -> Progress:
        """Begin the first episodes, or begin anew with nothing stored.

        Raises:
            UsageError: The learner descends on no model, or its task hides targets or varies.
        """
        if not isinstance(learner, Descent):
            raise UsageError("replay stores the parameters of a model; learners that fit none take gradient=backprop")
        if learner.task.spec.hides or learner.task.vary is not None:
            raise UsageError("replay is for one task that shows all targets; take out vary, or take gradient=backprop")
        progress = super().begin(learner, seed, draw, done)
        slots = self.replay.init(progress.state.params)
        zero = torch.zeros((), device="cpu")
        return progress._replace(state=ReplayState(progress.state, slots, zero.to(torch.int64), zero))

    def replayed(self, learner: Learner[Any], progress: Progress, done: float) -> Progress:
        """Go on, or store θ and take up another one, with a rule that remembers nothing."""
        present: ReplayState = progress.state
        seed, number = int(progress.seed), int(present.windows)
        rng = generator(seed, "replay", number)
        if not number or (self.replay.goes_on(rng) and progress.step < progress.horizon):
            return progress
        draw, age = int(progress.draw), int(progress.step)
        slots = self.replay.put(present.slots, present.state.params, draw, age, float(present.loss))
        found = self.replay.take(slots, rng)
        if found is None or found.age >= int(progress.horizon):
            newest = derive(seed, "fresh", number) % (1 << 40)
            fresh = super().begin(learner, seed, newest, done)
            return fresh._replace(state=present._replace(state=fresh.state, slots=slots))
        assert isinstance(learner, Descent)
        state = DescentState(found.params, learner.rule.init(found.params))
        place = [torch.tensor(value, device="cpu") for value in (found.draw, found.age)]
        return progress._replace(draw=place[0], step=place[1], state=present._replace(state=state, slots=slots))

    def window_of(self, learner: Learner[Any], progress: Progress) -> Batches:
        """Return the data of the next window."""
        start = int(progress.state.windows) * self.steps
        return self.episode(learner, progress).batches(start, start + self.steps)

    def after(self, progress: Progress, state: DescentState, first: Tensor, last: Tensor) -> Progress:
        """Return the progress after a window.

        Args:
            progress: Before it.
            state: The learner's after it.
            first: The window's first loss, ().
            last: Its last one, ().
        """
        present: ReplayState = progress.state
        slots = present.slots if int(present.windows) else present.slots._replace(chance=first.detach().cpu())
        present = ReplayState(detach(state), slots, present.windows + 1, last.detach().cpu())
        return progress._replace(step=progress.step + self.steps, state=present)


class ReplayedBackprop(Replayed):
    """``Backprop`` with replay, for any rule.

    Args:
        episodes: Optimizations side by side.
        window: Steps of a window.
        horizon: How old parameters may become before their episode ends; None is the task's own horizon.
        loss: The meta-loss; None is the mean along the trajectory.
        replay: What follows an episode; None is ``Replay``'s defaults.
    """

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
        names, values = zip(*learner.named_parameters(), strict=True)
        grads = torch.autograd.grad(objective, values, materialize_grads=True)
        progress = self.after(progress, state, losses[0].mean(), losses[-1].mean())
        return progress, Estimate(dict(zip(names, grads, strict=True)), objective.detach(), losses.detach().mean())
