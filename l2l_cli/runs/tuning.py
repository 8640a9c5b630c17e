"""Hand-made learners: their settings, and their tuning for a task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from l2l_cli.config.build import changed
from l2l_cli.config.compose import compose
from l2l_cli.config.own_task import key_of_word
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.evaluation.kept import Trials
from l2l_cli.evaluation.law import Law
from l2l_cli.evaluation.score import Tell, criterion_for
from l2l_cli.evaluation.spaces import Space, spread
from l2l_cli.evaluation.tune import Judge, Tuned, tune
from l2l_cli.learners.base import Learner
from l2l_cli.runs.building import build_learner
from l2l_cli.tasks.base import Task

QUARTER = 4
"""One in so many settings drawn from ranges is a best setting with another choice, and at most one is ``tune.own``."""


def hand_made(name: str, overrides: Sequence[str], settings: Settings, task: Task) -> Settings:
    """Compose a hand-made learner's settings, the user's overrides before its own, and check that it builds.

    Raises:
        UsageError: There is no such learner, it does not fit the task, or it would have to be meta-trained first.
    """
    typed = [item for item in settings.overrides if not item.startswith("contenders")]
    composed = compose("compare", [*typed, *overrides], settings.config_dir)
    if build_learner(composed, task).is_meta_trained:
        raise UsageError(
            f"learner {name} has weights to be meta-trained first; name its finished run's folder instead of {name!r}"
        )
    return composed


def tuned(
    settings: Settings,
    task: Task,
    steps: int,
    tell: Tell = lambda share, note: None,
    learned: Learner[Any] | None = None,
    kept: Trials | None = None,
) -> Tuned:
    """Tune a configuration's hand-made learner for a task in phase tune, and build it with the best setting.

    Args:
        settings: Settings whose ``tune`` says what is tried and by which criterion; for null see ``criterion_for``.
        task: Task that the learner is tuned for, which need not be the configuration's.
        steps: Length of the tuning episodes, which is the horizon that the learner is tuned for.
        tell: Function that is called with the progress of the trials, each of which counts as 1.
        learned: Meta-trained learner whose φ is kept while its other numbers are tuned; None for hand-made learners.
        kept: Trials made earlier; None if none are stored.

    Raises:
        UsageError: The learner has no such key to tune.
        RunFailed: No setting gives a finite loss.
    """
    law = law_of(settings)

    def make(point: Entries) -> Learner[Any]:
        changes = {key.removeprefix("learner."): value for key, value in point.items()}
        learner = build_learner(settings, task, node=changed(settings.learner, changes, "learner"), steps=steps)
        if learned is not None:
            learner.load_state_dict(learned.state_dict())
        return learner

    if len(law.first) == 1:  # nothing to choose from
        return Tuned(make(law.first[0]), None, law.first[0])
    tuning = tune(make, law, judge_of(settings, task, steps), tell, kept)
    return Tuned(make(tuning.best.setting), tuning, tuning.best.setting)


def judge_of(settings: Settings, task: Task, steps: int) -> Judge:
    """Return the criterion and the episodes by which ``tuned`` compares settings."""
    plan = settings.tune
    return Judge(plan.episodes, steps, settings.seed, criterion_for(task, plan.criterion))


def tunable(settings: Settings) -> list[Entries]:
    """Return the settings that ``tuned`` tries first, by configuration key; [{}] if there is nothing to tune.

    Raises:
        UsageError: See ``law_of``.
    """
    return list(law_of(settings).first)


def law_of(settings: Settings) -> Law:
    """Return the law by which ``tuned`` tries settings.  Values that the user gave are not tuned.

    Raises:
        UsageError: A key is not under ``learner``, or a range is invalid.
    """
    plan, fixed = settings.tune, given(settings)
    for key in (*plan.lists, *plan.ranges):
        if not key.startswith("learner."):
            raise UsageError(
                f"tune: the learner has no key {key!r}{did_you_mean('learner.' + key, _keys(settings.learner))}"
            )
    lists = {key: values for key, values in plan.lists.items() if key not in fixed}
    space = Space(lists, {key: each for key, each in plan.drawn_from.items() if key not in fixed})
    budget = min([plan.budget, *(count for count, _ in plan.rungs[:1])])
    has_choices = space.ranges and any(len(set(map(str, values))) > 1 for values in lists.values())
    changed = budget // QUARTER if has_choices else 0
    try:
        own = _own(settings, space, min(plan.own, budget // QUARTER))
        first = own + space.settings(budget - changed - len(own), settings.seed)
    except ValueError as error:
        raise UsageError(str(error)) from error
    whole = space.ranges or len(first) == math.prod(map(len, lists.values()))
    return Law(first, plan.episodes, space, plan.extensions if whole else 0, plan.rungs, changed)


def _own(settings: Settings, space: Space, count: int) -> list[Entries]:
    """Return settings spread evenly over the first range, with the learner's own values for everything else.

    The first choice is used for keys that its node leaves out.
    """
    values = {key: each[0] for key, each in space.lists.items()} | dict(_leaves(settings.learner, "learner"))
    if count < 2 or not space.ranges or not space.ranges.keys() <= values.keys():
        return []
    own, first = {key: values[key] for key in (*space.ranges, *space.lists)}, next(iter(space.ranges))
    return [{**own, first: value} for value in spread(first, space.ranges[first], count)]


def given(settings: Settings) -> Entries:
    """Return the learner's values that the user gave, by configuration key."""
    values = dict(_leaves(settings.learner, "learner"))
    typed = [key_of_word(word) for word in settings.overrides if "=" in word and not word.startswith("~")]
    typed = [key for key in typed if key.startswith("learner.")]
    return {key: value for key, value in values.items() if any(f"{key}.".startswith(f"{one}.") for one in typed)}


def _leaves(node: Node, path: str) -> Iterator[tuple[str, object]]:
    """Yield the dotted keys of a node's leaves with their values."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.{name}")
        elif name != "_target_":
            yield f"{path}.{name}", value


def _keys(node: Node, path: str = "learner") -> list[str]:
    """Return the dotted keys of a node."""
    inner = [_keys(value, f"{path}.{name}") for name, value in node.items() if isinstance(value, Mapping)]
    return [f"{path}.{name}" for name in node if name != "_target_"] + [key for keys in inner for key in keys]
