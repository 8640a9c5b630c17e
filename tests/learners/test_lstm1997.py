"""The network of 1997 against the paper's sizes and the algorithm's equations."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.quadratic import Quadratic


@pytest.mark.parametrize(("sizes", "weights"), [((6, 6, 0), 697), ((6, 12, 40), 5373)])
def test_it_has_the_papers_number_of_weights(sizes, weights):
    learner = LSTM1997(Booleans(), *sizes)
    assert sum(value.numel() for value in learner.parameters()) == weights
    assert (learner.first[sizes[0] + sizes[1] : sizes[0] + 2 * sizes[1], 3] == -1.0).all()


def unrolled(learner, steps=7):
    batches = learner.task.sample(3, 0, Phase.TUNE).batches(0, steps)
    answers = learner.unroll(learner.init(3, generator(0)), batches)[1]
    loss = (answers - batches.targets).square().sum()
    names, values = zip(*learner.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, values, materialize_grads=True), strict=True))


def test_the_truncated_gradient_is_the_trace_rule(double):
    """The cells' gradient from traces carried forward by hand, ∂s/∂w(t) = ∂s/∂w(t − 1) + in · g′ · source."""
    learner = LSTM1997(Booleans(), hidden=2, cells=2, spread=0.8)
    grad = unrolled(learner)["first"]
    batches = learner.task.sample(3, 0, Phase.TUNE).batches(0, 7)
    state, expected = learner.init(3, generator(0)), torch.zeros_like(grad[2:4])
    trace = torch.zeros(3, 2, learner.first.shape[1])
    with torch.no_grad():
        for t in range(7):
            one = torch.ones(3, 1)
            source = torch.cat([batches.inputs[t].flatten(1), state.previous, one, state.first], 1)
            candidate = torch.sigmoid(source @ learner.first[2:4].T)
            state, answer = learner.step(state, batches.at(t))
            into, out = state.first[:, 4:6], state.first[:, 6:8]
            trace = trace + (into * 4 * candidate * (1 - candidate)).unsqueeze(2) * source.unsqueeze(1)
            answer = answer.flatten(1)
            delta = 2 * (answer - batches.targets[t].flatten(1)) * answer * (1 - answer)
            h = 2 * torch.sigmoid(state.cell) - 1
            error = delta * learner.readout[:, 2:4] * out * (1 - h.square()) / 2
            expected += (error.unsqueeze(2) * trace).sum(0)
    torch.testing.assert_close(grad[2:4], expected, rtol=1e-10, atol=1e-12)


def test_truncation_changes_the_recurrent_gradient_alone(double):
    cut, full = (LSTM1997(Booleans(), 2, 2, truncated=truncated, spread=0.8) for truncated in (True, False))
    one, other = unrolled(cut), unrolled(full)
    torch.testing.assert_close(one["readout"], other["readout"])
    assert not torch.allclose(one["first"], other["first"])


def test_it_reads_one_example_a_step():
    with pytest.raises(ValueError, match="one example a step; Quadratic gives 10"):
        LSTM1997(Quadratic())
