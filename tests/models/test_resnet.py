"""Residual networks: their counts, their arithmetic against torch's own parts, and recomputation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch
from l2l_cli.models.model import Model
from l2l_cli.models.point import Point
from l2l_cli.models.recorded_loss import RecordedLoss, in_turn
from l2l_cli.models.resnet import Bottleneck, ResidualBlock, resnet, resnet_weights
from l2l_cli.tasks.base import mean_squared_error


def small():
    return resnet(3, "cifar", [4, 6], [2, 1], 2)


def size(network):
    return sum(value.numel() for value in network.parameters())


def test_the_papers_networks_have_their_numbers_of_parameters():
    assert size(resnet(3, "cifar", [16, 32, 64], [3, 3, 3], 10)) == 272_538
    assert size(resnet(3, "imagenet", [64, 128, 256, 512], [2, 2, 2, 2], 1001)) == 11_692_329


def test_resnet50_has_the_parameters_of_the_closed_form():
    """Stem, and for each block of c windows and b inputs its convolutions and norms; the head."""
    total, before = 7 * 7 * 3 * 64, 64
    for width, depth in zip([64, 128, 256, 512], [3, 4, 6, 3], strict=True):
        total += before * 4 * width  # the projection
        for _ in range(depth):
            total += before * width + 9 * width**2 + 4 * width**2 + 2 * (before + 2 * width)
            before = 4 * width
    total += 2 * before + (before + 1) * 1001
    assert total == 25_551_401
    assert size(resnet(3, "imagenet", [64, 128, 256, 512], [3, 4, 6, 3], 1001, bottleneck=True)) == total


def test_a_bottleneck_is_narrow_in_its_middle():
    """Identity mappings in deep residual networks, Fig. 1 (b) with three convolutions, the stride on the second."""
    block, inputs = Bottleneck(6, 2, 2, projects=True), torch.randn(5, 6, 6, 6)
    normed = lambda values: functional.batch_norm(values, None, None, training=True).relu()  # noqa: E731
    entry = normed(inputs)
    inner = functional.conv2d(normed(functional.conv2d(entry, block.conv1.weight)), block.conv2.weight, None, 2, 1)
    wanted = functional.conv2d(normed(inner), block.conv3.weight)
    wanted = wanted + functional.conv2d(entry, block.project.weight, stride=2)
    assert wanted.shape == (5, 8, 3, 3)
    torch.testing.assert_close(block(inputs), wanted)
    same = Bottleneck(8, 2, 1, projects=False)
    assert same(wanted).shape == wanted.shape
    assert sum(value.numel() for value in same.parameters()) == 8 * 2 + 9 * 4 + 2 * 8 + 2 * (8 + 2 + 2)


def test_the_stages_halve_the_images():
    for stem, pixels, wanted in (("cifar", 32, [32, 32, 16, 8]), ("imagenet", 224, [56, 56, 28, 14])):
        network, found = resnet(3, stem, [2, 2, 2], [1, 1, 1], 5), []
        values = torch.zeros(1, 3, pixels, pixels)
        for layer in network:
            if isinstance(layer, ResidualBlock):
                found += [values.shape[-1]] if not found else []
                found.append(layer(values).shape[-1])
            values = layer(values)
        assert found == wanted
        assert values.shape == (1, 5)


@pytest.mark.parametrize(("before", "stride", "projects"), [(3, 1, False), (3, 2, True), (2, 1, True)])
def test_a_block_is_the_one_of_the_paper(before, stride, projects):
    """Identity mappings in deep residual networks, Fig. 1 (b), with torch's own normalisation."""
    block = ResidualBlock(before, 3, stride, projects)
    inputs = torch.randn(5, before, 6, 6)
    norms = nn.BatchNorm2d(before), nn.BatchNorm2d(3)
    with torch.no_grad():
        for own, theirs in zip((block.norm1, block.norm2), norms, strict=True):
            own.scale.uniform_(0.5, 2.0)
            own.offset.normal_()
            theirs.weight.copy_(own.scale)
            theirs.bias.copy_(own.offset)
    entry = norms[0](inputs).relu()
    inner = functional.conv2d(entry, block.conv1.weight, stride=stride, padding=1)
    wanted = functional.conv2d(norms[1](inner).relu(), block.conv2.weight, padding=1)
    wanted = wanted + (functional.conv2d(entry, block.project.weight, stride=stride) if projects else inputs)
    torch.testing.assert_close(block(inputs), wanted)


