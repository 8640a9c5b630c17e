"""Refitting on soft targets."""

from __future__ import annotations

import torch

from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.refit.logistic_regression import LogisticRegression
from l2l_cli.tasks.functions import SemiLinear


def test_it_finds_a_function_of_its_own_class(double):
    """A semi-linear function is a logistic regression: with a weak penalty its error goes to nothing."""
    losses = score(LogisticRegression(SemiLinear(length=60), c=1e5, growth=0.2), 4, 60, 0, Phase.TEST).losses
    assert losses[-10:].mean() < 1e-4
    assert losses[0].mean() > 100 * losses[-1].mean()


def test_growth_refits_seldom(double):
    task = SemiLinear()
    batch = task.sample(1, 0, Phase.TUNE).batches(0, 12)
    learner = LogisticRegression(task, growth=0.5)
    state, fitted = learner.init(1, torch.Generator()), []
    for step in range(12):
        state, _ = learner.step(state, batch.at(step))
        fitted.append(int(state.fitted))
    assert fitted == [1, 2, 2, 4, 4, 4, 7, 7, 7, 7, 11, 11]
