"""Scoring: run a learner through fresh episodes and keep every step's loss."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.base import Learner, step_losses

WINDOW = 256
"""Steps whose data are in memory at once, at most."""

NUMBERS = 1 << 22
"""Numbers of inputs in memory at once: what leaves the cache before it is used costs more than the steps."""


class Scores(NamedTuple):
    """Loss of each step and episode, (T, E), and the task's further metrics, (T, E) each.

    ``looks`` is how often the learner looked at each episode's batches beyond once a step, (E,); None if never.
    """

    losses: Tensor
    metrics: dict[str, Tensor]
    looks: Tensor | None = None


@torch.no_grad()
def score(learner: Learner[Any], episodes: int, steps: int, seed: int, phase: Phase, chunk: int = 1024) -> Scores:
    """Run a learner through E fresh episodes of T steps.

    What is drawn depends on (seed, phase, episodes, chunk) alone, so every learner meets the same data.

    Args:
        learner: Who is scored, on its own task.
        episodes: Number E of episodes.
        steps: Number T of steps.
        seed: Of the episodes and of the learner's own draws.
        phase: Which of the four disjoint sources to draw from.
        chunk: Episodes side by side; bounds the memory.
    """
    parts = [
        _score_chunk(learner, min(chunk, episodes - start), steps, derive(seed, "chunk", start), phase)
        for start in range(0, episodes, chunk)
    ]
    names = parts[0].metrics
    looks = [part.looks for part in parts if part.looks is not None]
    return Scores(
        torch.cat([part.losses for part in parts], 1),
        {name: torch.cat([part.metrics[name] for part in parts], 1) for name in names},
        torch.cat(looks) if looks else None,
    )


def _score_chunk(learner: Learner[Any], episodes: int, steps: int, seed: int, phase: Phase) -> Scores:
    task = learner.task
    episode = task.sample(episodes, seed, phase)
    state = learner.init(episodes, generator(seed, "learner", phase))
    losses: list[Tensor] = []
    metrics: dict[str, list[Tensor]] = {}
    window = max(1, min(WINDOW, NUMBERS // (episodes * task.spec.examples * math.prod(task.spec.inputs))))
    for start in range(0, steps, window):
        batches = episode.batches(start, min(start + window, steps))
        state, outputs = learner.unroll(state, batches)
        losses.append(step_losses(task, outputs, batches.targets))
        flat = task.metrics(outputs.flatten(0, 1), batches.targets.flatten(0, 1))
        for name, values in flat.items():
            metrics.setdefault(name, []).append(values.view(batches.steps, episodes))
    joined = {name: torch.cat(values) for name, values in metrics.items()}
    return Scores(torch.cat(losses), joined, learner.looks(state))
