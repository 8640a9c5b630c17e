"""Variations of a task for meta-training: which of its settings change from one draw of episodes to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from l2l_cli.config.build import build
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator, integers
from l2l_cli.tasks.base import Task


class Variations:
    """Draws variations of a task, each of its settings from a list and independently of the others.

    The same variation is the same object each time, so what is recorded for its model is used again.

    Args:
        node: Of the task.
        choices: Lists of values by the task's own argument; one that stands there twice is drawn twice as often.
        trust: See ``build``.

    Raises:
        UsageError: A list is empty, or the task does not take one of its values.
    """

    def __init__(
        self, node: Mapping[str, Any], choices: Mapping[str, Sequence[Any]], trust: Sequence[str] | None = None
    ) -> None:
        self._choices = {}
        for key, values in choices.items():
            if not isinstance(values, list) or not values:
                raise UsageError(f"vary.{key} must be a list of values for task.{key}, not {values!r}")
            for value in values:
                build({**node, key: value}, "task", trust)
            self._choices[key] = values

        @cache
        def make(*chosen: int) -> Task:
            changes = {key: values[index] for (key, values), index in zip(self._choices.items(), chosen, strict=True)}
            task: Task = build({**node, **changes}, "task", trust)
            return task

        self._make = make

    def __call__(self, seed: int) -> Task:
        """Return the variation that belongs to a seed."""
        rng = generator(seed, "vary")
        return self._make(*(int(integers((), len(values), rng)) for values in self._choices.values()))
