"""The command that continues from a run, as words of the command line that work as printed; no torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from l2l_cli.core.nodes import TORCH_OPTIMIZERS, classes_in
from l2l_cli.core.reference import GIVEN
from l2l_cli.results.index import ON_CLUSTER
from l2l_cli.results.listing import ListedRun
from l2l_cli.results.run import WEIGHTS

OURS = ("l2l_cli", TORCH_OPTIMIZERS.partition(".")[0], GIVEN)
"""Packages whose classes a saved run may name without being trusted explicitly."""

CONFIG_DIR = "--config-dir"


def after(path: Path | str) -> list[str]:
    """Return the words of the command that continues from the run in a folder; see ``words_after``."""
    folder = Path(path)
    return words_after(ListedRun.at(folder, folder.parent))


def words_after(run: ListedRun) -> list[str]:
    """Return the words of the command that continues from a run, depending on its command and state.

    The next step after training is to evaluate, after evaluation to compare, and after a report to open it; interrupted
    runs are continued, and running ones are watched.
    """
    path, typed = str(run.path), typed_words(run)
    if run.state in ("running", ON_CLUSTER):
        return ["runs", "--watch", path]
    if run.command == "meta-train":
        goes_on = ["evaluate", path] if (run.path / WEIGHTS).is_file() else ["meta-train", "--resume", path]
        return [*goes_on, *_elsewhere(run, typed)]
    if run.state != "done":
        return typed or ["runs", path]
    parents = [Path(str(parent)) for parent in run.facts.get("parents", [])]
    if run.command == "evaluate" and not run.typed.get("evaluation.against") and parents and parents[0].is_dir():
        parent = ListedRun.at(parents[0], parents[0].parent)
        return ["compare", str(parents[0]), "adam", *_elsewhere(parent, typed)]
    return ["runs", path, "--open"] if run.has_report else ["runs", path]


def typed_words(run: ListedRun) -> list[str]:
    """Return the words of the command that made a run; empty if they cannot be parsed."""
    with suppress(ValueError):
        return shlex.split(str(run.facts.get("command", "")))[1:]
    return []


def _elsewhere(run: ListedRun, typed: Sequence[str]) -> list[str]:
    """Return the flags by which a saved run's classes and files outside of this program are found."""
    folders = [after for word, after in pairwise([*typed_words(run), *typed]) if word == CONFIG_DIR]
    folders += [word.partition("=")[2] for word in typed if word.startswith(f"{CONFIG_DIR}=")]
    packages = sorted({name.partition(".")[0] for name in classes_in(run.config)} - {*OURS})
    return [
        *([CONFIG_DIR, folders[-1]] if folders else []),
        *(word for package in packages for word in ("--trust", package)),
    ]
