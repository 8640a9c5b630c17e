"""The comparison of contenders on problems, over seeds and episodes, each tuned for a problem or transferred to it.

Every comparison of learners goes through ``scored``: ``compare``, ``evaluate`` with its grid, and every paper.  All
contenders meet the same episodes, which depend only on the problem and the seed, so that comparisons are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.fingerprint import of_code
from l2l_cli.core.nodes import Node
from l2l_cli.core.printable import counted
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.kept import find_scores, keep_scores, labels_of, measured
from l2l_cli.evaluation.score import Scores, Tell, score_together, side_by_side
from l2l_cli.evaluation.tune import Tuned, Tuning, shown
from l2l_cli.learners.base import Learner
from l2l_cli.results.store import SCORES, Store
from l2l_cli.tasks.base import Task

DIVERGED = 2.0
"""An episode whose last loss is this multiple of its first, or not finite, counts as diverged."""


class Plan(NamedTuple):
    """The episodes on which contenders are scored.

    Attributes:
        episodes: Number of episodes for each seed.
        seeds: Seeds of the episodes.
        chunk: Largest number of episodes side by side, which bounds the memory.
        share: Share of the usual number of episodes; tuning uses the same share of its own episodes.
    """

    episodes: int
    seeds: Sequence[int]
    chunk: int
    share: float = 1.0


class Problem(NamedTuple):
    """A variation of a task that contenders are scored on.

    Attributes:
        name: Name in tables; empty where there is only one problem.
        task: The task itself.
        steps: Number T of steps of an episode.
        plan: Plan by which contenders are scored on it.
        identity: Configuration of the task, and a fingerprint of the data that it reads.
    """

    name: str
    task: Task
    steps: int
    plan: Plan
    identity: Mapping[str, Any]


class Entry(NamedTuple):
    """A contender on a problem, ready to be scored.

    Attributes:
        contender: Name of the contender.
        problem: The problem.
        learner: Learner with its setting.
        tuning: Trials that chose the setting, if anything was tuned.
        identity: Configuration of the learner and its setting.
        chosen: Description of how its setting was chosen, for tables.
    """

    contender: str
    problem: Problem
    learner: Learner[Any]
    tuning: Tuning | None
    identity: Mapping[str, Any]
    chosen: str = "nothing to tune"


class Contender(NamedTuple):
    """A contender, with all that is needed to score it.

    Attributes:
        name: Name in tables.
        prepare: Function that tunes the learner for a problem or transfers it to the problem.
        identity: Configuration of the learner, with its meta-parameters where it has some.
        recall: Function that returns, without computing anything, how many settings ``prepare`` has still to try on a
            problem and, if there are none, the setting that it would choose.
        given: Values that the user gave and that are not tuned, by configuration key.
    """

    name: str
    prepare: Callable[[Problem], Tuned]
    identity: Mapping[str, Any]
    recall: Callable[[Problem], tuple[int, Node]] = lambda problem: (0, {})
    given: Node = MappingProxyType({})

    def enter(self, problem: Problem) -> Entry:
        """Return the contender on a problem."""
        tuned = self.prepare(problem)
        learner, tuning, setting = tuned
        chosen = "meta-trained" if learner.is_meta_trained and not tuning else tuned.chosen
        chosen = f"{shown(self.given)} as given, {chosen}" if self.given else chosen
        return Entry(self.name, problem, learner, tuning, self._at(setting), chosen)

    def missing(self, problem: Problem, store: Store, phase: Phase = Phase.TEST) -> int:
        """Return how many trials and sets of test episodes are still to be computed on a problem, without doing so."""
        trials, setting = self.recall(problem)
        if trials:
            return trials + len(problem.plan.seeds)
        keys = (_key(problem, self._at(setting), seed, phase) for seed in problem.plan.seeds)
        return sum(not store.known(SCORES, key) for key in keys)

    def _at(self, setting: Node) -> Node:
        return {**self.identity, "setting": dict(setting)}


class Unit(NamedTuple):
    """One contender on one problem, which is computed and stored as a whole, in this process or another one."""

    contender: Contender
    problem: Problem

    @property
    def name(self) -> str:
        """Name that is unique among the units of a command."""
        return ", ".join(filter(None, [self.contender.name, self.problem.name, counted(self.problem.steps, "step")]))

    def missing(self, store: Store) -> int:
        """Return how many trials and sets of test episodes are still to be computed."""
        return self.contender.missing(self.problem, store)

    def play(self, store: Store | None = None, phase: Phase = Phase.TEST) -> Standing:
        """Tune or transfer the contender, and score it."""
        return scored(self.contender.enter(self.problem), store, phase)


class Standing(NamedTuple):
    """The scores of an entry, one for each seed of the plan."""

    entry: Entry
    scores: list[Scores]

    @property
    def joined(self) -> Scores:
        """The scores of all seeds along one axis of episodes."""
        return side_by_side(self.scores)

    def cut(self, steps: int) -> Standing:
        """Return the standing over the first steps; what a learner does at a step does not depend on later ones."""
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

        Where targets are hidden, an episode's first loss is that of one sample, so the mean first loss replaces it.
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


def units_of(contenders: Iterable[Contender], problems: Sequence[Problem]) -> list[Unit]:
    """Return every contender on every problem, one contender after the other."""
    return [Unit(contender, problem) for contender in contenders for problem in problems]


def read_by(units: Iterable[Unit]) -> dict[str, Any]:
    """Return fingerprints of the foreign code and of the data that units read; empty if there are none."""
    nodes = [node for unit in units for node in (unit.contender.identity, unit.problem.identity)]
    parts = {"code": of_code(nodes), "data": sorted({node["data"] for node in nodes if "data" in node})}
    found = {name: part for name, part in parts.items() if part}
    return {"sources": found} if found else {}


def scored(
    entry: Entry,
    store: Store | None = None,
    phase: Phase = Phase.TEST,
    tell: Tell = lambda share, note: None,
) -> Standing:
    """Score one entry for each seed of its plan, or find its scores in ``store``, where they are kept.

    ``tell`` is called as the steps are made.
    """
    plan = entry.problem.plan

    def heard(share: float, note: str) -> None:
        tell(share / len(plan.seeds), f"{entry.problem.name} {note}".strip())

    return Standing(entry, [_scored(entry, store, seed, phase, heard) for seed in plan.seeds])


def _scored(entry: Entry, store: Store | None, seed: int, phase: Phase, tell: Tell) -> Scores:
    problem, plan = entry.problem, entry.problem.plan
    key = _key(problem, entry.identity, seed, phase)
    found = find_scores(store, key) if store else None
    if found is not None:
        return found
    with measured("scoring") as cost:
        (made,) = score_together([entry.learner], plan.episodes, problem.steps, seed, phase, plan.chunk, tell)
        made = Scores.of(made.tensors())  # on the CPU, as if read from the store
    if store:
        labels = labels_of(entry.contender, entry.identity, problem.name, problem.identity, phase.value, seed)
        keep_scores(store, key, labels, made, cost)
    return made


def _key(problem: Problem, contender: Node, seed: int, phase: Phase) -> dict[str, Any]:
    """Return all that determines a score: contender, setting, problem, phase, seed, steps, episodes and dtype."""
    return {
        "contender": dict(contender),
        "problem": dict(problem.identity),
        "phase": str(phase.value),
        "seed": seed,
        "steps": problem.steps,
        "episodes": problem.plan.episodes,
        "chunk": min(problem.plan.chunk, problem.plan.episodes),
        "dtype": str(torch.get_default_dtype()),
    }
