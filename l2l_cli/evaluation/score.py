"""Scoring: run a learner through fresh episodes and keep every step's loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.episodes import EpisodeAxis
from l2l_cli.core.errors import UsageError
from l2l_cli.core.global_draws import Draws
from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Batch, Batches, Phase
from l2l_cli.learners.base import Learner, step_losses
from l2l_cli.learners.division import init_part, sample_part
from l2l_cli.parallel.ranks import Ranks
from l2l_cli.tasks.base import Episode, Task

WINDOW = 256
"""Largest number of steps whose data are in memory at once."""

NUMBERS = 1 << 22
"""Number of inputs in memory at once if windows are read: reading inputs that left the cache costs more than steps."""


Tell = Callable[[float, str], None]
"""Function that is called with the share of some work that has just been done, and a note."""


class Scores(NamedTuple):
    """Loss of each step and episode, (T, E), and the task's further metrics, (T, E) each.

    ``extra_evaluations`` counts evaluations of the loss, its gradient or a Hessian product beyond one per step, (E,);
    None if there are none.  ``visible`` says which targets could be learned from, (T, E); None if none are hidden.
    """

    losses: Tensor
    metrics: dict[str, Tensor]
    extra_evaluations: Tensor | None = None
    visible: Tensor | None = None

    def cut(self, steps: int) -> Scores:
        """Return the scores of the first steps; extra evaluations are not known for a part of an episode."""
        visible = None if self.visible is None else self.visible[:steps]
        return Scores(self.losses[:steps], {name: each[:steps] for name, each in self.metrics.items()}, None, visible)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, as ``of`` reads them."""
        named = {"losses": self.losses, "extra_evaluations": self.extra_evaluations, "visible": self.visible}
        metrics = {f"metrics.{name}": values for name, values in self.metrics.items()}
        kept = {name: values for name, values in named.items() if values is not None} | metrics
        return {name: values.cpu().contiguous() for name, values in kept.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Scores:
        """Return the scores that ``tensors`` wrote."""
        start = "metrics."
        metrics = {name.removeprefix(start): values for name, values in tensors.items() if name.startswith(start)}
        return cls(tensors["losses"], metrics, tensors.get("extra_evaluations"), tensors.get("visible"))

    def joined(self, ranks: Ranks, episodes: int) -> Scores:
        """Return the scores of all E episodes, of which each of the ranks has a part."""
        parts = self.tensors()
        axes = {name: EpisodeAxis(0 if name == "extra_evaluations" else 1, (1,)) for name in parts}
        return Scores.of(ranks.joined(parts, axes, episodes, everywhere=True))

    @property
    def hides(self) -> bool:
        """Whether every episode hides some of its targets, so that there are held-out losses."""
        return self.visible is not None and not bool(self.visible.all(0).any())

    @property
    def held_out(self) -> Tensor:
        """The mean loss of each episode over the steps whose targets are hidden, (E,); see ``over_hidden``."""
        return self.over_hidden(self.losses)

    def over_hidden(self, values: Tensor) -> Tensor:
        """Return the mean of (T, E) over each episode's hidden steps, (E,).

        Raises:
            UsageError: Not every episode hides some of its targets.
        """
        if self.visible is None or not self.hides:
            count = len(self.losses)
            why = "the task hides nothing" if self.visible is None else f"some episodes hide none in {count} steps"
            raise UsageError(
                f"held_out is the loss over steps whose targets are hidden, but {why}; use criterion mean or final, or "
                "more steps"
            )
        hidden = 1.0 - self.visible
        return (values * hidden).sum(0) / hidden.sum(0)

    @property
    def end(self) -> Tensor:
        """The mean loss of each episode over the last tenth of its steps, at least one, (E,)."""
        return self.losses[-max(1, len(self.losses) // 10) :].mean(0)

    def by(self, criterion: str) -> float:
        """Return the mean over episodes of their "mean", "end", "final" or "held_out" loss."""
        # "mean" averages all numbers at once: a mean of means would differ in the last digits.
        return (self.losses if criterion == "mean" else self.each(criterion)).mean().item()

    def each(self, criterion: str) -> Tensor:
        """Return the "mean", "end", "final" or "held_out" loss of each episode, (E,)."""
        values = {
            "mean": lambda: self.losses.mean(0),
            "end": lambda: self.end,
            "final": lambda: self.losses[-1],
            "held_out": lambda: self.held_out,
        }
        return values[criterion]()


def criterion_for(task: Task, asked: str | None) -> str:
    """Return the criterion that is asked for, or else the default for a task."""
    return asked or ("held_out" if task.spec.hides else "mean")


def side_by_side(parts: Sequence[Scores]) -> Scores:
    """Join scores over the same number of steps along the axis of episodes."""
    extra = [part.extra_evaluations for part in parts if part.extra_evaluations is not None]
    visible = [part.visible for part in parts if part.visible is not None]
    return Scores(
        torch.cat([part.losses for part in parts], 1),
        {name: torch.cat([part.metrics[name] for part in parts], 1) for name in parts[0].metrics},
        torch.cat(extra) if extra else None,
        torch.cat(visible, 1) if visible else None,
    )


def score(
    learner: Learner[Any],
    episodes: int,
    steps: int,
    seed: int,
    phase: Phase,
    chunk: int = 1024,
    ranks: Ranks | None = None,
) -> Scores:
    """Run a learner through E fresh episodes of T steps, ``chunk`` of them side by side, which bounds the memory.

    What is drawn depends only on (seed, phase, episodes, chunk), so every learner meets the same data.
    """
    return score_together([learner], episodes, steps, seed, phase, chunk, ranks=ranks)[0]


@torch.no_grad()
def score_together(
    learners: Sequence[Learner[Any]],
    episodes: int,
    steps: int,
    seed: int,
    phase: Phase,
    chunk: int = 1024,
    tell: Tell = lambda share, note: None,
    ranks: Ranks | None = None,
) -> list[Scores]:
    """Score learners of one task side by side, so that each batch is drawn once for all; see ``score``.

    ``tell`` is called with each share of the steps once they have been made.  Ranks, if any, divide the episodes.
    """
    parts = []
    for start in range(0, episodes, chunk):
        count = min(chunk, episodes - start)

        def made(step: int, until: int, share: float = count / episodes) -> None:
            tell(share * (until - step) / steps, f"step {until} of {steps}")

        # If there are fewer episodes than ranks, each rank scores all of them.
        divided = ranks if ranks is not None and count >= ranks.size else None
        scores = _score_chunk(learners, count, steps, derive(seed, "chunk", start), phase, made, divided)
        parts.append([one if divided is None else one.joined(divided, count) for one in scores])
    return [side_by_side(scores) for scores in zip(*parts, strict=True)]


def _score_chunk(
    learners: Sequence[Learner[Any]],
    episodes: int,
    steps: int,
    seed: int,
    phase: Phase,
    made: Callable[[int, int], None],
    ranks: Ranks | None,
) -> Iterator[Scores]:
    task = learners[0].task
    episode = sample_part(task, episodes, seed, phase, ranks)
    walks = []
    for learner in learners:
        with Draws(seed, phase) as draws:
            state = init_part(learner.told(steps), episodes, generator(seed, "learner", phase), ranks)
        walks.append(_Walk(learner, state, draws))
    window = max(1, min(WINDOW, NUMBERS // (episodes * task.spec.examples * math.prod(task.spec.inputs))))
    follow = len(walks) == 1 and learners[0].follows and window < min(WINDOW, steps)
    window = WINDOW if follow else window
    for start in range(0, steps, window):
        stop = min(start + window, steps)
        if follow:
            walks[0].follow(episode, start, stop)
        else:
            batches = episode.batches(start, stop)
            for walk in walks:
                walk.unroll(batches)
        made(start, stop)
    return (walk.scores() for walk in walks)


class _Walk:
    """A learner on its way through its episodes, with its scores so far."""

    def __init__(self, learner: Learner[Any], state: object, draws: Draws) -> None:
        self._learner, self._state, self._draws = learner, state, draws
        self._losses: list[Tensor] = []
        self._metrics: dict[str, list[Tensor]] = {}
        self._visible: list[Tensor] = []

    def unroll(self, batches: Batches) -> None:
        """Go through batches that are in memory."""
        with self._draws:
            self._state, outputs = self._learner.unroll(self._state, batches)
        self._note(outputs, batches.targets, batches.shown)

    def follow(self, episode: Episode, start: int, stop: int) -> None:
        """Go through the steps ``start`` … ``stop`` − 1, with the inputs of one step in memory at a time."""
        targets: list[Tensor] = []
        shown: list[Tensor] = []

        def read(step: int) -> Batch:
            batch = episode.batch(start + step)
            targets.append(batch.targets)
            shown.extend([] if batch.shown is None else [batch.shown])
            return batch

        with self._draws:
            self._state, outputs = self._learner.follow(self._state, read, stop - start)
        self._note(outputs, torch.stack(targets), torch.stack(shown) if shown else None)

    def _note(self, outputs: Tensor, targets: Tensor, shown: Tensor | None) -> None:
        task = self._learner.task
        self._losses.append(step_losses(task, outputs, targets))
        self._visible += [] if shown is None else [shown]
        for name, values in task.metrics(outputs.flatten(0, 1), targets.flatten(0, 1)).items():
            self._metrics.setdefault(name, []).append(values.view(outputs.shape[:2]))

    def scores(self) -> Scores:
        """Return the scores of all steps."""
        metrics = {name: torch.cat(values) for name, values in self._metrics.items()}
        visible = torch.cat(self._visible) if self._visible else None
        return Scores(torch.cat(self._losses), metrics, self._learner.extra_evaluations(self._state), visible)
