"""The folders of meta-training runs: claimed for a run, found by its settings, or named by a user; no torch."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from l2l_cli.config.build import changed
from l2l_cli.config.compose import identity_of_training, settings_of_run
from l2l_cli.config.own_task import OWN_TASK, changes_of_task, offer, task_was_chosen
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.layout import META_TRAIN
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.suffixes import is_exported
from l2l_cli.core.voice import VOICE
from l2l_cli.results.exported import ExportedRun, FinishedRun
from l2l_cli.results.run import CONFIG, RUN, WEIGHTS, RunFolder, identity
from l2l_cli.runs.sources import SOURCES, as_sources, changes_of, said, sources_of, with_sources


def claim(settings: Settings) -> RunFolder:
    """Create or find the folder of a training; note if an earlier one like it used other code or data."""
    config, sources = identity_of_training(settings), _sources(settings)
    found, whole = _find(settings, config, sources), with_sources(config, sources)
    earlier = _others(settings, config) if sources and not found else []
    if found and not found.path.name.endswith(identity(whole)):
        whole = config  # as it was when the folder was made
    folder = RunFolder.claim(_root(settings), settings.run_name, whole, settings.overrides)
    for path, before in earlier[-1:]:
        VOICE.note(f"{said(changes_of(before, sources), path)}; this run is trained from scratch, in {folder.path}")
    return folder


def done_before(settings: Settings) -> RunFolder | None:
    """Return the folder of a training that is already done; None if it is still to be run."""
    folder = _find(settings, identity_of_training(settings), _sources(settings))
    return folder if folder and is_done(folder) else None


def is_done(folder: RunFolder) -> bool:
    """Return whether a training is done with its weights intact; warn of other files that have changed."""
    if folder.status != "done" or not (folder.path / WEIGHTS).exists():
        return False
    damaged = folder.damaged()
    if WEIGHTS not in damaged:
        for name in damaged:
            print(
                f"warning: {folder.path / name} was changed after the run ended; the weights were not", file=sys.stderr
            )
    return WEIGHTS not in damaged


def planned_folder(settings: Settings) -> tuple[Path, str]:
    """Return the folder that a training would use, and a description of what is there."""
    folder = _find(settings, identity_of_training(settings), _sources(settings))
    if folder is None:
        return _root(settings) / f"{settings.run_name}-{identity(training_identity(settings))}", "new"
    return folder.path, {"done": "done, would be reused"}.get(folder.status, f"{folder.status}, would be continued")


def training_identity(settings: Settings) -> Entries:
    """Return all that determines the result of a training, with fingerprints of the code and data that it reads."""
    return with_sources(identity_of_training(settings), _sources(settings))


def changed_since(folder: FinishedRun, settings: Settings, trust: Sequence[str] | None = None) -> str:
    """Say which code or data have changed since a training began; empty if none have, or none are known.

    Raises:
        UsageError: The task is from a package that is not among those to ``trust``; None means any.
    """
    before = _read_by(folder)
    changes = changes_of(before, _sources(settings, trust)) if before else []
    return said(changes, folder.path) if changes else ""


def _sources(settings: Settings, trust: Sequence[str] | None = None) -> Entries:
    return sources_of(settings, identity_of_training(settings), trust=trust)


def _read_by(folder: FinishedRun) -> Entries:
    """Return the fingerprints of the code and data that a run used; empty if none are known."""
    return as_sources(folder.config().get(SOURCES)) or as_sources(folder.facts().get(SOURCES))


def _find(settings: Settings, config: Node, sources: Node) -> RunFolder | None:
    """Return the folder of a training, even if it was made before identities included ``sources``."""
    root, name = _root(settings), settings.run_name
    found = RunFolder.find(root, name, with_sources(config, sources))
    if found or not sources:
        return found
    old = RunFolder.find(root, name, config)
    if old and not _read_by(old):
        VOICE.note(f"{old.path} does not record its code and data; it is assumed to be of the present ones")
        old.note(**{SOURCES: sources})
    return old if old and _read_by(old) == sources else None


def _others(settings: Settings, config: Node) -> list[tuple[Path, Entries]]:
    """Return the folders of the same training with other code or data, and what they read; the latest comes last."""
    found = []
    for path in _root(settings).glob(f"{glob.escape(settings.run_name)}-*/{RUN}"):
        folder = RunFolder(path.parent)
        with suppress(UsageError, TypeError):  # damage to another run is no concern of this one
            saved = {key: value for key, value in folder.config().items() if key != SOURCES}
            if identity(saved) == identity(config) and (before := _read_by(folder)):
                found.append((path.stat().st_mtime, path.parent, before))
    return [(path, before) for _, path, before in sorted(found, key=lambda one: one[0])]


def _root(settings: Settings) -> Path:
    return Path(settings.output) / META_TRAIN


def check_configuration(folder: RunFolder) -> None:
    """Check that a run's configuration is the one that the run was begun with.

    Raises:
        UsageError: It is not.
    """
    facts, hashed = folder.facts(), re.fullmatch(r".*-([0-9a-f]{8})", folder.path.resolve().name)
    if "results" not in facts or hashed is None:  # made by version 0.1.0, or named by the user
        return
    found = identity(folder.config(), int(facts["results"]))
    if found != hashed[1]:
        raise UsageError(
            f"{folder.path / CONFIG} is not what this run was begun with: its hash is {found}, and the folder's is "
            f"{hashed[1]}; put the file back, or train the changed settings by `l2l meta-train`"
        )


def load_run(path: str, present: Settings) -> tuple[FinishedRun, Settings]:
    """Open a finished run that a user named, with its learner changed as ``evaluation.learner`` says.

    Raises:
        UsageError: It is not a finished meta-training run, its configuration was changed, or ``evaluation.learner`` has
            a key that its learner lacks.
    """
    run = _opened(Path(path))
    saved = settings_of_run(run.config(), present)
    return run, replace(saved, learner=changed(saved.learner, present.evaluation.learner, "learner"))


def _opened(path: Path) -> FinishedRun:
    """Open a finished run's folder, or a file that one was exported to."""
    if is_exported(path):
        return ExportedRun.load(path)
    run = RunFolder.load(path)
    if not run.weights.is_file():
        raise UsageError(f"{path} is {run.status}, not done; resume it with `l2l meta-train --resume {path}`")
    check_configuration(run)
    return run


