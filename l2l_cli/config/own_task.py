"""The task of a finished run as a choice of the group ``task``, so that Hydra changes it as it changes any other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hydra.core.config_store import ConfigStore

from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Node

OWN_TASK = "task=of_the_run"
"""Override that takes the task of a finished run; it stands before what the user typed."""

FREE = tuple(f"learner.{key}{sign}" for key in ("options", "others_options") for sign in ".=")
"""Beginnings of overrides that need no "+" to add a key."""


def key_of_word(word: str) -> str:
    """Return the key or group that an override is for, as "task.hidden" of "+task.hidden=[4]"."""
    return word.lstrip("+~").split("=")[0].split("@")[0]


def opened(overrides: Iterable[str]) -> list[str]:
    """Return overrides that may add what a class has as options of its own, which no file of ours can list."""
    return [f"++{word}" if word.startswith(FREE) else word for word in overrides]


def task_was_chosen(overrides: Iterable[str]) -> bool:
    """Return whether one of some overrides chooses a task, in place of changing one."""
    return any(key_of_word(word) in ("task", "experiment") and word != OWN_TASK for word in overrides)


def changes_of_task(overrides: Iterable[str]) -> list[str]:
    """Return the overrides that change a task and choose none."""
    return [word for word in overrides if key_of_word(word).startswith("task.")]


def offer(tasks: Sequence[tuple[str, Node]]) -> None:
    """Let ``OWN_TASK`` stand for the task of finished runs, given with the folder of each.

    Raises:
        UsageError: They have different tasks.
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
    """Let ``OWN_TASK`` stand for nothing again, in a program that has configurations of its own."""
    tasks = ConfigStore.instance().repo.get("task", {})
    tasks.pop(f"{OWN_TASK.partition('=')[2]}.yaml", None)
    if not tasks:
        ConfigStore.instance().repo.pop("task", None)


def _literal(value: object) -> object:
    """Return a value whose texts are not resolved: of what a run's folder says, nothing is looked up."""
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(item) for item in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value