def test_only_the_first_block_of_a_stage_projects_and_only_the_last_layer_has_a_bias():
    blocks = [layer for layer in resnet(3, "cifar", [4, 6], [2, 3], 2) if isinstance(layer, ResidualBlock)]
    assert [block.project is not None for block in blocks] == [True, False, True, False, False]
    names = [name for name, _ in small().named_parameters()]
    assert sum(name.endswith("bias") for name in names) == 1


def test_the_draw_keeps_the_size_of_what_passes_through():
    draw = resnet_weights("4.conv1.weight", (1, 40, 30, 3, 3), generator(0))
    sigma = (30 * 9) ** -0.5
    assert abs(draw.std().item() / sigma - 1) < 0.02
    assert draw.abs().max() <= 2 * sigma / 0.8796
    assert draw.abs().max() > 1.98 * sigma / 0.8796
    assert resnet_weights("4.norm1.scale", (2, 3), generator(0)).eq(1).all()
    assert resnet_weights("4.norm1.offset", (2, 3), generator(0)).eq(0).all()
    dense = resnet_weights("9.weight", (2, 10, 30), generator(0))
    assert 0.9 * math.sqrt(6 / 40) < dense.abs().max() <= math.sqrt(6 / 40)


def answers(model, params, inputs):
    """Outputs, gradients, and how many numbers the graph between them holds."""
    held = {}
    with saved_tensors_hooks(lambda value: held.setdefault(value.data_ptr(), value), lambda value: value):
        outputs = model(params, inputs)
        total = sum(value.numel() for value in held.values())
    return [outputs, *torch.autograd.grad(outputs.square().sum(), list(params.values()))], total


def test_recomputation_changes_nothing_but_memory(double):
    rng = generator(0)
    inputs, found, held = normal((2, 8, 3, 8, 8), rng), [], []
    for recompute in (False, True):
        model = Model(small(), resnet_weights, in_turn=True, recompute=recompute)
        params = {name: value.requires_grad_() for name, value in model.init(2, generator(1)).items()}
        values, total = answers(model, params, inputs)
        found.append(values)
        held.append(total)
    torch.testing.assert_close(*found, rtol=0, atol=0)
    assert held[1] < held[0] / 2


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own rule for batch_norm
def test_recomputation_serves_several_backward_passes_and_forward_mode(double):
    inputs = normal((2, 5, 3, 8, 8), generator(0))
    found = []
    for recompute in (False, True):
        model = Model(small(), resnet_weights, in_turn=True, recompute=recompute)
        params = {name: value.requires_grad_() for name, value in model.init(2, generator(1)).items()}
        outputs = model(params, inputs)
        grads = [
            torch.autograd.grad(outputs, list(params.values()), seed, retain_graph=True)
            for seed in (outputs.detach(), outputs.detach().square())
        ]
        with forward_ad.dual_level():
            duals = {name: forward_ad.make_dual(value, value.detach().cos()) for name, value in params.items()}
            tangent = forward_ad.unpack_dual(model(duals, inputs)).tangent
        assert tangent.abs().sum() > 0
        found.append([outputs, tangent, *grads[0], *grads[1]])
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_episodes_in_turn_answer_as_side_by_side(double):
    turn, together = (Model(small(), resnet_weights, in_turn=in_turn) for in_turn in (True, False))
    params = {name: value.requires_grad_() for name, value in turn.init(3, generator(0)).items()}
    inputs, found = normal((3, 5, 3, 8, 8), generator(1)), []
    for model in (turn, together):
        outputs = model(params, inputs)
        found.append([outputs, *torch.autograd.grad(outputs.square().sum(), list(params.values()))])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_recorded_gradient_is_the_reference(recompute):
    model, rng = Model(small(), resnet_weights, in_turn=True, recompute=recompute), generator(0)
    recorded = RecordedLoss(model, mean_squared_error)
    for _ in range(2):
        params, batch = model.init(2, rng), Batch(normal((2, 5, 3, 8, 8), rng), normal((2, 5, 2), rng))
        layout = in_turn(params)
        theta = layout.pack(params)
        outputs, _, gradient = recorded.gradient(layout, theta, *batch[:2])(theta, *batch[:2])
        point = Point(model, mean_squared_error, params, batch)
        torch.testing.assert_close(outputs, point.outputs.detach())
        torch.testing.assert_close(layout.unpack(gradient), point.grad)


@pytest.mark.parametrize(
    ("channels", "blocks", "message"),
    [([], [], "one entry per stage"), ([4], [1, 1], "one entry per stage"), ([4, 0], [1, 1], "must be at least 1")],
)
def test_what_is_out_of_range_is_explained(channels, blocks, message):
    with pytest.raises(ValueError, match=message):
        resnet(3, "cifar", channels, blocks, 2)
