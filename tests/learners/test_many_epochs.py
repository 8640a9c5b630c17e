"""Full-batch training with the number of epochs by cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l2l_cli.learners.refit.many_epochs import ManyEpochs
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.tasks.halfplanes import Halfplanes

TASK = Halfplanes(dimension=2, hidden=[5])
ASKED = np.random.default_rng(1).normal(size=(6, 2))


def examples(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2))
    return x, (x[:, 0] + 0.5 * rng.normal(size=count) > 0).astype(float)


def trained(start, x, y, rate, epochs):
    """θ before each step on the mean loss, and after the last."""
    along = [start]
    for _ in range(epochs):
        params = {name: value.clone().requires_grad_() for name, value in along[-1].items()}
        answers = TASK.model(params, torch.from_numpy(x)[None])
        loss = TASK.loss(answers, torch.from_numpy(y)[None, :, None]).sum()
        grads = torch.autograd.grad(loss, list(params.values()))
        moved = zip(along[-1].items(), grads, strict=True)
        along.append({name: value - rate * grad for (name, value), grad in moved})
    return along


def loss(params, x, y):
    answers = TASK.model(params, torch.from_numpy(x)[None])
    return TASK.loss(answers, torch.from_numpy(y)[None, :, None]).item() * len(y)


def test_the_epochs_are_those_of_least_held_out_loss(double):
    x, y = examples(17, 0)
    learner = ManyEpochs(TASK, Sgd(1.0), epochs=40, patience=40, folds=3)
    start, held = learner._start([(x, y)]), np.zeros(41)
    for fold in range(3):
        out = np.arange(17) % 3 == fold
        held += [loss(params, x[out], y[out]) for params in trained(start, x[~out], y[~out], 1.0, 40)]
    best = int(held.argmin())
    expected = TASK.model(trained(start, x, y, 1.0, best)[-1], torch.from_numpy(ASKED)[None])[0, :, 0]
    np.testing.assert_allclose(learner.fit(x, y)(ASKED), expected)
    assert 0 < best < 40


def test_data_sets_side_by_side_are_each_as_if_alone(double):
    several = [examples(count, seed) for seed, count in enumerate((4, 30, 13))]
    learner = ManyEpochs(TASK, Adam(0.05), epochs=60, patience=5, folds=5)
    for fit, pair in zip(learner.fit_all(several), several, strict=True):
        np.testing.assert_allclose(fit(ASKED), learner.fit(*pair)(ASKED), rtol=1e-6)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="epochs and patience must be at least 1 and folds 2, not 5, 0 and 5"):
        ManyEpochs(TASK, Sgd(0.1), epochs=5, patience=0)
