"""A learned start with learned rates: the recorded path against automatic differentiation."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.learned_init import LearnedInit
from l2l_cli.meta.backprop import Backprop
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.tasks.functions import Booleans
from tests.cases import TASKS

E = 3


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("rates", ["fixed", "shared", "separate"])
@pytest.mark.parametrize("name", ["halfplanes", "halfplanes-interleaved", "quadratic"])
def test_the_recorded_path_is_automatic_differentiation(name, rates, second_order, double):
    task = TASKS[name]()
    batches = task.sample(E, 0, Phase.META_TRAIN).batches(0, 12)
    weights, found = torch.randn(12, E), []
    for fast in (False, True):
        learner = LearnedInit(task, 0.2, rates, second_order, paths=Paths(fast))
        state, losses = learner.losses(learner.init(E, generator(0)), batches)
        found.append((state.displacement.detach(), losses.detach()))
        found[-1] += torch.autograd.grad((weights * losses).sum(), list(learner.parameters()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert len(found[0]) == 3 + (rates != "fixed")


def test_first_order_ignores_the_curvature(double):
    task = TASKS["halfplanes"]()
    grads = []
    for second_order in (True, False):
        learner = LearnedInit(task, 0.2, second_order=second_order)
        estimator = Backprop(E)
        grads.append(estimator.estimate(learner, estimator.init(learner, 0), 0.0)[1].grad["start"])
    assert 0.5 < torch.cosine_similarity(*grads, 0) < 0.9999


def test_from_the_same_start_it_is_gradient_descent(double):
    task = TASKS["halfplanes"]()
    learner, plain = LearnedInit(task, 0.3, "shared"), Descent(task, Sgd(0.3))
    batches = task.sample(E, 0, Phase.TEST).batches(0, 12)
    with torch.no_grad():
        start = plain.init(E, generator(0))
        first = learner._params(learner.init(E, generator(0)))
        start = start._replace(params={name: value.clone() for name, value in first.items()})
        torch.testing.assert_close(
            learner.unroll(learner.init(E, generator(0)), batches)[1], plain.unroll(start, batches)[1]
        )


def test_a_later_window_still_moves_the_start(double):
    task = Booleans(length=12)
    learner, estimator = LearnedInit(task), Backprop(E, window=6)
    progress, _ = estimator.estimate(learner, estimator.init(learner, 0), 0.0)
    assert estimator.estimate(learner, progress, 0.0)[1].grad["start"].abs().sum() > 0


def test_a_start_belongs_to_one_model():
    learner = LearnedInit(TASKS["halfplanes"]())
    assert learner.on(TASKS["halfplanes"]()).start is learner.start
    with pytest.raises(UsageError, match="knows the start of one model"):
        learner.on(TASKS["b14"]())
