"""Whole sequences of LSTM steps against ``torch.nn.LSTM``."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.kernels.paths import Paths
from l2l_cli.kernels.sequence import SequenceLSTM
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.meta.backprop import Backprop
from l2l_cli.tasks.functions import Booleans
from tests.cases import one_in


@pytest.mark.parametrize(
    ("hidden", "episodes", "layers", "threads"), one_in(2, [4, 7], [5, 32, 40, 130], [1, 2], [1, 2])
)
def test_activations_and_gradients_are_torchs(hidden, episodes, layers, threads, double):
    steps, width = 19, 3
    cell = torch.nn.LSTM(width, hidden, layers)
    rng = torch.Generator().manual_seed(0)
    inputs, wanted = (torch.randn(steps, episodes, size, generator=rng) for size in (width, hidden))
    state = tuple(torch.randn(layers, episodes, hidden, generator=rng) for _ in range(2))
    expected, last = cell(inputs, state)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found, found_last = SequenceLSTM()(inputs, *state, list(cell.parameters()))
    gradients = torch.autograd.grad((found * wanted).sum(), list(cell.parameters()))
    torch.set_num_threads(before)
    pairs = zip((found, *found_last), (expected, *last), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    for one, other in zip(
        gradients, torch.autograd.grad((expected * wanted).sum(), list(cell.parameters())), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("window", [None, 10])
def test_single_precision_is_within_its_digits(window):
    found = {}
    for fast in (False, True):
        learner = LSTM(Booleans(xor=True, length=40), hidden=16, readout=8, paths=Paths(fast))
        estimator = Backprop(episodes=32, window=window)
        progress, found[fast] = estimator.estimate(learner, estimator.init(learner, 0), 0.0)
        if window is not None:
            found[fast] = estimator.estimate(learner, progress, 0.0)[1]
    torch.testing.assert_close(found[True].loss, found[False].loss, rtol=1e-6, atol=0)
    vectors = [torch.cat([value.flatten() for value in found[fast].grad.values()]) for fast in (False, True)]
    assert (vectors[0] - vectors[1]).norm() < 1e-4 * vectors[0].norm()


def test_steps_one_by_one_can_still_be_differentiated():
    """Only ``losses`` takes the state for data: a graph through ``step`` is the reference's."""
    learner = LSTM(Booleans(xor=False, length=6), hidden=4)
    batches = learner.task.sample(3, derive(0, "x"), Phase.META_TRAIN).batches(0, 2)
    state = learner.init(3, generator(0, "x"))
    for t in range(2):
        state, answer = learner.step(state, batches.at(t))
    alone = torch.autograd.grad(answer.sum(), learner.cell.weight_ih_l0)[0]
    whole = learner.unroll(learner.init(3, generator(0, "x")), batches)[1][-1]
    torch.testing.assert_close(alone, torch.autograd.grad(whole.sum(), learner.cell.weight_ih_l0)[0])


def test_a_sequence_must_be_differentiated_before_the_next():
    runner, cell = SequenceLSTM(), torch.nn.LSTM(2, 3)
    zero = torch.zeros(1, 4, 3)
    outputs, _ = runner(torch.randn(5, 4, 2), zero, zero, list(cell.parameters()))
    runner(torch.randn(5, 4, 2), zero, zero, list(cell.parameters()))
    with pytest.raises(RuntimeError, match="overwritten by a later window"):
        outputs.sum().backward()
