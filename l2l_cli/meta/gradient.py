"""The interface of estimators of meta-gradients."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from l2l_cli.core.episodes import Axes, episode_axes
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Batches, Params, Phase
from l2l_cli.kernels.paths import Path
from l2l_cli.learners.base import Learner, phi_of
from l2l_cli.learners.division import init_part, sample_part
from l2l_cli.meta.horizon import Full, Horizon
from l2l_cli.parallel.ranks import Ranks
from l2l_cli.tasks.base import Episode, Task


class Progress(NamedTuple):
    """The position within the current episodes, which is all that an estimator carries from window to window.

    ``seed``, ``draw`` (the number of earlier draws of E episodes), ``step`` (the next one) and ``horizon`` are integer
    scalars, and ``state`` is the learner's state.  The data are not part of it: they are a function of seed and draw.
    """

    seed: Tensor
    draw: Tensor
    step: Tensor
    horizon: Tensor
    state: Any


class Estimate(NamedTuple):
    """A meta-gradient by φ's names, its objective, (), and the mean loss of the window, ().

    ``over`` is the number of episodes that the objective is a mean over; None is all.  ``phi`` is the next φ if the
    estimator computes it by itself; None if the optimizer moves φ by the meta-gradient.
    """

    grad: Params
    objective: Tensor
    loss: Tensor
    over: float | None = None
    phi: Params | None = None


def connected_gradient(learner: Learner[Any], objective: Tensor) -> dict[str, Tensor | None]:
    """Return the derivative of an objective, (), with respect to each φ, by name; None for one that it cannot reach."""
    phi = phi_of(learner)
    if not objective.requires_grad:
        return dict.fromkeys(phi)
    found = torch.autograd.grad(objective, list(phi.values()), allow_unused=True)
    return dict(zip(phi, found, strict=True))


def meta_gradient(learner: Learner[Any], objective: Tensor, steps: int) -> Params:
    """Return the derivative of an objective, (), with respect to each φ, by name.

    Args:
        learner: Learner whose φ is differentiated.
        objective: Meta-loss of a window, ().
        steps: Number of steps in the window.  A single step need not reach φ, since learners answer before they learn.

    Raises:
        UsageError: The objective does not depend on any φ.
    """
    found = connected_gradient(learner, objective)
    if steps > 1 and all(value is None for value in found.values()):
        raise UsageError(
            f"no meta-gradient reaches φ of {type(learner).__name__} ({', '.join(found)}): a .detach(), .item(), "
            ".data or no_grad in its code cuts φ off; remove it, or take gradient=es, which differentiates nothing"
        )
    return {
        name: torch.zeros_like(phi) if (value := found[name]) is None else value
        for name, phi in phi_of(learner).items()
    }


@torch.no_grad()
def set_phi(learner: Learner[Any], phi: Params) -> None:
    """Set the values of a learner's φ, by its names."""
    for name, value in phi_of(learner).items():
        value.copy_(phi[name])


PASSES = 2.0
"""Number of plain steps of a learner that take as long as one step of a differentiated window."""


