"""The removal of runs: only their own files, and only while no process writes them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import TEMPORARY
from l2l_cli.core.layout import PROGRESS, WITHIN_A_RUN
from l2l_cli.results import index
from l2l_cli.results.folder_lock import LOCK
from l2l_cli.results.listing import ListedRun
from l2l_cli.results.run import CONFIG, OVERRIDES, RUN, RunFolder

OWN = re.compile(
    r"(?:checkpoint(?:\.previous)?|weights)\.safetensors|(?:metrics|grid|results)\.csv|metrics\.jsonl|"
    r"(?:report|sources)\.(?:md|html)|events\.out\.tfevents\..*|"
    rf"{re.escape(CONFIG)}|{re.escape(OVERRIDES)}|\..*{re.escape(TEMPORARY)}"
)
"""Names of the files that a run writes in its folder, except ``RUN`` and its lock, which are removed last."""


def refuse_what_is_written(runs: Iterable[ListedRun]) -> None:
    """Check that no process writes some runs, and that each is really a run.

    Raises:
        UsageError: A process or a job of a cluster is writing one, its folder is a link, or its run.json is no run's.
    """
    for run in runs:
        if run.state == "running":
            raise UsageError(
                f"{run.path} is being written by {RunFolder(run.path).owner()}; stop it first, nothing is removed"
            )
        if run.state == index.ON_CLUSTER:
            raise UsageError(
                f"jobs of a cluster write {run.path}, or are queued to; cancel them and delete "
                f"{run.path / PROGRESS}, nothing is removed"
            )
        if run.path.is_symlink():
            raise UsageError(f"{run.path} is a link, which is not followed; remove its target by its own name")
        if "versions" not in run.facts and not (run.path / CONFIG).is_file():
            why = run.message or f"it has no {CONFIG}"
            raise UsageError(f"{run.path} is not a run of l2l: {why}; nothing is removed")


def remove(runs: Sequence[ListedRun]) -> list[Path]:
    """Remove runs, and return the foreign files and folders among theirs, which are kept.

    Raises:
        UsageError: As ``refuse_what_is_written``, or a part of a run is a link; nothing is removed then.
        OSError: A file cannot be removed.
    """
    refuse_what_is_written(runs)
    with ExitStack() as held:
        for run in runs:  # all of them, before the first file is gone
            held.enter_context(RunFolder(run.path).lock(patience=0.0))
        left = [path for run in runs for path in _remove(run.path)]
    for run in runs:
        index.redraw(run.path)
    return left


def _remove(folder: Path) -> list[Path]:
    """Remove a run's files, last those that make its folder a run, and the folder if it is empty; return the rest."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path.name in WITHIN_A_RUN:
                shutil.rmtree(path)
        elif OWN.fullmatch(path.name):
            path.unlink()
    for name in (RUN, LOCK, f"{LOCK}.held"):
        (folder / name).unlink(missing_ok=True)
    left = sorted(folder.iterdir())
    if not left:
        os.rmdir(folder)
    return left
