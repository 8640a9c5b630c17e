"""When fits are made, and of what."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Batches, Phase
from l2l_cli.learners.refit.base import Refit
from l2l_cli.learners.refit.logistic_regression import CrossValidatedLogisticRegression, LogisticRegression
from l2l_cli.tasks.functions import SemiLinear
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.cases import TASKS

E = 5


class Counting(Refit):
    """Answers with the sum of what it was fitted to, and notes how much that was."""

    def __init__(self, task, growth):
        super().__init__(task, growth)
        self.sizes = []

    def fit(self, inputs, targets):
        self.sizes.append(len(targets))
        return lambda asked: np.full(len(asked), inputs.sum() + 1000.0 * targets.sum())


def data(interleaved=False):
    task = Halfplanes(dimension=3, samples=20, interleaved=interleaved, share=[0.3, 0.7])
    return task, task.sample(E, 3, Phase.TEST).batches(0, 20)


@pytest.mark.parametrize("interleaved", [False, True])
def test_a_hidden_example_is_answered_by_a_fit_to_all_that_were_shown_before(interleaved, double):
    task, batches = data(interleaved)
    learner = Counting(task, None)
    state, answers = learner.unroll(learner.init(E, generator(0)), batches)
    for row in range(E):
        for step in range(20):
            before = batches.shown[:step, row] > 0
            x, y = batches.inputs[:step, row, 0][before], batches.targets[:step, row, 0, 0][before]
            if batches.shown[step, row]:
                continue  # answered, but by whatever fit there is
            expected = x.sum() + 1000.0 * y.sum() if y.any() and not y.all() else (y.sum() + 1) / (len(y) + 2)
            torch.testing.assert_close(answers[step, row].squeeze(), expected)
    assert torch.equal(state.known, batches.shown.sum(0).long())


def test_without_growth_there_is_one_fit_a_data_set(double):
    task, batches = data()
    learner = Counting(task, None)
    state, answers = learner.unroll(learner.init(E, generator(0)), batches)
    assert sorted(learner.sizes) == sorted(batches.shown.sum(0).int().tolist())
    assert (answers[batches.shown > 0] == 0.5).all()
    learner.predict(state, batches.inputs[0])
    assert len(learner.sizes) == E  # the same fits again


@pytest.mark.parametrize("growth", [None, 0.0, 0.4])
def test_windows_and_steps_make_the_same_fits(growth, double):
    task, batches = data(interleaved=True)
    whole, parts = Counting(task, growth), Counting(task, growth)
    expected = whole.unroll(whole.init(E, generator(0)), batches)[1]
    state, found = parts.init(E, generator(0)), []
    for start, stop in [(0, 1), (1, 9), (9, 20)]:
        window = Batches(*(value[start:stop] for value in batches))
        state, answers = parts.unroll(state, window)
        found.append(answers)
    torch.testing.assert_close(torch.cat(found), expected)
    assert sorted(whole.sizes) == sorted(parts.sizes)


@pytest.mark.parametrize(("targets", "expected"), [([], 1 / 2), ([1.0], 2 / 3), ([0.0, 0.0, 0.0], 1 / 5)])
def test_one_class_is_answered_by_laplaces_rule(targets, expected, double):
    learner = LogisticRegression(Halfplanes(dimension=2), growth=0.0)
    count = len(targets)
    inputs = torch.randn(count, 1, 1, 2)
    given = Batches(inputs, torch.tensor(targets).view(count, 1, 1, 1), torch.ones(count, 1))
    state = learner.init(1, generator(0))
    if count:
        state, _ = learner.unroll(state, given)
    torch.testing.assert_close(learner.predict(state, torch.randn(1, 4, 2)), torch.full((1, 4, 1), expected))


def test_wrong_uses_are_explained():
    with pytest.raises(ValueError, match="hides none; give the share"):
        LogisticRegression(TASKS["b14"](), growth=None)
    with pytest.raises(ValueError, match="growth must be at least 0, not -1"):
        LogisticRegression(TASKS["b14"](), growth=-1)
    task = SemiLinear(length=6)
    learner = CrossValidatedLogisticRegression(task, growth=0.0)
    with pytest.raises(UsageError, match=r"met the target 0\.\d+; choose a task"):
        learner.unroll(learner.init(2, generator(0)), task.sample(2, 0, Phase.TEST).batches(0, 3))
