"""Episodes that are divided over ranks: each rank draws all episodes and runs its own part of them."""

from __future__ import annotations

from typing import Any

from torch import Generator

from l2l_cli.core.episodes import Axes, episode_axes, part_of
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.base import Learner, State
from l2l_cli.parallel.ranks import Ranks
from l2l_cli.tasks.base import Episode, Task
from l2l_cli.tasks.divided import DividedEpisode


def axes_of(learner: Learner[Any]) -> Axes:
    """Return the axis of each tensor of a learner's state that holds the episodes."""
    one, two = (learner.init(episodes, generator(0)) for episodes in (1, 2))
    return episode_axes(one, two, learner.pieces)


def init_part(learner: Learner[State], episodes: int, rng: Generator, ranks: Ranks | None) -> State:
    """Return the state of this rank's part of E episodes before the first example; without ranks, of all of them."""
    state = learner.init(episodes, rng)
    return state if ranks is None else part_of(state, axes_of(learner), ranks.span(episodes))


def sample_part(task: Task, episodes: int, seed: int, phase: Phase, ranks: Ranks | None) -> Episode:
    """Draw E episodes and return this rank's part of them; without ranks, all of them."""
    drawn = task.sample(episodes, seed, phase)
    return drawn if ranks is None else DividedEpisode(drawn, ranks.span(episodes))
