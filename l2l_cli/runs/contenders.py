"""Contenders and problems of a contest, built from settings; shared by commands and papers."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from l2l_cli.config.build import changed
from l2l_cli.config.hardware import Hardware
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.contest import Contender, Plan, Problem
from l2l_cli.evaluation.kept import Trials, labels_of
from l2l_cli.evaluation.score import Tell
from l2l_cli.evaluation.tune import Tuned, recalled
from l2l_cli.learners.base import Learner
from l2l_cli.results.store import Store
from l2l_cli.runs.building import variation
from l2l_cli.runs.tuning import given, judge_of, law_of, tuned
from l2l_cli.tasks.base import Task

PLAIN = "as it is"
"""Name of the only problem of a grid that changes nothing."""


def problems_of(settings: Settings, shorten: int | None = None) -> list[Problem]:
    """Build the problems of an evaluation; without any, the unchanged task under an empty name.

    A problem with a ``_target_`` is a task of its own, of another class; others list changes to the task.

    Args:
        settings: Settings whose ``evaluation.problems`` are built; ``evaluation.steps`` bounds their horizons.
        shorten: Horizon above which a problem is scored on proportionally fewer episodes, at least two; None for never.
    """
    problems = []
    for name, changes in (settings.evaluation.problems or {"": {}}).items():
        task = variation(settings, changes, f"evaluation.problems.{name}")
        plan = plan_of(settings, 1.0 if shorten is None else shorten / task.horizon)
        steps = min(settings.evaluation.steps or task.horizon, task.horizon)
        problems.append(Problem(name, task, steps, plan, identity_of_task(settings, task, changes)))
    return problems


def identity_of_task(settings: Settings, task: Task, changes: Node | None = None) -> Entries:
    """Return what determines a task's episodes: its node after some changes, and a fingerprint of its data."""
    given = changes or {}
    node = dict(given) if "_target_" in given else changed(settings.task, given, "task")
    data = task.fingerprint()
    return {"task": node, **({"data": data} if data else {})}


def plan_of(settings: Settings, share: float = 1.0) -> Plan:
    """Return the plan of an evaluation with a share of its episodes, if the share is below 1."""
    plan = settings.evaluation
    return Plan(_some(plan.episodes, share), plan.seeds, plan.chunk, share)


def _some(episodes: int, share: float) -> int:
    return min(episodes, max(2, round(episodes * share)))


def hand_made_contender(
    name: str, settings: Settings, tell: Tell = lambda share, note: None, store: Store | None = None
) -> Contender:
    """Return a hand-made learner that is tuned for each problem and its horizon.

    Args:
        name: Name in tables.
        settings: Configuration of the learner and of its tuning.
        tell: Function that is called with the progress of the trials.
        store: Store that keeps the trials; None if nothing is kept.
    """
    return _Tuned(name, settings, tell, store).contender


def learned_contender(
    name: str,
    learner: Learner[Any],
    settings: Settings,
    tell: Tell | None = None,
    store: Store | None = None,
) -> Contender:
    """Return a meta-trained learner that is transferred to each problem.

    Args:
        name: Name in tables.
        learner: The learner.
        settings: Configuration that it was built from.
        tell: Function that is called with the progress of the trials, if numbers other than meta-parameters are tuned
            for each problem; None tunes nothing.
        store: Store that keeps the trials; None if nothing is kept.
    """
    if tell is not None:
        return _Tuned(name, settings, tell, store, learner).contender
    return Contender(name, lambda problem: Tuned(learner.on(problem.task)), identity_of_learner(settings, learner))


def identity_of_learner(settings: Settings, learned: Learner[Any] | None = None) -> Entries:
    """Return what determines what a learner does: its node, its meta-parameters if it is learned, and its precision."""
    weights = {} if learned is None else {"weights": digest(learned)}
    low = settings.hardware.precision != Hardware.precision
    return {"learner": settings.learner, **weights, **({"precision": settings.hardware.precision} if low else {})}


@dataclass(frozen=True)
class _Tuned:
    """A learner that is tuned for each problem, on the same share of the usual episodes as it is scored on."""

    name: str
    settings: Settings
    tell: Tell
    store: Store | None
    learned: Learner[Any] | None = None

    @cached_property
    def contender(self) -> Contender:
        fixed = given(self.settings) if self.learned is None else {}
        return Contender(self.name, self._prepare, self._identity, self._recall, fixed)

    @cached_property
    def _identity(self) -> Entries:
        return identity_of_learner(self.settings, self.learned)

    def _prepare(self, problem: Problem) -> Tuned:
        kept = self._kept(problem, self.store) if self.store else None
        return tuned(self._shared(problem), problem.task, problem.steps, self.tell, self.learned, kept)

    def _recall(self, problem: Problem) -> tuple[int, Node]:
        law = law_of(self._shared(problem))
        if len(law.first) == 1:
            return 0, law.first[0]
        return recalled(law, self._kept(problem, self.store)) if self.store else (len(law.first), {})

    def _shared(self, problem: Problem) -> Settings:
        plan, share = self.settings.tune, problem.plan.share
        halving = plan.halving and {**plan.halving, "episodes": [_some(each, share) for _, each in plan.rungs]}
        return replace(self.settings, tune=replace(plan, episodes=_some(plan.episodes, share), halving=halving))

    def _kept(self, problem: Problem, store: Store) -> Trials:
        """Return the trials of a problem, by all that determines them besides the setting."""
        judge = judge_of(self._shared(problem), problem.task, problem.steps)
        key = {"contender": self._identity, "problem": problem.identity, "phase": Phase.TUNE.value, **judge._asdict()}
        labels = labels_of(self.name, self._identity, problem.name, problem.identity, Phase.TUNE.value, judge.seed)
        return Trials(store, key, labels | {name: judge._asdict()[name] for name in ("criterion", "steps", "episodes")})


def digest(learner: Learner[Any]) -> str:
    """Return 16 hex digits that name the values of a learner's meta-parameters."""
    found = hashlib.blake2b(digest_size=8)
    for name, value in sorted(learner.state_dict().items()):
        found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def variations(grid: Node, problems: Node) -> dict[str, Entries]:
    """Return the changes to the task's node by the name of the problem: each named problem at each point of the grid.

    The grid maps keys to lists of values; nested mappings are read as dotted keys.

    Raises:
        UsageError: A key of the grid has no list, or a problem is not a mapping.
    """
    for name, changes in problems.items():
        if not isinstance(changes, Mapping):
            raise UsageError(
                f"evaluation.problems.{name} must say what changes in the task, as in {{hidden: [40]}}, not {changes!r}"
            )
    axes = dict(_axes(grid))
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    result = {}
    for (name, changes), point in itertools.product((problems or {"": {}}).items(), points):
        words = [str(name), *(f"{key}={_short(value)}" for key, value in point.items())]
        result[", ".join(filter(None, words)) or PLAIN] = {**changes, **point}
    return result


def _axes(grid: Node, path: str = "") -> Iterator[tuple[str, Sequence[object]]]:
    for key, values in grid.items():
        if isinstance(values, Mapping):
            yield from _axes(values, f"{path}{key}.")
        elif isinstance(values, list) and values:
            yield f"{path}{key}", values
        else:
            raise UsageError(f"evaluation.grid.{path}{key} must be a list of values, as in [20,40], not {values!r}")


def _short(value: object) -> str:
    """Format a value for a problem's name: the widths [20, 20] become 20–20."""
    if isinstance(value, list):
        return "–".join(map(_short, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
