"""Upgrades of image tasks, which version 0.1.0 saved as one class per network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class _Parts(NamedTuple):
    """The classes that replace an old class, and those of its defaults that differ from theirs."""

    data: str
    network: str
    defaults: dict[str, object]


_IN_MEMORY = "l2l_cli.tasks.images.in_memory.ImagesInMemory"
_CHEN_LU: dict[str, object] = {"dataset": "cifar10", "horizon": 1000, "augment": "cifar", "standardise": "image"}
_RESNET18: dict[str, object] = {
    "stem": "imagenet",
    "channels": [64, 128, 256, 512],
    "blocks": [2, 2, 2, 2],
    "examples": 64,
    "horizon": 1000,
    "augment": "imagenet",
    "standardise": "channels",
}

IMAGE_TASKS = {
    "l2l_cli.tasks.images.ImagesMLP": _Parts(_IN_MEMORY, "l2l_cli.models.mlp.MLP", {}),
    "l2l_cli.tasks.images.ImagesConvNet": _Parts(_IN_MEMORY, "l2l_cli.models.convnet.ConvNet", {"dataset": "cifar10"}),
    "l2l_cli.tasks.convolutional.ImagesCudaConvNet": _Parts(_IN_MEMORY, "l2l_cli.models.convnet.CudaConvNet", _CHEN_LU),
    "l2l_cli.tasks.convolutional.ImagesResNet": _Parts(_IN_MEMORY, "l2l_cli.models.resnet.ResNet", _CHEN_LU),
    "l2l_cli.tasks.recurrent.ImagesLSTM": _Parts(_IN_MEMORY, "l2l_cli.models.recurrent.RowReader", {}),
    "l2l_cli.tasks.imagenet.PhotosResNet": _Parts(
        "l2l_cli.tasks.images.on_disk.ImagesOnDisk", "l2l_cli.models.resnet.ResNet", _RESNET18
    ),
}
"""Replacements by the old ``_target_``; old keys keep their names, since short keys go to the part that takes them."""


def image_task(node: Mapping[str, object]) -> dict[str, object]:
    """Return the present node for an old one, whose ``_target_`` must be in ``IMAGE_TASKS``."""
    parts = IMAGE_TASKS[str(node["_target_"])]
    present = {
        **parts.defaults,
        **node,
        "_target_": "l2l_cli.tasks.images.task.ImageTask",
        "data": {"_target_": parts.data},
        "network": {"_target_": parts.network},
    }
    if present.get("standardise") == "picture":
        present["standardise"] = "image"
    return present
