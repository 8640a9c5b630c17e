"""Finished runs, and what they trained, ready to be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from l2l_cli.config.build import Builder, changed
from l2l_cli.config.compose import settings_of_run
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Node
from l2l_cli.learners.base import Learner
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.building import build_learner
from l2l_cli.tasks.base import Task

WEIGHTS = "weights.safetensors"

"""File of a finished run's trained φ, by the learner's names."""


def load_run(path: str, present: Settings) -> tuple[RunFolder, Settings]:
    """Open a finished run that a user named.

    Raises:
        UsageError: It is no finished meta-training run.
    """
    run = RunFolder.load(Path(path))
    if not (run.path / WEIGHTS).is_file():
        raise UsageError(f"{path} is {run.status}, not done; resume it with `l2l meta-train --resume {path}`")
    return run, settings_of_run(run.config(), present)


def load_learner(
    run: RunFolder, saved: Settings, task: Task, builder: Builder, changes: Node | None = None
) -> Learner[Any]:
    """Build a finished run's learner for a task, with its trained weights.

    ``changes`` are new values by key of the learner's node, as in ``rule.lr``.

    Raises:
        UsageError: The weights do not fit: the task has other shapes than the run's, or the learner was changed so.
    """
    learner = build_learner(saved, task, builder, changed(saved.learner, changes or {}, "learner"))
    weights = load_file(run.path / WEIGHTS)
    shapes = {name: tuple(value.shape) for name, value in learner.named_parameters()}
    wrong = [name for name, value in weights.items() if shapes.get(name) != tuple(value.shape)]
    if wrong or len(weights) != len(shapes):
        raise UsageError(f"the weights of {run.path} do not fit this task: {', '.join(wrong) or 'some are missing'}")
    learner.load_state_dict(weights, strict=False)
    return learner


def task_was_chosen(settings: Settings) -> bool:
    """Return whether the user chose a task or changed one."""
    return any(item.lstrip("+~").split("=")[0].split(".")[0] in ("task", "experiment") for item in settings.overrides)
