"""Tasks, learners and the store, built from settings, and the setup of the process that they are built in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from l2l_cli.config.build import Builder, build, changed
from l2l_cli.config.hardware import Hardware
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.global_draws import seed_global_generators
from l2l_cli.core.layout import STORE
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.base import Learner
from l2l_cli.parallel.replicated import Replicated
from l2l_cli.results.store import GIGABYTE, Store
from l2l_cli.runs.vetting import vet_learner, vet_task
from l2l_cli.tasks.base import Task
from l2l_cli.tasks.images.datasets import default_folder
from l2l_cli.tasks.vary import Variations

_META_TRAINED: dict[str, bool] = {}
"""Results of ``is_meta_trained``, by the nodes of task and learner."""

WORTH_COMPILING = 100

"""Number of meta-updates from which ``kernels=auto`` compiles: shorter trial runs should not wait for compilation."""


def prepare(hardware: Hardware, local_rank: int | None = None) -> None:
    """Set threads, device and determinism of this process; a rank uses the GPU of its ``local_rank``.

    Raises:
        UsageError: The device does not exist, or does not fit the other settings.
    """
    torch.set_num_threads(hardware.threads)
    # The same switch as use_deterministic_algorithms, which would also import torch's compiler and take two seconds.
    torch.set_deterministic_debug_mode("error" if hardware.deterministic else "default")
    # Filling memory that will be overwritten anyway costs a tenth of the time of small operations.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if hardware.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("hardware.device=cuda, but torch finds no GPU; use hardware=cpu")
    if hardware.device.startswith("cuda") and hardware.replicas > (found := torch.cuda.device_count()):
        raise UsageError(f"hardware.replicas={hardware.replicas} takes a GPU each, but torch finds {found}")
    if hardware.precision != "float32" and not hardware.device.startswith("cuda"):
        raise UsageError(
            f"hardware.precision={hardware.precision} is for kernels on a GPU; use float32 or hardware=cuda"
        )
    # Even a default device "cpu" would wrap every call of torch in Python, a quarter of the time of small operations.
    torch.set_default_device(None if hardware.device == "cpu" else _device(hardware.device, local_rank))


def _device(device: str, local_rank: int | None) -> str:
    """Return a rank's own GPU.

    Raises:
        UsageError: There are fewer GPUs than ranks.
    """
    if local_rank is None or not device.startswith("cuda"):
        return device
    if local_rank >= (found := torch.cuda.device_count()):
        raise UsageError(
            f"every rank takes a GPU, but torch finds {found} here, none for rank {local_rank} of this machine"
        )
    torch.cuda.set_device(local_rank)  # NCCL and kernels use the current device
    return f"cuda:{local_rank}"


def build_task(settings: Settings, builder: Builder = build) -> Task:
    """Build the task of a configuration with its variations; data sets are looked for in ``data.dir``.

    Raises:
        UsageError: The configuration does not build, or ``hardware.replicas`` exceeds the examples of a batch.
    """
    task = variation(settings, {}, "task", builder)
    if not settings.vary:
        return task
    return task.with_variations(
        Variations(
            settings.vary,
            lambda changes: _task_of(settings, changed(settings.task, changes, "task"), "task", builder),
        )
    )


def _task_of(settings: Settings, node: Node, path: str, builder: Builder) -> Task:
    """Build the task of a node and tell it where data sets are."""
    seed_global_generators(settings.seed, "task")
    folder = Path(settings.data.dir).expanduser() if settings.data.dir else None
    task: Task = builder.offering(data_folder=folder)(node, path)
    return task


def variation(settings: Settings, changes: Node, path: str, builder: Builder = build) -> Task:
    """Build the task of a configuration with some of its arguments changed.

    Args:
        settings: Whole configuration.
        changes: New values by key of the task's node; with a ``_target_``, a complete task of its own.
        path: Key of the changes in the configuration, for messages.
        builder: Builder that knows which classes a saved configuration may name.

    Raises:
        UsageError: See ``build_task``.
    """
    node = changes if "_target_" in changes else changed(settings.task, changes, "task")
    if builder.trust is not None:
        _refuse_paths(node, Path(settings.data.dir or default_folder()).expanduser(), path)
    task = _task_of(settings, node, path, builder)
    vet_task(node, task, lambda: _task_of(settings, node, path, builder))
    if (replicas := settings.hardware.replicas) > 1:
        if task.spec.examples < replicas:
            raise UsageError(
                f"hardware.replicas={replicas} divides each batch, but this task's have {task.spec.examples} examples; "
                "use fewer replicas, or more examples"
            )
        return task.with_model(Replicated(task.model, replicas, task.spec.inputs))
    return task


def _refuse_paths(node: object, folder: Path, path: str) -> None:
    """Check that a saved configuration reads nothing outside of the folder of data sets.

    Raises:
        UsageError: It names a path elsewhere.
    """
    match node:
        case Mapping():
            for name, value in node.items():
                _refuse_paths(value, folder, f"{path}.{name}")
        case list():
            for value in node:
                _refuse_paths(value, folder, path)
        case str() if node[:1] in ("~", "/", "\\") or ".." in Path(node).parts or Path(node).is_absolute():
            place = (folder / Path(node).expanduser()).resolve()
            if not place.is_relative_to(folder.resolve()):
                raise UsageError(
                    f"the saved {path} is {node}, which is outside of {folder}; if that is your own, add "
                    f"data.dir={Path(node).parent}"
                )


def build_learner(
    settings: Settings,
    task: Task,
    builder: Builder = build,
    node: Entries | None = None,
    steps: int | None = None,
) -> Learner[Any]:
    """Build the learner of a configuration for a task, or of another ``node`` in its place.

    Schedules end after ``steps`` steps; None means the task's horizon.
    """
    kernels = settings.hardware.kernels
    compiled = kernels == "fast" or (kernels == "auto" and settings.meta.updates >= WORTH_COMPILING)
    paths = Paths(compiled, getattr(torch, settings.hardware.precision))
    builder = builder.offering(task=task, paths=paths, episode_steps=steps)
    chosen = settings.learner if node is None else node

    def make() -> Learner[Any]:
        seed_global_generators(settings.seed, "learner")
        learner: Learner[Any] = builder(chosen, "learner")
        return learner

    learner = make()
    vet_learner({"learner": chosen, "for": _kind(task)}, learner, make)
    return learner


def _kind(task: Task) -> str:
    """Return the properties of a task that decide whether a learner fits it."""
    return f"{type(task).__name__} {task.spec} {task.model.shapes}"


def is_meta_trained(settings: Settings) -> bool:
    """Return whether a configuration's learner has meta-parameters; a process builds it only once to find out."""
    key = json.dumps([settings.task, settings.learner], sort_keys=True)
    if key not in _META_TRAINED:
        _META_TRAINED[key] = build_learner(settings, build_task(settings)).is_meta_trained
    return _META_TRAINED[key]


def store_of(settings: Settings) -> Store:
    """Return the store of a configuration."""
    plan = settings.store
    folder = Path(plan.dir).expanduser() if plan.dir else Path(settings.output) / STORE
    return Store(folder, [Path(one).expanduser() for one in plan.also], plan.limit * GIGABYTE)


def run_facts(settings: Settings) -> Entries:
    """Return what run.json records about the machine."""
    device = settings.hardware.device
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"
    return {
        "versions": {"torch": torch.__version__},
        "device": name,
        "threads": settings.hardware.threads,
        "replicas": settings.hardware.replicas,
        "precision": settings.hardware.precision,
        "seeds": [settings.seed],
    }
