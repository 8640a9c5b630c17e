"""Checks that a command makes on names and files only, before torch is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from l2l_cli.commands.unused import Asked, refuse_unused
from l2l_cli.config.groups import ALL, contenders_of, options
from l2l_cli.config.own_task import OWN_TASK, changes_of_task, task_was_chosen
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Node
from l2l_cli.papers.agenda import agenda_of, artefacts_of
from l2l_cli.runs.folders import load_run, offer_task_of


def check(command: str, settings: Settings, flags: Node, alone: bool) -> None:
    """Refuse what a command can recognise as wrong without building anything.

    Args:
        command: Name of the command.
        settings: Its configuration.
        flags: Its flags.
        alone: Whether it is not a job of a sweep, whose overrides have been checked together.

    Raises:
        UsageError: A run folder is missing or holds no finished run, there is nothing to compare, or an override is not
            used.
    """
    if alone:
        refuse_unused(command, settings.overrides, [Asked(settings, flags)])
    match command, flags:
        case "evaluate", {"run_folder": str(folder)}:
            load_run(folder, settings)
        case "compare", {"learners": list(learners), "runs": list(runs)}:
            for run in runs:
                load_run(run, settings)
            wanted(settings, learners, bool(runs))


def on_the_task_of_runs(flags: Node, overrides: Sequence[str]) -> list[str]:
    """Return overrides such that those of ``task.…`` change the task of the runs that a command reads, if it reads any.

    Raises:
        UsageError: A run cannot be read, or the runs have different tasks.
    """
    runs = [flags["run_folder"]] if flags.get("run_folder") else flags.get("runs", [])
    if not runs or task_was_chosen(overrides) or not changes_of_task(overrides):
        return list(overrides)
    offer_task_of([Path(run) for run in runs])
    return [OWN_TASK, *overrides]


def wanted(settings: Settings, learners: list[str], has_runs: bool) -> dict[str, list[str]]:
    """Return the overrides of the hand-made contenders of ``compare`` by name, as configured or named by the user.

    Raises:
        UsageError: There is nothing to compare.
    """
    asked = {str(name): [str(item) for item in items] for name, items in settings.contenders.items()}
    asked |= contenders_of(learners, settings.config_dir)
    if not asked and not has_runs:
        raise UsageError(
            "nothing to compare: give at least one run folder or learner name "
            f"(learners: {', '.join(options('learner'))}; {ALL} is every hand-made one that fits)"
        )
    return asked


def check_reproduction(request: ReproduceRequest) -> None:
    """Check overrides by composing what they change, before anything is written: a mistake fails at the first row.

    Raises:
        UsageError: A row cannot be composed, or no row uses an override.
    """
    if not request.overrides:
        return
    rows = [
        Asked(jobs[0].settings(Path()), {"role": jobs[0].row.role})
        for name in artefacts_of(request)
        for jobs in agenda_of(request, name).jobs.values()
    ]
    refuse_unused("reproduce", request.overrides, rows)