def warn_of_changes(runs: Iterable[tuple[FinishedRun, Settings]], trust: Sequence[str]) -> None:
    """Warn of finished runs that are scored with other code, or on other data, than they were trained with.

    Raises:
        UsageError: A run's task is from a package that is not among those to ``trust``.
    """
    for run, saved in runs:
        if line := changed_since(run, saved, trust):
            print(f"warning: {line}; it is scored with the present versions", file=sys.stderr)


def with_task_of(settings: Settings, runs: Sequence[tuple[FinishedRun, Settings]]) -> Settings:
    """Return settings with the task that finished runs were trained on, unless another one was chosen.

    The user's changes to that task are applied, and ``choices`` of the settings name the task in either case.

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
    """Let overrides of ``task.…`` change the task of finished runs, in this process.

    Raises:
        UsageError: A run cannot be read, or the runs have different tasks.
    """
    found = [(run, ExportedRun.load(run) if is_exported(run) else RunFolder.load(run)) for run in runs]
    offer([(str(run), settings_of_run(one.config(), Settings()).task) for run, one in found])


def label_of(settings: Settings, name: str) -> str:
    """Return the name of a run or a task, followed by the user's changes to its task."""
    changes = changes_of_task(settings.overrides) if OWN_TASK in settings.overrides else []
    return f"{name} with {' '.join(changes)}" if changes else name
