"""Tasks and learners from settings, and the process that they are built in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from l2l_cli.config.build import Builder, changed
from l2l_cli.config.schema import Hardware, Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.base import Learner
from l2l_cli.parallel.replicated import Replicated
from l2l_cli.tasks.base import Task
from l2l_cli.tasks.vary import Variations

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
    task = variation(settings, {}, "task", trust)
    if settings.vary:
        build_node = _task_builder(settings, trust)
        task.vary = Variations(
            settings.vary, lambda changes: build_node(changed(settings.task, changes, "task"), "task")
        )
    return task


def _task_builder(settings: Settings, trust: Sequence[str] | None) -> Builder:
    folder = Path(settings.data.dir).expanduser() if settings.data.dir else None
    return Builder(trust, data_folder=folder)


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
    task: Task = _task_builder(settings, trust)(node, path)
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
    kernels = settings.hardware.kernels
    compiled = kernels == "fast" or (kernels == "auto" and settings.meta.updates >= WORTH_COMPILING)
    paths = Paths(compiled, getattr(torch, settings.hardware.precision))
    learner: Learner[Any] = Builder(trust, task=task, paths=paths)(
        settings.learner if node is None else node, "learner"
    )
    return learner


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
