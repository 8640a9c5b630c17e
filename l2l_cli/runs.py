"""Finished runs and fresh learners, from settings: what commands and papers both need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from l2l_cli.build import build, changed
from l2l_cli.config import compose, settings_of_run
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.replicas import Replicated
from l2l_cli.evaluation.tune import Trial, Tuning, draws_of, settings_of, tune
from l2l_cli.learners.base import Learner
from l2l_cli.learners.rollout import criterion_for
from l2l_cli.results.run import RunFolder
from l2l_cli.schema import Hardware, Settings
from l2l_cli.tasks import datasets
from l2l_cli.tasks.base import Task
from l2l_cli.tasks.vary import Variations

WEIGHTS = "weights.safetensors"
"""The trained φ of a finished run, by the learner's own names."""


WORTH_COMPILING = 100
"""Updates of φ from which on ``kernels=auto`` compiles what can be compiled: a trial run should not wait for it."""


def prepare(hardware: Hardware) -> None:
    """Set threads, device and determinism of this process.

    Raises:
        UsageError: The device is not there.
    """
    torch.set_num_threads(hardware.threads)
    torch.use_deterministic_algorithms(hardware.deterministic)
    # Filling what will be written anyway helps to find errors, and costs a tenth of the time of small operations.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if hardware.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("hardware.device=cuda, but torch finds no GPU; use hardware=cpu")
    if hardware.device.startswith("cuda") and hardware.replicas > (found := torch.cuda.device_count()):
        raise UsageError(f"hardware.replicas={hardware.replicas} takes a GPU each, but torch finds {found}")
    if hardware.precision != "float32" and not hardware.device.startswith("cuda"):
        raise UsageError(
            f"hardware.precision={hardware.precision} is for kernels on a GPU; use float32 or hardware=cuda"
        )
    torch.set_default_device(hardware.device)


def build_task(settings: Settings, trust: Sequence[str] | None = None) -> Task:
    """Build the task of a configuration and its variations; its data are looked for where ``data.dir`` says.

    Raises:
        UsageError: The configuration does not build, or its batches cannot be divided over ``hardware.replicas``.
    """
    datasets.use(settings.data.dir)
    task = variation(settings, {}, "task", trust)
    if settings.vary:
        task.vary = Variations(settings.task, settings.vary, trust)
    return task


def variation(settings: Settings, changes: Mapping[str, Any], path: str, trust: Sequence[str] | None = None) -> Task:
    """Build the task of a configuration with some of its arguments changed.

    Args:
        settings: The configuration.
        changes: New values by key of the task's node; with a ``_target_`` they are a task of their own.
        path: Where the changes stand in the configuration, for messages.
        trust: See ``build``.

    Raises:
        UsageError: See ``build_task``.
    """
    node = changes if "_target_" in changes else changed(settings.task, changes, "task")
    task: Task = build(node, path, trust)
    if (replicas := settings.hardware.replicas) > 1:
        if task.spec.examples < replicas:
            raise UsageError(
                f"hardware.replicas={replicas} divides each batch, and this task's have {task.spec.examples} examples; "
                "use fewer replicas, or more examples"
            )
        task.model = Replicated(task.model, replicas, task.spec.inputs)
    return task


def build_learner(
    settings: Settings, task: Task, trust: Sequence[str] | None = None, node: dict[str, Any] | None = None
) -> Learner[Any]:
    """Build the learner of a configuration for a task, or of another ``node`` in its place."""
    learner: Learner[Any] = build(settings.learner if node is None else node, "learner", trust, task=task)
    kernels = settings.hardware.kernels
    learner.fast = kernels == "fast" or (kernels == "auto" and settings.meta.updates >= WORTH_COMPILING)
    learner.state_dtype = getattr(torch, settings.hardware.precision)
    return learner


def hand_made(name: str, overrides: Sequence[str], settings: Settings, task: Task) -> Settings:
    """Compose a hand-made learner's own settings, what the user typed before its own, and see that it builds.

    Raises:
        UsageError: There is no such learner, it does not fit the task, or it would have to be meta-trained first.
    """
    typed = [item for item in settings.overrides if not item.startswith("contenders")]
    composed = compose("compare", [*typed, *overrides], settings.config_dir)
    if build_learner(composed, task).is_meta_trained:
        raise UsageError(
            f"learner {name} has weights to be meta-trained first; name its finished run's folder instead of {name!r}"
        )
    return composed


class Tuned(NamedTuple):
    """A learner at its best setting, and the trials that chose it; None where there is nothing to tune."""

    learner: Learner[Any]
    tuning: Tuning | None

    @property
    def chosen(self) -> str:
        """What was chosen and out of how many, for tables."""
        return self.tuning.chosen if self.tuning else "nothing to tune"


