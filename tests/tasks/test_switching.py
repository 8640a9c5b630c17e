"""Functions that change without notice, and the learner that knows how often they do."""

from __future__ import annotations

import itertools

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batches, Phase
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.tasks.functions import Booleans, QuadraticFunction
from l2l_cli.tasks.switching import Switching


def test_a_function_stays_until_its_age_begins_anew():
    """Across the border of two blocks too: an input met twice at one age's run has one answer."""
    task = Switching(Booleans(), every=20)
    episode = task.sample(8, 0, Phase.TEST)
    batches, age = episode.batches(0, 600), episode.age(0, 600)
    assert (age[0] == 1).all()
    grows = age[1:] == age[:-1] + 1
    assert (grows | (age[1:] == 1)).all()
    index = (2 * batches.inputs[..., 0] + batches.inputs[..., 1]).long().flatten(1)
    for e in range(8):
        known: dict[int, float] = {}
        for t in range(600):
            known = {} if age[t, e] == 1 else known
            assert known.setdefault(index[t, e].item(), batches.targets[t, e, 0, 0]) == batches.targets[t, e, 0, 0]


def test_functions_change_as_often_as_asked():
    age = Switching(Booleans(), every=10).sample(50, 0, Phase.TEST).age(0, 1000)
    assert (age[1:] == 1).double().mean().item() == pytest.approx(0.1, abs=0.005)


def test_the_change_point_learner_is_bayes_rule_by_enumeration(double):
    """All sequences of three functions, weighted by their probability, against the filter's answer."""
    family = Booleans(xor=False)
    task, tables, hazard = Switching(family, every=4), family.tables, 0.25
    seen, answers = [0, 3, 0], [1.0, 0.0, 0.0]  # the third contradicts the first: there was a change
    inputs = torch.tensor([[code // 2, code % 2] for code in seen], dtype=torch.float64).view(3, 1, 1, 2)
    targets = torch.tensor(answers).view(3, 1, 1, 1)
    learner = Bayes(task)
    state, _ = learner.unroll(learner.init(1, generator(0)), Batches(inputs, targets))
    told = learner.predict(state, inputs[1])[0, 0, 0].item()
    mass = positive = 0.0
    for f in itertools.product(range(len(tables)), repeat=4):
        if all(tables[f[t], seen[t]] == answers[t] for t in range(3)):
            steps = [(1 - hazard) * (f[t] == f[t + 1]) + hazard / len(tables) for t in range(3)]
            weight = steps[0] * steps[1] * steps[2]
            mass, positive = mass + weight, positive + weight * tables[f[3], 3].item()
    assert told == pytest.approx(positive / mass, rel=1e-10)


def test_changing_quadratics_have_no_bayes_learner():
    with pytest.raises(ValueError, match="QuadraticFunction that changes; only for Booleans"):
        Bayes(Switching(QuadraticFunction()))
