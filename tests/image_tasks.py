"""Image tasks for tests, with the short keys of a configuration."""

from __future__ import annotations

import gzip
import os
import struct
from typing import Any

import pytest
import torch

from l2l_cli.config.build import build
from l2l_cli.tasks.images.datasets import ENVIRONMENT
from l2l_cli.tasks.images.task import ImageTask

DATA = os.environ.get(ENVIRONMENT) or None  # one that is empty says nothing, as in l2l itself
real = pytest.mark.skipif(DATA is None, reason=f"real data are looked for under {ENVIRONMENT}, which is not set")
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


def idx(path, values, compressed=True):
    """Write an IDX file of bytes."""
    content = struct.pack(f">HBB{values.dim()}I", 0, 8, values.dim(), *values.shape) + values.numpy().tobytes()
    path.write_bytes(gzip.compress(content, mtime=0) if compressed else content)


def idx_folder(place, count=4, classes=3):
    """Write a data set of random 2 × 3 images as MNIST's files, and return its test images."""
    rng = torch.Generator().manual_seed(0)
    for part in ("train", "t10k"):
        images = torch.randint(256, (count, 2, 3), generator=rng, dtype=torch.uint8)
        labels = torch.arange(count, dtype=torch.uint8) % classes
        idx(place / f"{part}-images-idx3-ubyte.gz", images)
        idx(place / f"{part}-labels-idx1-ubyte", labels, compressed=False)
    return images