def tuned(
    settings: Settings,
    task: Task,
    steps: int,
    tell: Callable[[Trial], None] = lambda trial: None,
    learned: Learner[Any] | None = None,
) -> Tuned:
    """Tune a configuration's hand-made learner for a task on the tune phase, and build it at its best.

    Args:
        settings: Its ``tune`` says what is tried and what it is judged by; null: see ``criterion_for``.
        task: To be tuned for, which need not be the configuration's own.
        steps: Length of the tune episodes, the horizon that the learner is tuned for.
        tell: Is told of each trial when it is done.
        learned: Where the learner is not hand-made: whose φ it takes, while numbers beside φ are tuned.

    Raises:
        UsageError: A key to tune is not the learner's.
        RunFailed: No setting gives a finite loss.
    """
    points = tunable(settings)

    def make(point: dict[str, Any]) -> Learner[Any]:
        changes = {key.removeprefix("learner."): value for key, value in point.items()}
        learner = build_learner(settings, task, node=changed(settings.learner, changes, "learner"))
        if learned is not None:
            learner.load_state_dict(learned.state_dict())
        return learner

    if len(points) == 1:  # nothing to choose from
        return Tuned(make(points[0]), None)
    plan = settings.tune
    criterion = criterion_for(task, plan.criterion)
    tuning = tune(make, points, plan.episodes, steps, settings.seed, criterion, tell, plan.ranges)
    return Tuned(make(tuning.best.setting), tuning)


def tunable(settings: Settings) -> list[dict[str, Any]]:
    """Return the settings that ``tuned`` tries, by configuration key; [{}] where there is nothing to tune.

    Raises:
        UsageError: A key is not under ``learner``, or a range is none.
    """
    plan = settings.tune
    for key in (*plan.grid, *plan.ranges):
        if not key.startswith("learner."):
            raise UsageError(
                f"tune: {key!r} is no key of the learner{did_you_mean('learner.' + key, _keys(settings.learner))}"
            )
    try:
        return draws_of(plan.ranges, plan.budget, settings.seed) if plan.ranges else settings_of(plan.grid, plan.budget)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _keys(node: Mapping[str, Any], path: str = "learner") -> list[str]:
    """Return the dotted keys of a node."""
    inner = [_keys(value, f"{path}.{name}") for name, value in node.items() if isinstance(value, Mapping)]
    return [f"{path}.{name}" for name in node if name != "_target_"] + [key for keys in inner for key in keys]


def load_run(path: str, present: Settings) -> tuple[RunFolder, Settings]:
    """Open a finished run that a user named.

    Raises:
        UsageError: It is no finished meta-training run.
    """
    run = RunFolder.load(Path(path))
    if not (run.path / WEIGHTS).is_file():
        raise UsageError(f"{path} is {run.status}, not done; go on with `l2l meta-train --resume {path}`")
    return run, settings_of_run(run.config(), present)


def load_learner(
    run: RunFolder, saved: Settings, task: Task, trust: Sequence[str], changes: Mapping[str, Any] | None = None
) -> Learner[Any]:
    """Build a finished run's learner for a task, with its trained weights.

    Args:
        run: The run,
        saved: and its settings.
        task: To be learned.
        trust: See ``build``.
        changes: New values by key of the learner's node, as in ``rule.lr``.

    Raises:
        UsageError: The weights do not fit: the task has other shapes than the run's, or the learner was changed so.
    """
    learner = build_learner(saved, task, trust, changed(saved.learner, changes or {}, "learner"))
    weights = load_file(run.path / WEIGHTS)
    shapes = {name: tuple(value.shape) for name, value in learner.named_parameters()}
    wrong = [name for name, value in weights.items() if shapes.get(name) != tuple(value.shape)]
    if wrong or len(weights) != len(shapes):
        raise UsageError(f"the weights of {run.path} do not fit this task: {', '.join(wrong) or 'some are missing'}")
    learner.load_state_dict(weights, strict=False)
    return learner


def task_was_chosen(settings: Settings) -> bool:
    """Say whether the user asked for a task, or for a change of one."""
    return any(item.lstrip("+~").split("=")[0].split(".")[0] in ("task", "experiment") for item in settings.overrides)


def run_facts(settings: Settings) -> dict[str, Any]:
    """Return what run.json records of the machine's state."""
    device = settings.hardware.device
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"
    return {
        "versions": {"torch": torch.__version__},
        "device": name,
        "threads": settings.hardware.threads,
        "replicas": settings.hardware.replicas,
        "seeds": [settings.seed],
    }


def _silent(trial: Trial) -> None:
    del trial


@dataclass(frozen=True)
class Trained:
    """A learner, ready to be measured: a finished run's, or a hand-made one that is still to be tuned.

    Attributes:
        learner: As it was trained, or as its file says.
        task: It was trained on.
        settings: The whole configuration.
        tell: Is told of each trial, where the learner is hand-made.
    """

    learner: Learner[Any]
    task: Task
    settings: Settings
    tell: Callable[[Trial], None] = _silent


def open_trained(run: RunFolder, settings: Settings) -> Trained:
    """Load the learner that a run trained, on the run's own task."""
    task = build_task(settings)
    return Trained(load_learner(run, settings, task, []), task, settings)


def untrained(settings: Settings, tell: Callable[[Trial], None]) -> Trained:
    """Build a hand-made learner as its file says; whoever measures it tunes it (``tuned``) for what is measured."""
    task = build_task(settings)
    return Trained(build_learner(settings, task), task, settings, tell)
