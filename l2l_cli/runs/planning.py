"""A dry run of a meta-training: everything is built and checked and an update timed, but nothing trained or written."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from l2l_cli.config.build import Builder, build
from l2l_cli.config.schema import Settings
from l2l_cli.core.global_draws import seed_global_generators
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.printable import counted, size_text
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.kernels.paths import NUMBA
from l2l_cli.learners.base import phi_of
from l2l_cli.meta.contracts.learners import check_learner
from l2l_cli.meta.contracts.tasks import check_task
from l2l_cli.meta.online_training import OnlineTraining
from l2l_cli.meta.training import Training
from l2l_cli.results.provenance import peak_memory
from l2l_cli.runs.building import prepare
from l2l_cli.runs.folders import planned_folder
from l2l_cli.runs.logging import logger_of
from l2l_cli.runs.making import training_of
from l2l_cli.runs.progress import duration

PROBED = 4
"""Number of steps of the validation that is timed."""


PATIENCE = 20.0
"""Seconds after which work is not timed a second time: compilation is then a small part of its time."""


class Times(NamedTuple):
    """Seconds of an update and of a validation after compilation, extra seconds of the first ones, and peak bytes."""

    update: float
    validation: float
    first: float
    memory: int


class TrainingPlan(NamedTuple):
    """Description of a meta-training, line by line as (what, how), and the seconds and bytes that it would take."""

    lines: list[tuple[str, str]]
    seconds: float
    memory: int


def planned(settings: Settings, builder: Builder = build) -> TrainingPlan:
    """Build and check a meta-training, and describe it.

    Times are measured on this machine, for one update and the beginning of a validation; memory is the peak of this
    process meanwhile.

    Raises:
        UsageError: The configuration does not build, or a class breaks its contract.
    """
    prepare(settings.hardware)
    training = training_of(settings, builder)
    logger_of(settings)
    check_task(training.learner.task)
    check_learner(training.learner, differentiated=False)
    folder, status = planned_folder(settings)
    times = _measured(training)
    seconds, spent = _spent(settings, times)
    lines = [*_what(settings, training), *spent, ("folder", f"{folder} ({status})")]
    return TrainingPlan(lines, seconds, times.memory)


def _what(settings: Settings, training: Training) -> list[tuple[str, str]]:
    """Describe what would be trained."""
    task, learner = training.learner.task, training.learner
    path = NUMBA if isinstance(training, OnlineTraining) else learner.path
    phi = sum(value.numel() for value in phi_of(learner).values())
    frozen = sum(value.numel() for value in learner.parameters()) - phi
    size = f"{counted(task.horizon, 'step')} of {counted(task.spec.examples, 'example')}, θ of {task.model.size}"
    return [
        ("task", f"{_name(settings, 'task')}, {size}"),
        *([("", in_one_line(task.told))] if task.told else []),
        ("learner", f"{_name(settings, 'learner')}, φ of {phi}{f', {frozen} frozen' if frozen else ''}"),
        ("gradient", _gradient(settings)),
        ("kernels", f"{'compiled, ' if path.is_compiled else ''}{path}"),
    ]


def _spent(settings: Settings, times: Times) -> tuple[float, list[tuple[str, str]]]:
    """Return the seconds that the training would take, and describe all its costs."""
    plan, search = settings.meta, settings.search
    validations = math.ceil(plan.updates / plan.validate_every)
    searched = search.trials * search.updates
    seconds = times.first + (plan.updates + searched) * times.update + validations * times.validation
    trials = f" after {counted(search.trials, 'trial')} of {search.updates}" if searched else ""
    each = (
        f"{_short(times.update)} per update, {_short(times.validation)} per validation, {_short(times.first)} to start"
    )
    episodes = counted(plan.validation_episodes, "episode")
    measured = "in this process, over one update and the first steps of a validation"
    return seconds, [
        ("updates", f"{plan.updates}{trials}, {counted(validations, 'validation')} on {episodes}"),
        ("time", f"about {duration(seconds)}: {each}, in one process on this machine"),
        ("memory", f"peak {size_text(times.memory)}, measured {measured}"),
    ]


def _measured(training: Training) -> Times:
    """Run two updates and two short validations in memory; the first of each includes compilation."""
    plan, learner = training.plan, training.learner
    steps = plan.validation_steps or learner.task.horizon
    few = min(PROBED, steps)

    def validate() -> None:
        score(learner, min(plan.validation_episodes, 1024), few, training.seed, Phase.META_VALID)

    seed_global_generators(training.seed, "update", 0)
    first, update = _twice(training.update)
    begun, validation = _twice(validate)
    whole = validation * steps / few * math.ceil(plan.validation_episodes / 1024)
    cuda = torch.get_default_device().type == "cuda"
    memory = torch.cuda.max_memory_allocated() if cuda else peak_memory()
    return Times(update, whole, max(0.0, first - update) + max(0.0, begun - validation), memory)


def _twice(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of the first and of the second execution of some work; a long first one stands for both."""
    first = _seconds(work)
    return first, _seconds(work) if first < PATIENCE else first


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _name(settings: Settings, group: str) -> str:
    node: object = getattr(settings, group)
    target = node.get("_target_", "") if isinstance(node, dict) else ""
    return f"{settings.choices.get(group)} ({str(target).rpartition('.')[2]})"


def _gradient(settings: Settings) -> str:
    node = settings.gradient
    said = [f"{key} {node[key]}" for key in ("episodes", "window") if node.get(key) is not None]
    return ", ".join([_name(settings, "gradient"), *said, f"optimizer {_name(settings, 'optimizer')}"])


def _short(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else duration(seconds)
