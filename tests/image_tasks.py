"""Image tasks for tests, with the short keys of a configuration."""

from __future__ import annotations

from typing import Any

from l2l_cli.config.build import build
from l2l_cli.tasks.images.task import ImageTask

IN_MEMORY = "l2l_cli.tasks.images.in_memory.ImagesInMemory"
ON_DISK = "l2l_cli.tasks.images.on_disk.ImagesOnDisk"


def image_node(network: str, data: str = IN_MEMORY, **options: Any) -> dict[str, Any]:
    """The node of a task; ``network`` is a class in ``l2l_cli.models``, the data are digits unless options say else."""
    parts = {"data": {"_target_": data}, "network": {"_target_": f"l2l_cli.models.{network}"}}
    return {"_target_": "l2l_cli.tasks.images.task.ImageTask", **parts, **options}


def image_task(network: str, data: str = IN_MEMORY, **options: Any) -> ImageTask:
    task: ImageTask = build(image_node(network, data, **options), "task")
    return task


def digits_mlp(**options: Any) -> ImageTask:
    """A multi-layer perceptron on digits."""
    return image_task("mlp.MLP", **options)
