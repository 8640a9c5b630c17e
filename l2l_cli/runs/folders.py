"""The folders of meta-training runs: claimed, found done, or named by a user; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from l2l_cli.config.build import changed
from l2l_cli.config.compose import identity_of_training, settings_of_run
from l2l_cli.config.own_task import OWN_TASK, changes_of_task, offer, task_was_chosen
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.results.run import RunFolder

WEIGHTS = "weights.safetensors"
"""File of a finished run's trained φ, by the learner's names."""


def claim(settings: Settings) -> RunFolder:
    """Make or find the folder of a training."""
    return RunFolder.claim(_root(settings), settings.run_name, identity_of_training(settings), settings.overrides)


def done_before(settings: Settings) -> RunFolder | None:
    """Return the folder of a training that is done already; None if it is still to be run."""
    folder = RunFolder.find(_root(settings), settings.run_name, identity_of_training(settings))
    return folder if folder and folder.status == "done" else None


def _root(settings: Settings) -> Path:
    return Path(settings.output) / "meta-train"


def load_run(path: str, present: Settings) -> tuple[RunFolder, Settings]:
    """Open a finished run that a user named, whose learner is changed as ``evaluation.learner`` asks.

    Raises:
        UsageError: It is no finished meta-training run, or its learner has nothing of that name.
    """
    run = RunFolder.load(Path(path))
    if not (run.path / WEIGHTS).is_file():
        raise UsageError(f"{path} is {run.status}, not done; resume it with `l2l meta-train --resume {path}`")
    saved = settings_of_run(run.config(), present)
    return run, replace(saved, learner=changed(saved.learner, present.evaluation.learner, "learner"))


def with_task_of(settings: Settings, runs: Sequence[tuple[RunFolder, Settings]]) -> Settings:
    """Return settings with the task that finished runs were trained on, unless another one was chosen.

    What the user changed in that task is changed, and the settings' ``choices`` name it in either case.

    Raises:
        UsageError: The task is changed, and the runs have different ones.
    """
    if not runs or task_was_chosen(settings.overrides):
        return settings
    saved = runs[0][1]
    choices = settings.choices | {"task": saved.choices["task"]}
    if OWN_TASK in settings.overrides:
        offer_task_of([folder.path for folder, _ in runs])
        return replace(settings, choices=choices)
    return replace(settings, task=saved.task, choices=choices)


def offer_task_of(runs: Iterable[Path]) -> None:
    """Let overrides of ``task.…`` be changes of the task of finished runs, in this process.

    Raises:
        UsageError: A run cannot be read, or the runs have different tasks.
    """
    offer([(str(run), settings_of_run(RunFolder.load(run).config(), Settings()).task) for run in runs])


def label_of(settings: Settings, name: str) -> str:
    """Return the name of a run or a task with what the user changed in the task that it has."""
    changes = changes_of_task(settings.overrides) if OWN_TASK in settings.overrides else []
    return f"{name} with {' '.join(changes)}" if changes else name
