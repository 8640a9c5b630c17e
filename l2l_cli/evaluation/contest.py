"""One contest: contenders × problems × seeds × episodes, each contender tuned for a problem or transferred to it.

All that compares learners goes through ``play``: ``compare``, the grid of ``evaluate``, and every paper.  Everybody
meets the same episodes, which depend on the problem and the seed alone, so that comparisons are paired.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from l2l_cli.core.files import atomic_write
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import Scores, Tell, score_together, side_by_side
from l2l_cli.evaluation.tune import Tuning
from l2l_cli.learners.base import Learner
from l2l_cli.results.run import identity
from l2l_cli.tasks.base import Task

DIVERGED = 2.0
"""An episode whose last loss is this multiple of its first, or not finite, counts as diverged."""


class Plan(NamedTuple):
    """How contenders are scored.

    Attributes:
        episodes: Number of episodes for each seed.
        seeds: Seeds of the episodes.
        chunk: Number of episodes side by side, which bounds the memory.
        share: Share of the usual number of episodes that this is; contenders are tuned on as large a share.
    """

    episodes: int
    seeds: Sequence[int]
    chunk: int
    share: float = 1.0


class Problem(NamedTuple):
    """A variation of a task that contenders are scored on.

    Attributes:
        name: Name in tables; empty where there is one problem alone.
        task: The task itself.
        steps: Number T of steps of an episode.
        plan: How contenders are scored there.
        identity: Configuration of the task.
    """

    name: str
    task: Task
    steps: int
    plan: Plan
    identity: Mapping[str, Any]


class Entry(NamedTuple):
    """A contender on a problem, ready to be scored; ``tuning`` chose its setting, if anything was tuned."""

    contender: str
    problem: Problem
    learner: Learner[Any]
    tuning: Tuning | None
    identity: Mapping[str, Any]


class Contender(NamedTuple):
    """Somebody who is scored.

    Attributes:
        name: Name in tables.
        prepare: Function that tunes the learner for a problem or transfers it there, and returns it with its tuning.
        identity: Configuration of the learner, with its meta-parameters where it has some.
    """

    name: str
    prepare: Callable[[Problem], tuple[Learner[Any], Tuning | None]]
    identity: Mapping[str, Any]

    def enter(self, problem: Problem) -> Entry:
        """Return the contender on a problem."""
        return Entry(self.name, problem, *self.prepare(problem), self.identity)


class Standing(NamedTuple):
    """The scores of an entry, one for each seed of the plan."""

    entry: Entry
    scores: list[Scores]

    @property
    def joined(self) -> Scores:
        """The scores of all seeds along one axis of episodes."""
        return side_by_side(self.scores)

    def cut(self, steps: int) -> Standing:
        """Return the first steps alone: what a learner does at step t does not depend on what comes later."""
        return Standing(
            self.entry._replace(problem=self.entry.problem._replace(steps=steps)),
            [one.cut(steps) for one in self.scores],
        )

    @property
    def ends(self) -> Tensor:
        """The last step's loss of each episode, or its held-out loss; infinite where it is not finite, (episodes,)."""
        joined = self.joined
        last = joined.losses.double()[-1] if joined.visible is None else joined.held_out.double()
        return torch.where(last.isfinite(), last, math.inf)

    @property
    def diverged(self) -> float:
        """Share of the episodes that diverged; see ``DIVERGED``.

        Where targets are hidden an episode's first loss is that of one sample, so the mean first loss stands for it.
        """
        joined = self.joined
        first = joined.losses.double()[0]
        first = first if joined.visible is None else first.mean()
        return 1.0 - (self.ends <= DIVERGED * first).double().mean().item()

    @property
    def metrics(self) -> dict[str, float]:
        """The task's further metrics at the last step, or over the hidden steps, means over episodes."""
        joined = self.joined
        return {
            name: (values[-1] if joined.visible is None else joined.over_hidden(values)).mean().item()
            for name, values in joined.metrics.items()
        }

    @property
    def evaluations(self) -> float:
        """Evaluations of the loss or its derivatives per step, mean over episodes; 1 for a first-order rule."""
        extra = self.joined.extra_evaluations
        return 1.0 if extra is None else 1.0 + extra.mean().item() / self.entry.problem.steps


def play(
    contenders: Iterable[Contender],
    problems: Sequence[Problem],
    store: ScoreStore | None = None,
    phase: Phase = Phase.TEST,
) -> Iterator[Standing]:
    """Score every contender on every problem, one after the other, each tuned or transferred right before it is scored.

    Scores are kept in ``store``, and found again by the next attempt of the same run.
    """
    for contender in contenders:
        for problem in problems:
            yield scored(contender.enter(problem), store, phase)


def scored(
    entry: Entry,
    store: ScoreStore | None = None,
    phase: Phase = Phase.TEST,
    tell: Tell = lambda share, note: None,
) -> Standing:
    """Score one entry, of whose steps ``tell`` is told as they go on; see ``play``."""
    plan, steps, scores = entry.problem.plan, entry.problem.steps, []

    def heard(share: float, note: str) -> None:
        tell(share / len(plan.seeds), f"{entry.problem.name} {note}".strip())

    for seed in plan.seeds:
        key = _identity(entry, seed, phase)
        found = store.read(key) if store else None
        if found is None:
            with LEDGER.of("scoring"):
                (found,) = score_together([entry.learner], plan.episodes, steps, seed, phase, plan.chunk, heard)
            if store:
                store.keep(key, found)
        scores.append(found)
    return Standing(entry, scores)


def _identity(entry: Entry, seed: int, phase: Phase) -> dict[str, Any]:
    """Return all that decides a score: who, at which setting, on what, in which phase, by which seed, for how long."""
    problem = entry.problem
    return {
        "contender": dict(entry.identity),
        "setting": entry.tuning.best.setting if entry.tuning else {},
        "problem": dict(problem.identity),
        "phase": str(phase.value),
        "seed": seed,
        "steps": problem.steps,
        "episodes": problem.plan.episodes,
        "chunk": problem.plan.chunk,
    }


class ScoreStore:
    """Scores in files of a folder that are named by what decided them; each file holds that identity as JSON."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clear(self) -> None:
        """Forget all scores."""
        for path in self._folder.glob("*.safetensors"):
            path.unlink()

    def path(self, key: Mapping[str, Any]) -> Path:
        """Return the file of an identity."""
        return self._folder / f"{identity(key)}.safetensors"

    def keep(self, key: Mapping[str, Any], scores: Scores) -> None:
        """Write scores under their identity."""
        self._folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self.path(key), save(scores.tensors(), {"identity": json.dumps(key, default=str)}))

    def read(self, key: Mapping[str, Any]) -> Scores | None:
        """Return the scores of an identity; None if there are none."""
        path = self.path(key)
        if not path.is_file():
            return None
        with safe_open(path, "pt") as file:
            if file.metadata()["identity"] != json.dumps(key, default=str):  # eight digits name more than one thing
                return None
            return Scores.of({name: file.get_tensor(name) for name in file.keys()})
