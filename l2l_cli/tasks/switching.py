"""Functions of two arguments that change without notice.

Source: Hochreiter, Younger and Conwell 2001, abstract: the learned algorithm should also predict non-stationary
series; the paper shows no such experiment, so how functions change is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from l2l_cli.core.random import derive, generator, uniform
from l2l_cli.core.types import Batches, Phase, Split
from l2l_cli.tasks.base import BlockEpisode
from l2l_cli.tasks.functions import BLOCK, ExampleTask, FunctionTask


class SwitchingEpisode(BlockEpisode):
    """Sequences of examples of functions that are replaced at each step with the same probability.

    Args:
        task: Task whose sequences these are.
        episodes: Number E of sequences.
        seed: Seed of functions, changes and inputs.
    """

    length = BLOCK

    def __init__(self, task: Switching, episodes: int, seed: int) -> None:
        self._task = task
        self._episodes = episodes
        self._seed = seed
        self._functions: dict[int, tuple[Tensor, Tensor]] = {}
        self._blocks: dict[tuple[int, Split], Batches] = {}

    def age(self, start: int, stop: int) -> Tensor:
        """Return how many examples of the current function there are up to and including each step, (T, E)."""
        blocks = [self._function(block)[1] for block in range(start // BLOCK, (stop - 1) // BLOCK + 1)]
        first = start - (start // BLOCK) * BLOCK
        return torch.cat(blocks)[first : first + stop - start]

    def block(self, number: int, split: Split) -> Batches:
        """Return a block; each is drawn only once."""
        if (number, split) not in self._blocks:
            family = self._task.family
            inputs = family.draw_inputs(BLOCK, self._episodes, generator(self._seed, "inputs", split, number))
            targets = family.evaluate(self._function(number)[0], inputs)
            self._blocks[number, split] = Batches(inputs.unsqueeze(2), targets[:, :, None, None])
        return self._blocks[number, split]

    def _function(self, block: int) -> tuple[Tensor, Tensor]:
        """Return the coefficients in force at each step of a block, (BLOCK, E, K), and their age, (BLOCK, E)."""
        if block not in self._functions:
            family, episodes = self._task.family, self._episodes
            rng = generator(self._seed, "switch", block)
            starts = uniform((BLOCK, episodes), 0.0, 1.0, rng) < 1.0 / self._task.every
            fresh = family.draw_coefficients(BLOCK * episodes, rng).view(BLOCK, episodes, -1)
            if block == 0:
                starts[0] = True
            step = torch.arange(BLOCK).unsqueeze(1)
            latest = torch.where(starts, step, -1).cummax(0).values
            present = fresh.gather(0, latest.clamp(min=0).unsqueeze(2).expand_as(fresh))
            age = step - latest + 1
            if block > 0:
                old, old_age = (value[-1] for value in self._function(block - 1))
                present = torch.where(latest.unsqueeze(2) < 0, old, present)
                age = torch.where(latest < 0, old_age + step + 1, age)
            self._functions[block] = present, age
        return self._functions[block]


class Switching(ExampleTask):
    """Sequences of examples in which the function changes at random, unannounced.

    Args:
        family: Family of the functions; its own sequence length is not used.
        every: Mean number of examples between two changes: each step begins a new function with probability 1 / every.
        length: Number of examples in a sequence.
    """

    def __init__(self, family: FunctionTask, every: int = 64, length: int = 512) -> None:
        if every < 1 or length < 1:
            raise ValueError(f"every and length must be at least 1, not {every} and {length}")
        self.family, self.every = family, every
        self.horizon = length
        self.spec = family.spec
        self.model = family.model

    def sample(self, episodes: int, seed: int, phase: Phase) -> SwitchingEpisode:
        """Draw E sequences."""
        return SwitchingEpisode(self, episodes, derive(seed, "switching", phase))
