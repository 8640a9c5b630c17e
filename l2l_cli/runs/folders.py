"""The folders of meta-training runs: claimed, found done, or named by a user; no torch."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from l2l_cli.config.build import changed
from l2l_cli.config.compose import identity_of_training, settings_of_run
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.results.run import RunFolder, identity

WEIGHTS = "weights.safetensors"
"""File of a finished run's trained φ, by the learner's names."""


def claim(settings: Settings) -> RunFolder:
    """Make or find the folder of a training."""
    return RunFolder.claim(_root(settings), settings.run_name, identity_of_training(settings), settings.overrides)


def done_before(settings: Settings) -> RunFolder | None:
    """Return the folder of a training that is done already; None if it is still to be run."""
    folder = RunFolder.find(_root(settings), settings.run_name, identity_of_training(settings))
    return folder if folder and is_done(folder) else None


def is_done(folder: RunFolder) -> bool:
    """Say whether a training is done and its weights are as it left them; other files that are not are named."""
    if folder.status != "done" or not (folder.path / WEIGHTS).exists():
        return False
    damaged = folder.damaged()
    if WEIGHTS not in damaged:
        for name in damaged:
            print(f"warning: {folder.path / name} is not as the run left it; the weights are", file=sys.stderr)
    return WEIGHTS not in damaged


def planned_folder(settings: Settings) -> tuple[Path, str]:
    """Return the folder that a training would have, and in a word what is there."""
    config, root = identity_of_training(settings), _root(settings)
    folder = RunFolder.find(root, settings.run_name, config)
    if folder is None:
        return root / f"{settings.run_name}-{identity(config)}", "not there yet"
    return folder.path, {"done": "done, would be reused"}.get(folder.status, f"{folder.status}, would go on")


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


def task_was_chosen(settings: Settings) -> bool:
    """Return whether the user chose a task or changed one."""
    return any(item.lstrip("+~").split("=")[0].split(".")[0] in ("task", "experiment") for item in settings.overrides)
