"""The convolutional network against torch's own parts, and on its ways through a learner."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.backprop import Backprop
from l2l_cli.models.convnet import BatchNorm, convnet, gaussian_weights
from l2l_cli.models.model import Model
from l2l_cli.models.point import Point
from l2l_cli.models.recorded_loss import RecordedLoss, in_turn
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.preprocess import LogAndSign
from l2l_cli.tasks.base import mean_squared_error
from tests.image_tasks import image_task


def test_deepminds_network_has_22602_parameters_and_80_offsets():
    model = image_task("convnet.ConvNet", dataset="cifar10").model
    offsets = {name: shape for name, shape in model.shapes.items() if name.endswith("offset")}
    assert list(offsets.values()) == [(16,), (16,), (16,), (32,)]
    assert model.size == 22_602 + 80
    assert [shape for shape in model.shapes.values() if len(shape) == 4] == [(16, 3, 5, 5)] + 2 * [(16, 16, 5, 5)]
    assert image_task("convnet.ConvNet", dataset="cifar10", scale=True).model.size == model.size + 80


def test_weights_and_biases_are_drawn_and_the_normalisation_begins_neutral():
    model = image_task("convnet.ConvNet", start=0.5, scale=True).model
    params = model.init(2, generator(0))
    for name, value in params.items():
        if name.endswith(("offset", "scale")):
            assert value.eq(float(name.endswith("scale"))).all()
        else:
            assert 0 < (value[0] - value[1]).abs().mean() < 2


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4, 2)])
def test_normalisation_is_torchs_in_training(shape, scale):
    own, theirs = BatchNorm(3, scale), [nn.BatchNorm1d, nn.BatchNorm2d][len(shape) // 4](3, eps=1e-3)
    with torch.no_grad():
        own.offset.copy_(torch.tensor([0.1, 0.2, 0.3]))
        theirs.bias.copy_(own.offset)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for factor in (1.0, 2.0):  # nothing of the first batch is left in the second
        torch.testing.assert_close(own(factor * inputs), theirs(factor * inputs))


def test_the_maximum_before_the_relu_is_the_papers_order():
    """In value and in gradient; odd heights are rounded up."""
    ours = convnet((2, 7, 6), [3, 2], 3, [4], 5)
    parts = list(ours)
    for index in [place for place, part in enumerate(parts) if isinstance(part, nn.MaxPool2d)]:
        parts[index : index + 2] = parts[index + 1], parts[index]
    inputs, found = torch.randn(6, 2, 7, 6, generator=torch.Generator().manual_seed(0)), []
    for network in (ours, nn.Sequential(*parts)):
        outputs = network(inputs)
        found.append([outputs, *torch.autograd.grad(outputs.square().sum(), list(ours.parameters()))])
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_episodes_in_turn_answer_as_side_by_side():
    network = convnet((1, 4, 4), [2], 3, [3], 2)
    turn, together = (Model(network, gaussian_weights(0.5), in_turn=in_turn) for in_turn in (True, False))
    params = {name: value.requires_grad_() for name, value in turn.init(3, generator(0)).items()}
    inputs, found = torch.randn(3, 5, 1, 4, 4, generator=torch.Generator().manual_seed(0)), []
    for model in (turn, together):
        outputs = model(params, inputs)
        found.append([outputs, *torch.autograd.grad(outputs.square().sum(), list(params.values()))])
    torch.testing.assert_close(*found)


def test_the_recorded_gradient_is_the_reference():
    """Of coloured images, whose channels are rearranged in memory."""
    model, rng = Model(convnet((3, 6, 6), [4, 2], 3, [3], 2), gaussian_weights(0.5), in_turn=True), generator(0)
    recorded = RecordedLoss(model, mean_squared_error)
    for _ in range(2):
        params, batch = model.init(2, rng), Batch(normal((2, 5, 3, 6, 6), rng), normal((2, 5, 2), rng))
        layout = in_turn(params)
        theta = layout.pack(params)
        outputs, _, gradient = recorded.gradient(layout, theta, *batch[:2])(theta, *batch[:2])
        point = Point(model, mean_squared_error, params, batch)
        torch.testing.assert_close(outputs, point.outputs.detach())
        torch.testing.assert_close(layout.unpack(gradient), point.grad)


def test_the_fast_path_is_the_reference():
    found = {}
    for fast in (False, True):
        options = {"channels": [2, 3], "kernel": 3, "dense": [4], "examples": 6, "start": 0.1, "pool": 2}
        task = image_task("convnet.ConvNet", **options)
        rule = CoordinatewiseLSTM(hidden=4, preprocess=LogAndSign(), output_scale=0.1)
        learner = Descent(task, rule, paths=Paths(fast))
        assert learner.path.is_compiled == fast
        estimator = Backprop(episodes=2, window=5)
        found[fast] = estimator.estimate(learner, estimator.init(learner, 0), 0.0)[1]
    torch.testing.assert_close(found[True].loss, found[False].loss, rtol=1e-5, atol=0)
    vectors = [torch.cat([value.flatten() for value in found[fast].grad.values()]) for fast in (False, True)]
    assert (vectors[0] - vectors[1]).norm() < 1e-3 * vectors[0].norm()


def test_multiplications_of_a_pass_are_counted_by_position():
    """Each filter is applied at each of its output's pixels, each weight of a dense layer once."""
    network = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 2))
    assert Model(network, normal).multiply_adds((3, 8, 8)) == 64 * (4 * 3 * 25 + 4) + 64 * 2 + 2
    for module in network:
        assert not module._forward_hooks
