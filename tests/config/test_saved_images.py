"""Image tasks that version 0.1.0 saved."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.config.build import build
from l2l_cli.config.saved_images import IMAGE_TASKS, image_task
from tests.cases import image_folder

NETWORKS = {
    "ImagesMLP": {"hidden": [3, 2], "activation": "relu", "start": 0.3},
    "ImagesConvNet": {"channels": [2, 2], "kernel": 3, "dense": [3], "scale": True, "start": 0.3},
    "ImagesCudaConvNet": {"channels": [2, 2], "kernel": 3, "dense": [3]},
    "ImagesResNet": {"stem": "cifar", "channels": [2, 3], "blocks": [1, 1], "recompute": False},
    "ImagesLSTM": {"units": 3},
    "PhotosResNet": {"channels": [2, 2], "blocks": [1, 1], "bottleneck": True, "outputs": 5, "recompute": True},
}
SHARED = {
    "examples": 6,
    "horizon": 9,
    "division": "parts",
    "images": 12,
    "augment_test": True,
    "standardise": "picture",
}
IN_MEMORY = {"dataset": "digits", "classes": [7, 2], "pool": 2, "size": None, "augment": "cifar"}


@pytest.mark.parametrize("target", IMAGE_TASKS, ids=lambda target: target.rpartition(".")[2])
def test_every_option_of_an_old_task_is_still_taken(target, tmp_path):
    name = target.rpartition(".")[2]
    place = {"dataset": image_folder(tmp_path), "side": 8} if name == "PhotosResNet" else IN_MEMORY
    old = {"_target_": target, **SHARED, **place, **NETWORKS[name]}
    task = build(image_task(old), "task")
    assert (task.spec.examples, task.horizon, task.standardise) == (6, 9, "image")
    assert task.spec.targets == ((5,) if name == "PhotosResNet" else (2,))
    assert task.data.division == type(task.data.division)("parts", 12, place["dataset"])


def test_what_an_old_node_left_out_is_what_it_was():
    old = {"_target_": "l2l_cli.tasks.convolutional.ImagesCudaConvNet"}
    task = build(image_task(old), "task")
    assert (task.data.name, task.horizon, task.augment, task.standardise) == ("cifar10", 1000, "cifar", "image")
    assert task.model.size == 1_756_426
    resnet = {"_target_": "l2l_cli.tasks.imagenet.PhotosResNet", "outputs": 1001}
    task = build(image_task(resnet), "task")
    assert (task.spec.examples, task.augment, task.standardise) == (64, "imagenet", "channels")
    assert task.model.size == 11_692_329
    assert task.spec.inputs == torch.Size([3, 224, 224])
