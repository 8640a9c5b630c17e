"""Networks taken segment by segment: the same numbers, and less in memory."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from l2l_cli.autodiff.chain import segments
from l2l_cli.autodiff.linearize import Linearizer
from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch
from l2l_cli.models.convnet import convnet
from l2l_cli.models.model import Model, gaussian
from l2l_cli.models.point import Point
from l2l_cli.models.resnet import resnet, resnet_weights
from l2l_cli.tasks.base import softmax_cross_entropy

E, N = 2, 5


class Memory(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, now and at most."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.sizes = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {value.untyped_storage()._cdata for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in given | self.sizes.keys():
                room = value.untyped_storage()
                self.sizes[room._cdata] = room.nbytes()
                self.now += room.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(room, self._forget, room._cdata)
        return result

    def _forget(self, place):
        self.now -= self.sizes.pop(place)


def names(part):
    return [name for name, _ in part.named_children()]


def test_blocks_are_segments_and_so_are_the_plain_layers_between_them():
    network = resnet(3, "imagenet", [4, 6], [2, 1], 2)
    parts = segments(network)
    assert [names(part) for part in parts] == [["0", "1", "2"], ["3"], ["4"], ["5"], ["6", "7", "8", "9"]]
    together = [name for part in parts for name, _ in part.named_parameters()]
    assert together == [name for name, _ in network.named_parameters()]


def test_what_cannot_be_split_is_one_segment():
    plain, dense = convnet((3, 8, 8), [2], 3, [3], 2), nn.Linear(3, 3)
    nested = nn.Sequential(nn.Flatten(), nn.Sequential(dense, nn.ReLU()), nn.ReLU(), nn.Linear(3, 2))
    assert [names(part) for part in segments(nested)] == [["0", "1"], ["2", "3"]]
    assert [names(part) for part in segments(plain)] == [names(plain)]
    for whole in (nn.Linear(2, 2), nn.Sequential(nn.Sequential(dense), nn.Sequential(dense))):
        assert segments(whole) == [whole]


def made(recompute, bottleneck=False, in_turn=True):
    network = resnet(3, "cifar", [4, 6], [2, 1], 3, bottleneck)
    model = Model(network, resnet_weights, in_turn, recompute)
    return model, model.init(E, generator(0)), normal((E, N, 3, 8, 8), generator(1))


@pytest.mark.parametrize("in_turn", [True, False], ids=["in turn", "side by side"])
@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_products_are_those_of_the_whole_network(recompute, bottleneck, in_turn, double):
    model, params, inputs = made(recompute, bottleneck, in_turn)
    v = {name: normal(value.shape, generator(2)) for name, value in params.items()}
    reference = Linearizer(made(False, bottleneck, in_turn)[0])
    for scale in (1.0, 0.5):  # recorded, then replayed
        at = {name: scale * value for name, value in params.items()}
        found, wanted = model.linearize(at, inputs), reference(at, inputs)
        torch.testing.assert_close(found.outputs, wanted.outputs)
        for _ in range(2):
            torch.testing.assert_close(found.push(v), wanted.push(v))
            pulled = found.pull(wanted.outputs)
            assert list(pulled) == list(params)
            torch.testing.assert_close(pulled, wanted.pull(wanted.outputs))


@pytest.mark.parametrize("in_turn", [True, False], ids=["in turn", "side by side"])
def test_one_option_serves_the_gradient_and_the_curvature(in_turn, double):
    found = []
    for recompute in (False, True):
        model, params, inputs = made(recompute, in_turn=in_turn)
        batch = Batch(inputs, torch.eye(3)[torch.arange(N) % 3].expand(E, -1, -1))
        point = Point(model, softmax_cross_entropy, params, batch)
        apart = Point(model, softmax_cross_entropy, params, batch)
        found.append([point.ggn(params), point.grad, point.loss.detach(), apart.grad])
    torch.testing.assert_close(*found)
    torch.testing.assert_close(found[0][1], found[0][3])


@pytest.mark.parametrize("network", [resnet(3, "cifar", [4], [1], 3), convnet((3, 8, 8), [2], 3, [], 3)])
def test_parameters_may_come_in_any_order(network, double):
    model = Model(network, gaussian(0.3), in_turn=True)
    params, inputs = model.init(E, generator(0)), normal((E, N, 3, 8, 8), generator(1))
    turned = dict(reversed(params.items()))
    one, other = model.linearize(params, inputs), model.linearize(turned, inputs)
    torch.testing.assert_close(other.push(turned), one.push(params))
    pulled = other.pull(one.outputs)
    assert list(pulled) == list(turned)
    torch.testing.assert_close({name: pulled[name] for name in params}, one.pull(one.outputs))


def held(recompute, depth):
    """Bytes that a linearization holds, and those at most while it is recorded, of a network of equal blocks."""
    model = Model(resnet(3, "cifar", [4], [depth], 2), resnet_weights, in_turn=True, recompute=recompute)
    params, inputs = model.init(1, generator(0)), normal((1, 32, 3, 16, 16), generator(1))
    gc.collect()
    with Memory() as memory:
        at = model.linearize(params, inputs)
        now = memory.now
    del at
    return now, memory.most


def test_recomputation_keeps_what_enters_each_segment_alone():
    activation, blocks = 32 * 4 * 16 * 16 * 4, 6
    kept, recomputed = held(False, blocks)[0], held(True, blocks)[0]
    entering = (3 / 4 + blocks + 1) * activation  # the pictures are laid out anew
    assert abs(recomputed - entering) < 0.1 * entering
    assert kept > 3 * recomputed


@pytest.mark.parametrize("recompute", [False, True])
def test_recording_holds_one_segment_at_a_time(recompute):
    (few, few_most), (many, many_most) = held(recompute, 2), held(recompute, 6)
    assert many_most - few_most < 1.1 * (many - few)


class Choosy(nn.Module):
    """A layer that takes a number out of a tensor."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 3))

    def forward(self, inputs):
        return (inputs @ self.weight).exp() * (2.0 if inputs.sum().item() > 0 else 3.0)


def test_a_segment_that_cannot_be_recorded_is_recomputed_too(double):
    network = nn.Sequential(nn.Linear(3, 3), nn.Sequential(Choosy()), nn.Linear(3, 2))
    found = []
    for recompute in (False, True):
        model = Model(network, gaussian(0.5), in_turn=True, recompute=recompute)
        params, inputs = model.init(E, generator(0)), normal((E, N, 3), generator(1))
        at = model.linearize(params, inputs)
        found.append([at.outputs, at.push(params), at.pull(at.outputs)])
    torch.testing.assert_close(*found)
