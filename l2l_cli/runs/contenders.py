"""Contenders and problems of a contest, from settings: what commands and papers both set against each other."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.evaluation.contest import Contender, Plan, Problem
from l2l_cli.evaluation.score import Tell
from l2l_cli.evaluation.tune import Tuning
from l2l_cli.learners.base import Learner
from l2l_cli.runs.building import variation
from l2l_cli.runs.tuning import tuned

PLAIN = "as it is"
"""Name of the one problem of a grid that changes nothing."""


def problems_of(settings: Settings, shorten: int | None = None) -> list[Problem]:
    """Build the problems of an evaluation; without any, the task as it is, under an empty name.

    A problem that names a ``_target_`` is a task of its own, of another class; others say what changes in the task.

    Args:
        settings: Settings whose ``evaluation.problems`` are built; ``evaluation.steps`` bounds their horizons.
        shorten: Horizon from which on a problem is scored on as many fewer episodes, two at least; None for never.
    """
    problems = []
    for name, changes in (settings.evaluation.problems or {"": {}}).items():
        task = variation(settings, changes, f"evaluation.problems.{name}")
        plan = plan_of(settings, 1.0 if shorten is None else shorten / task.horizon)
        steps = min(settings.evaluation.steps or task.horizon, task.horizon)
        problems.append(Problem(name, task, steps, plan, {"task": settings.task, "changes": changes}))
    return problems


def plan_of(settings: Settings, share: float = 1.0) -> Plan:
    """Return the plan of an evaluation with a share of its episodes, if that is less than all."""
    plan = settings.evaluation
    return Plan(_some(plan.episodes, share), plan.seeds, plan.chunk, share)


def _some(episodes: int, share: float) -> int:
    return min(episodes, max(2, round(episodes * share)))


def hand_made_contender(name: str, settings: Settings, tell: Tell = lambda share, note: None) -> Contender:
    """Return a hand-made learner that is tuned for each problem and its horizon; ``tell`` is told of the trials."""
    return Contender(name, _tuned(settings, tell), {"learner": settings.learner})


def learned_contender(name: str, learner: Learner[Any], settings: Settings, tell: Tell | None = None) -> Contender:
    """Return a meta-trained learner, built from these settings, that is transferred to each problem.

    With ``tell``, which is told of the trials, numbers beside the meta-parameters are tuned there; None tunes nothing.
    """
    identity = {"learner": settings.learner, "weights": digest(learner)}
    if tell is not None:
        return Contender(name, _tuned(settings, tell, learner), identity)
    return Contender(name, lambda problem: (learner.on(problem.task), None), identity)


def _tuned(
    settings: Settings, tell: Tell, learned: Learner[Any] | None = None
) -> Callable[[Problem], tuple[Learner[Any], Tuning | None]]:
    """Return what tunes a learner for a problem, on as large a share of the usual episodes as it is scored on."""

    def prepare(problem: Problem) -> tuple[Learner[Any], Tuning | None]:
        plan = replace(settings.tune, episodes=_some(settings.tune.episodes, problem.plan.share))
        return tuned(replace(settings, tune=plan), problem.task, problem.steps, tell, learned)

    return prepare


def digest(learner: Learner[Any]) -> str:
    """Return 16 hex digits that name the values of a learner's meta-parameters."""
    found = hashlib.blake2b(digest_size=8)
    for name, value in sorted(learner.state_dict().items()):
        found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def variations(grid: Node, problems: Node) -> dict[str, Entries]:
    """Return what changes in the task's node by the name of the problem: every named one with every point of the grid.

    The grid has lists of values by key; a mapping in it is read as its dotted keys.

    Raises:
        UsageError: A key of the grid has no list, or a problem is no mapping.
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
    """Write a value for a problem's name: the widths [20, 20] as 20–20."""
    if isinstance(value, list):
        return "–".join(map(_short, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
