"""The hand-made contenders of a comparison, including those that ``all`` stands for and that fit the task."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Self

import torch

from l2l_cli.config.groups import ALL, ANY_CLASS
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.base import Learner
from l2l_cli.runs.building import build_learner
from l2l_cli.runs.memory import refuse_excess_of_scoring
from l2l_cli.runs.tuning import hand_made
from l2l_cli.tasks.base import Task

EPISODES, STEPS = 2, 2
"""Size of the trial that shows whether a learner takes a task's data."""


class Invited(NamedTuple):
    """Hand-made contenders.

    Attributes:
        asked: Overrides by the name that the user gave, without those that are left out.
        prepared: Settings by name in tables.
        left_out: Reasons, by name, why contenders that ``all`` stands for do not apply.
    """

    asked: Mapping[str, list[str]]
    prepared: Mapping[str, Settings]
    left_out: Mapping[str, str]

    @classmethod
    def to(cls, asked: Mapping[str, list[str]], learners: Collection[str], settings: Settings, task: Task) -> Self:
        """Prepare the contenders that were named, and those among the ones that only ``all`` stands for that apply.

        Raises:
            UsageError: A contender that was named does not apply, or none does.
        """
        prepared, left_out = {}, {}
        for name, words in asked.items():
            by_name = ALL not in learners or name in learners or name in settings.contenders
            try:
                one = hand_made(name, words, settings, task)
                learner = build_learner(one, task)
                refuse_excess_of_scoring(settings, learner)
                prepared[name if by_name else _title(name, one, learner)] = one
            except UsageError as error:
                if by_name:
                    raise
                left_out[name] = str(error)
        if not prepared and left_out:
            first = next(iter(left_out.items()))
            raise UsageError(f"none of {ALL} applies to this task; for example, {first[0]}: {first[1]}")
        return cls({name: words for name, words in asked.items() if name not in left_out}, prepared, left_out)


def _title(name: str, settings: Settings, learner: Learner[Any]) -> str:
    """Return a learner's name in tables for ``all``, after trying it on a few batches.

    Raises:
        UsageError: It does not accept the task's data.
    """
    task = learner.task
    with torch.no_grad():
        batches = task.sample(EPISODES, 0, Phase.META_TRAIN).batches(0, min(STEPS, task.horizon))
        state, _ = learner.unroll(learner.init(EPISODES, generator(0)), batches)
    if learner.is_limit:
        return f"{name} (limit)"
    if name == ANY_CLASS:
        return str(settings.learner["optimizer"])
    extra = learner.extra_evaluations(state)
    return f"{name} (solver)" if extra is not None and extra.any() else name