class Estimator(ABC):
    """An estimator of the gradient of the meta-loss with respect to φ, one window of an episode at a time.

    Args:
        episodes: Number E of episodes side by side.
        window: Number of steps in a window; None is the whole episode.
        horizon: Length of episodes; None is the task's own horizon.

    Attributes:
        work: Cost of an estimate in back-propagations of the same window, to estimate the time left.
        takes_one_window: Whether it can take just one window of each episode; see ``LogUniform``.
        ranks: Ranks that the episodes are divided over, each of which estimates its own part; None does not divide.
    """

    work: float = 1.0
    takes_one_window: ClassVar[bool] = False

    def __init__(self, episodes: int, window: int | None, horizon: Horizon | None) -> None:
        if episodes < 1 or (window is not None and window < 1):
            raise ValueError(f"episodes and window must be at least 1, not {episodes} and {window}")
        self.episodes, self.window = episodes, window
        self.horizon = horizon if horizon is not None else Full()
        if self.horizon.one_window and not self.takes_one_window:
            raise ValueError(
                f"{type(self).__name__} uses all windows of an episode; set gradient.horizon.one_window=false"
            )
        self.ranks: Ranks | None = None
        self._drawn: tuple[tuple[int, int], Episode] | None = None
        self._learners: dict[Task, Learner[Any]] = {}

    def update_seconds(self, learner: Learner[Any], seeds: int = 1) -> float:
        """Return about how many seconds an update takes on one core; seeds do not share their work."""
        del seeds
        steps = min(self.window or learner.task.horizon, learner.task.horizon)
        return PASSES * self.work * steps * learner.step_seconds(self.episodes)

    def path_of(self, learner: Learner[Any]) -> Path:
        """Return the path that the learner takes in estimates."""
        return learner.path

    @abstractmethod
    def estimate(self, learner: Learner[Any], progress: Progress, done: float) -> tuple[Progress, Estimate]:
        """Return the progress after one more window, and the window's meta-gradient.

        Args:
            learner: Learner whose φ is differentiated.
            progress: Progress after the last estimate.
            done: Fraction of the updates made so far, in [0, 1].
        """

    def divided(self, ranks: Ranks) -> Self:
        """Return this estimator for one of several ranks.

        Raises:
            UsageError: There are fewer episodes than ranks.
        """
        if self.episodes < ranks.size:
            raise UsageError(
                f"{ranks.size} ranks divide the episodes of an update, but gradient.episodes={self.episodes}; use as "
                "many episodes as ranks, or fewer ranks"
            )
        twin = copy.copy(self)
        twin.ranks, twin._drawn, twin._learners = ranks, None, {}
        return twin

    def axes(self, learner: Learner[Any], seed: int, draw: int) -> Axes:
        """Return the axis of each tensor of the progress that runs over the episodes of a draw."""
        pieces = self.on_draw(learner, seed, draw).pieces
        one, two = (self.smallest(episodes).begin(learner, seed, draw, 0.0) for episodes in (1, 2))
        return episode_axes(one, two, pieces)

    def smallest(self, episodes: int) -> Self:
        """Return this estimator for some episodes in one process, with the smallest progress that it can have."""
        twin = copy.copy(self)
        twin.episodes, twin.ranks, twin._drawn, twin._learners = episodes, None, None, {}
        return twin

    def init(self, learner: Learner[Any], seed: int) -> Progress:
        """Begin the first episodes."""
        return self.begin(learner, seed, 0, 0.0)

    def begin(self, learner: Learner[Any], seed: int, draw: int, done: float) -> Progress:
        """Begin the ``draw``-th set of E episodes of a seed."""
        learner = self.on_draw(learner, seed, draw)
        horizon = self.horizon.draw(done, learner.task.horizon, generator(seed, "horizon", draw))
        state = init_part(learner.told(horizon), self.episodes, generator(seed, "learner", draw), self.ranks)
        numbers = [torch.tensor(number, device="cpu") for number in (seed, draw, 0, horizon)]
        return Progress(numbers[0], numbers[1], numbers[2], numbers[3], state)

    def on_draw(self, learner: Learner[Any], seed: int, draw: int) -> Learner[Any]:
        """Return the learner on the task of the ``draw``-th set of E episodes, the same object each time."""
        task = learner.task.drawn(derive(seed, "task", draw))
        if task is learner.task:
            return learner
        # Kept, because a learner has recorded programs and buffers for its task's model.
        if task not in self._learners:
            self._learners[task] = learner.on(task)
        return self._learners[task]

    def on_present(self, learner: Learner[Any], progress: Progress) -> Learner[Any]:
        """Return the learner on the task of the current episodes."""
        return self.on_draw(learner, int(progress.seed), int(progress.draw))

    def resume(self, learner: Learner[Any], progress: Progress, done: float) -> Progress:
        """Return ``progress``, or the beginning of the next episodes if these are over."""
        if progress.step < progress.horizon:
            return progress
        return self.begin(learner, int(progress.seed), int(progress.draw) + 1, done)

    def episode(self, learner: Learner[Any], progress: Progress) -> Episode:
        """Return the current episodes, which are the same for all windows of a draw."""
        key = int(progress.seed), int(progress.draw)
        if self._drawn is None or self._drawn[0] != key:
            seed = derive(key[0], "episode", key[1])
            task = self.on_draw(learner, *key).task
            self._drawn = key, sample_part(task, self.episodes, seed, Phase.META_TRAIN, self.ranks)
        return self._drawn[1]

    def window_of(self, learner: Learner[Any], progress: Progress) -> Batches:
        """Return the data of the next window, which may be shorter at the end of the episode."""
        start, horizon = int(progress.step), int(progress.horizon)
        stop = horizon if self.window is None else min(start + self.window, horizon)
        return self.episode(learner, progress).batches(start, stop)

    def learner_state(self, learner: Learner[Any], progress: Progress) -> object:
        """Return the learner's state before a window; one of the states where there are several."""
        del learner
        return progress.state

    def reached(self, progress: Progress, batches: Batches) -> float:
        """Return the fraction of the episode that is over after a window."""
        return (int(progress.step) + batches.steps) / int(progress.horizon)
