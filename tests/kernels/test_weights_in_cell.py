"""Whole sequences of a network in another's memory against the learner's own steps."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batches, Phase
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.cases import one_in


def found(fast, episodes, steps, masked=True, **options):
    """θ after the last step, the losses, and the gradient of a sum of them in which each counts differently."""
    task = Halfplanes(dimension=3, samples=12, hidden=[5])
    options = {"hidden": [7, 6], "forget_bias": 1.0, "input_bias": 0.0, "gate_scale": 2.0} | options
    learner = WeightsInCell(task, **options, paths=Paths(fast))
    assert learner.path.is_compiled == fast
    batches = task.sample(episodes, 1, Phase.META_TRAIN).batches(0, steps)
    if not masked:
        batches = Batches(batches.inputs, batches.targets)
    state, losses = learner.losses(learner.init(episodes, generator(0)), batches)
    weights = torch.linspace(0.5, 1.5, losses.numel()).view_as(losses)
    phi = list(learner.parameters())
    return [state.params, losses, *torch.autograd.grad((weights * losses).sum(), phi, materialize_grads=True)]


SIZES = [(5, 12), (16, 12), (32, 12), (40, 9), (3, 1), (33, 2)]
"""Numbers of episodes and of steps."""


@pytest.mark.parametrize(
    ("sizes", "after_separator", "order", "masked"),
    one_in(2, SIZES, ["moves", "frozen"], ["predict_then_update", "hochreiter"], [True, False]),
)
def test_losses_and_gradients_are_the_references(sizes, after_separator, order, masked, double):
    episodes, steps = sizes
    options = {"order": order, "after_separator": after_separator}
    for one, other in zip(*(found(fast, episodes, steps, masked, **options) for fast in (True, False)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden", [[4], [4, 3, 5]])
def test_any_number_of_layers(hidden, double):
    for one, other in zip(*(found(fast, 8, 6, hidden=hidden) for fast in (True, False)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_single_precision_is_within_its_digits():
    one, other = (found(fast, 32, 12) for fast in (True, False))
    torch.testing.assert_close(one[1], other[1], rtol=1e-4, atol=1e-6)
    vectors = [torch.cat([value.flatten() for value in values[2:]]) for values in (one, other)]
    assert (vectors[0] - vectors[1]).norm() < 1e-4 * vectors[1].norm()


@pytest.mark.parametrize("scale", [100.0, 1e6])
def test_saturated_gates_stay_numbers(scale):
    for value in found(True, 32, 12, gate_scale=scale):
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("order", ["predict_then_update", "hochreiter"])
def test_windows_go_on_where_the_last_one_ended(order, double):
    task = Halfplanes(dimension=3, samples=12, hidden=[5])
    learner = WeightsInCell(task, hidden=[7, 6], order=order, forget_bias=1.0, input_bias=0.0)
    batches = task.sample(4, 1, Phase.META_TRAIN).batches(0, 12)
    with torch.no_grad():
        _, whole = learner.losses(learner.init(4, generator(0)), batches)
        state, parts = learner.init(4, generator(0)), []
        for start in (0, 5):
            stop = 5 if start == 0 else 12
            state, losses = learner.losses(state, Batches(*(value[start:stop] for value in batches)))
            parts.append(losses)
    torch.testing.assert_close(torch.cat(parts), whole)
    assert int(state.steps) == 12


def test_a_sequence_is_differentiated_once_and_before_the_next():
    task = Halfplanes(dimension=3, samples=12, hidden=[5])
    learner = WeightsInCell(task, hidden=[3])
    batches = task.sample(4, 1, Phase.META_TRAIN).batches(0, 12)
    first = learner.losses(learner.init(4, generator(0)), batches)[1].sum()
    second = learner.losses(learner.init(4, generator(0)), batches)[1].sum()
    with pytest.raises(RuntimeError, match="overwritten by a later window"):
        first.backward()
    second.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="overwritten by a later window"):
        second.backward()
