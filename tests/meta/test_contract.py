"""What every file of conf/gradient owes: some learner and optimizer of conf/ is meta-trained by it."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
import torch

from l2l_cli.config.build import build
from l2l_cli.config.groups import options
from l2l_cli.core.errors import UsageError
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.online_training import OnlineTraining
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.meta.rules import OnlineRule
from tests.cases import LEARNED, LEARNERS, TASKS
from tests.configured import node_of

SIZES = {"episodes": 2, "pairs": 2, "window": 4, "sequences": 3}


def gradient_of(name):
    node = node_of("gradient", name)
    return build({**node, **{key: size for key, size in SIZES.items() if key in node}}, "gradient")


def training_of(name, learner, optimizer):
    """One learner and optimizer, ready to be trained by an estimator; it may refuse them at its first update."""
    gradient, plan = gradient_of(name), MetaPlan(updates=3, validate_every=3, validation_episodes=2)
    kind = OnlineTraining if isinstance(gradient, OnlineRule) else MetaTraining
    rule = build(node_of("optimizer", optimizer), "optimizer")
    training = kind(LEARNERS[learner](TASKS["b14"]()), gradient, rule, plan, 0)
    training.update()
    return training


@cache
def first_pair(name):
    """The first learner and optimizer that an estimator does not refuse."""
    said = []
    optimizers = sorted(options("optimizer"), key=lambda one: one != "adam")  # which most estimators take
    for optimizer, learner in product(optimizers, (one for one in LEARNED if one in options("learner"))):
        try:
            training_of(name, learner, optimizer)
        except (UsageError, ValueError) as error:
            said.append(f"{learner}, {optimizer}: {error}")
        else:
            return learner, optimizer
    raise AssertionError("\n".join(said))


def first_training(name):
    return training_of(name, *first_pair(name))


@pytest.mark.parametrize("name", options("gradient"))
def test_some_learner_is_trained_by_it_and_moves(name, double):
    training = first_training(name)
    before = {key: value.clone() for key, value in training.phi().items()}
    for _ in range(2):
        assert torch.isfinite(torch.tensor(training.update().loss))
    training.finish()
    assert any(not torch.equal(value, before[key]) for key, value in training.phi().items())


@pytest.mark.parametrize("name", options("gradient"))
def test_its_training_can_be_taken_up_again(name, double):
    one, other = first_training(name), first_training(name)
    other.restore(one.checkpoint())
    losses = [[float(training.update().loss) for _ in range(2)] for training in (one, other)]
    assert losses[0] == losses[1]
