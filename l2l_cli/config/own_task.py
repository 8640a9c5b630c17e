"""The task of a finished run as a choice of the group ``task``, so that Hydra can change it like any other task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hydra.core.config_store import ConfigStore

from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Node

OWN_TASK = "task=of_the_run"
"""Override that chooses the task of a finished run; it precedes what the user typed."""

FREE = tuple(f"learner.{key}{sign}" for key in ("options", "others_options") for sign in ".=")
"""Prefixes of overrides that need no "+" to add a key."""


def key_of_word(word: str) -> str:
    """Return the key or group of an override, as "task.hidden" of "+task.hidden=[4]"."""
    return word.lstrip("+~").split("=")[0].split("@")[0]


def opened(overrides: Iterable[str]) -> list[str]:
    """Return the overrides, allowing those that may add a class's own options, which our files cannot list."""
    return [f"++{word}" if word.startswith(FREE) else word for word in overrides]


def task_was_chosen(overrides: Iterable[str]) -> bool:
    """Return whether any of the overrides chooses a task rather than changing one."""
    return any(key_of_word(word) in ("task", "experiment") and word != OWN_TASK for word in overrides)


def changes_of_task(overrides: Iterable[str]) -> list[str]:
    """Return the overrides that change a task without choosing one."""
    return [word for word in overrides if key_of_word(word).startswith("task.")]


def offer(tasks: Sequence[tuple[str, Node]]) -> None:
    """Let ``OWN_TASK`` stand for the task of finished runs, given by folder and task.

    Raises:
        UsageError: The runs have different tasks.
    """
    (first, task), *others = tasks
    for other, another in others:
        if another != task:
            raise UsageError(
                f"{first} and {other} have different tasks, so it is unclear which one task.… changes; choose the "
                "task, as in task=quadratic"
            )
    ConfigStore.instance().store(group="task", name=OWN_TASK.partition("=")[2], node=_literal(task))


def withdraw() -> None:
    """Undo ``offer``, for programs that have configurations of their own."""
    tasks = ConfigStore.instance().repo.get("task", {})
    tasks.pop(f"{OWN_TASK.partition('=')[2]}.yaml", None)
    if not tasks:
        ConfigStore.instance().repo.pop("task", None)


def _literal(value: object) -> object:
    """Return a value whose strings are not interpolated, since nothing in a run's folder may be resolved."""
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(item) for item in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value
