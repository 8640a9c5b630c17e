"""The convolutional networks of MLHF as tasks, and the options that all image tasks have."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase, Split
from l2l_cli.models.convnet import convnet, cuda_convnet_weights
from l2l_cli.tasks.images import datasets
from tests.image_tasks import digits_mlp, image_task, real


def test_the_papers_networks_have_their_numbers_of_parameters():
    """Chen and Lu 2018; the reduction is the one that the task's file names."""
    full = image_task("convnet.CudaConvNet", dataset="cifar10")
    assert full.model.size == 1_756_426
    sizes = [sum(value.numel() for value in layer.parameters()) for layer in full.model.module]
    assert [size for size in sizes if size] == [4864, 102_464, 1_573_248, 73_920, 1930]
    assert (
        image_task("convnet.CudaConvNet", dataset="cifar10", channels=[8, 16], dense=[32], pool=2).model.size == 12_378
    )
    assert image_task("resnet.ResNet", dataset="cifar10").model.size == 272_538
    assert image_task("resnet.ResNet", channels=[32, 64, 128], blocks=[5, 5, 5]).model.size > 1_700_000


def test_cuda_convnet_is_drawn_layer_by_layer():
    network = convnet((3, 8, 8), [40, 50], 5, [60, 70], 30, normalised=False)
    draw = cuda_convnet_weights(network)
    drawn = {name: draw(name, tuple(value.shape), generator(0)) for name, value in network.named_parameters()}
    weights, biases = ([value for name, value in drawn.items() if name.endswith(kind)] for kind in ("weight", "bias"))
    for value, wanted in zip(weights, [0.05, 0.05, 0.04, 0.04, 1 / 70], strict=True):
        assert abs(value.std().item() / wanted - 1) < 0.1
    assert all(value.unique().numel() == 1 for value in biases)
    torch.testing.assert_close(torch.stack([value.mean() for value in biases]), torch.tensor([0.0, 0.0, 0.1, 0.1, 0.0]))


def test_one_network_without_normalisation_is_its_layers():
    network = convnet((2, 6, 6), [3], 3, [4], 2, normalised=False)
    conv, dense, last = [layer for layer in network if list(layer.parameters())]
    inputs = torch.randn(5, 2, 6, 6)
    hidden = torch.nn.functional.max_pool2d(conv(inputs).relu(), 2)
    torch.testing.assert_close(network(inputs), last(dense(hidden.flatten(1)).relu()))


def shown(task, phase=Phase.META_TRAIN, split=Split.TRAIN, steps=30):
    """The distinct images that batches show, as numbers from 0 to 255."""
    episode = task.sample(1, 0, phase)
    batches = [(episode.batch(step, split).inputs[0] * 255).round().int().flatten(1) for step in range(steps)]
    return {tuple(image.tolist()) for batch in batches for image in batch}


def test_a_number_of_images_is_all_that_is_used_and_is_spread_evenly():
    found = datasets.load("digits", datasets.default_folder(), None, 1).train.images.flatten(1).int().tolist()
    task = digits_mlp(hidden=[2], examples=64, images=12)
    learned, held = shown(task), shown(task, split=Split.TEST)
    rows = [index * len(found) // 12 for index in range(12)]
    assert held == {tuple(found[row]) for row in rows[::6]}
    assert learned == {tuple(found[row]) for row in rows} - held
    assert len(shown(task, Phase.TEST)) > 500  # the test images are all used
    with pytest.raises(
        UsageError, match=r"task\.images=5000, but digits has 899 training images for tune; task\.images=null"
    ):
        digits_mlp(images=5000).sample(1, 0, Phase.TUNE)


def test_only_what_is_learned_from_is_changed_and_in_the_test_phase_on_demand():
    plain = digits_mlp(hidden=[2], examples=64)
    crops, also = (digits_mlp(hidden=[2], examples=64, augment="cifar", augment_test=value) for value in (False, True))
    for phase, split, task, changed in (
        (Phase.META_TRAIN, Split.TRAIN, crops, True),
        (Phase.META_TRAIN, Split.TEST, crops, False),
        (Phase.TUNE, Split.TRAIN, crops, True),
        (Phase.TEST, Split.TRAIN, crops, False),
        (Phase.TEST, Split.TRAIN, also, True),
        (Phase.TEST, Split.TEST, also, False),
    ):
        known = shown(plain, phase, split, 200)
        assert (len(shown(task, phase, split, 3) - known) > 30) == changed, (phase, split)


def test_a_network_gets_its_images_standardised_and_the_same_for_each_reader():
    task = image_task("resnet.ResNet", channels=[2, 2], blocks=[1, 1], examples=6, standardise="image")
    first, again = (task.sample(2, 3, Phase.META_TRAIN).batch(5) for _ in range(2))
    assert torch.equal(first.inputs, again.inputs)
    assert first.inputs.shape == (2, 6, 1, 8, 8)
    torch.testing.assert_close(first.inputs.mean((2, 3, 4)), torch.zeros(2, 6), atol=1e-5, rtol=0)
    outputs = task.model(task.model.init(2, generator(0)), first.inputs)
    assert 1.5 < task.loss(outputs, first.targets).mean() < 5


@pytest.mark.parametrize(
    ("network", "wrong", "message"),
    [
        ("mlp.MLP", {"images": 1}, "images must be at least 2"),
        ("mlp.MLP", {"standardise": "channels"}, "standardise=channels needs colour images; digits is greyscale"),
        ("mlp.MLP", {"start": -1.0}, "start is a standard deviation and must be at least 0"),
        ("convnet.ConvNet", {"start": -1.0}, "start is a standard deviation and must be at least 0"),
        ("mlp.MLP", {"horizon": 0}, "examples and horizon must be at least 1"),
        ("resnet.ResNet", {"examples": 1}, "examples must be at least 2"),
        ("resnet.ResNet", {"blocks": [1]}, "one entry per stage"),
        ("convnet.CudaConvNet", {"dense": [0]}, "every width must be at least 1"),
    ],
)
def test_options_out_of_range_are_explained(network, wrong, message):
    with pytest.raises(UsageError, match=message):
        image_task(network, **wrong)


@pytest.mark.data
@real
def test_the_reduction_learns_on_real_images():
    """A few steps of Adam, on crops of 10 000 images of CIFAR-10."""
    options = {"channels": [8, 16], "dense": [32], "pool": 2, "images": 10_000, "examples": 64}
    task = image_task("convnet.CudaConvNet", dataset="cifar10", augment="cifar", standardise="image", **options)
    params = {name: value.requires_grad_() for name, value in task.model.init(1, generator(0)).items()}
    rule, losses = torch.optim.Adam(params.values(), 0.005), []
    for batch in map(task.sample(1, 0, Phase.META_TRAIN).batch, range(40)):
        loss = task.loss(task.model(params, batch.inputs), batch.targets).sum()
        rule.zero_grad()
        loss.backward()
        rule.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])
