"""Variations of a task for meta-training, whose settings change from one draw of episodes to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator, integers
from l2l_cli.tasks.base import Task


class Variations:
    """Draws variations of a task, each of its settings from a list and independently of the others.

    The same variation is the same object each time, so recordings made for its model are reused.

    Args:
        choices: Lists of values, by argument of the task; a value that is listed twice is drawn twice as often.
        make: Function that builds the task with some of its arguments changed.

    Raises:
        UsageError: A list is empty, or the task does not take one of its values.
    """

    def __init__(self, choices: Mapping[str, Sequence[object]], make: Callable[[Mapping[str, object]], Task]) -> None:
        self._choices = {}
        for key, values in choices.items():
            if not isinstance(values, list) or not values:
                raise UsageError(f"vary.{key} must be a list of values for task.{key}, not {values!r}")
            for value in values:
                make({key: value})
            self._choices[key] = values

        @cache
        def made(*chosen: int) -> Task:
            return make({key: self._choices[key][index] for key, index in zip(self._choices, chosen, strict=True)})

        self._made = made

    def __call__(self, seed: int) -> Task:
        """Return the variation that belongs to a seed."""
        rng = generator(seed, "vary")
        return self._made(*(int(integers((), len(values), rng)) for values in self._choices.values()))
