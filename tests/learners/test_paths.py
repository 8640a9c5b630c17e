"""Which path a learner takes: a rule brings its own, and what may be taken is settled when the learner is built."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.config.build import Builder
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.kernels.paths import NUMBA, REFERENCE, Path, Paths
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.optimizers.compiled import Unroll
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.quadratic import Quadratic


class Doubled(Unroll[tuple]):
    """Losses that nobody else would return."""

    path = Path("doubled")

    def losses(self, params, memory, batches):
        return (params, memory), torch.full((batches.steps, len(batches.inputs[0])), 2.0)


class UsersRule(Sgd):
    """What a user may write: a rule with a path of its own, in a file of its own."""

    def compiled(self, fitting):
        return Doubled() if fitting.paths.compiled and not fitting.obstacle else Path(why_not=fitting.obstacle)


class UsersLearner(Learner):
    """What a user may write: a learner that has never heard of paths."""

    def __init__(self, task):
        super().__init__(task)

    def init(self, episodes, rng):
        return ()

    def step(self, state, batch):
        return state, batch.targets

    def predict(self, state, inputs):
        return inputs


def test_a_rule_brings_its_own_path():
    task = Quadratic(dimension=3)
    learner, plain = Descent(task, UsersRule(0.1)), Descent(task, Sgd(0.1))
    assert learner.path == Path("doubled")
    state, batches = learner.init(2, generator(0)), task.sample(2, 0, Phase.TEST).batches(0, 3)
    assert learner.losses(state, batches)[1].tolist() == [[2.0, 2.0]] * 3
    with torch.no_grad():  # what its path leaves out, the rule does itself
        found, wanted = (each.unroll(state, batches) for each in (learner, plain))
    torch.testing.assert_close(found[1], wanted[1])
    torch.testing.assert_close(found[0].params, wanted[0].params)
    assert Descent(task, UsersRule(0.1), second_order=True).path.why_not.startswith("second_order")
    assert Descent(task, UsersRule(0.1), paths=Paths(compiled=False)).path == REFERENCE


def test_a_path_reads_as_its_name_and_the_reason():
    assert str(NUMBA) == "numba"
    assert str(Path(why_not="it rains")) == "reference: it rains"
    assert not Path(why_not="it rains").is_compiled


@pytest.mark.parametrize("compiled", [True, False])
def test_paths_are_offered_to_the_learner_and_to_its_rule(compiled):
    builder = Builder(None, task=Quadratic(), paths=Paths(compiled))
    rule = {"_target_": "l2l_cli.optimizers.mlhf.MLHF", "kinds": ["dense_weight"]}
    learner = builder({"_target_": "l2l_cli.learners.descent.Descent", "rule": rule}, "learner")
    assert learner.path == learner.rule.path == (NUMBA if compiled else REFERENCE)
    users = builder({"_target_": "tests.learners.test_paths.UsersLearner"}, "learner")
    assert users.path == REFERENCE


def test_a_subclass_of_a_compiled_rule_takes_the_reference():
    class Larger(CoordinatewiseLSTM):
        def update(self, grad, memory):
            moves, memory = super().update(grad, memory)
            return {name: 2.0 * value for name, value in moves.items()}, memory

    path = Descent(Quadratic(), Larger(hidden=3)).path
    assert not path.is_compiled
    assert path.why_not.startswith("Larger may do")


def test_the_untruncated_twin_shares_phi_and_leaves_the_learner_as_it_is():
    learner = LSTM1997(Booleans(xor=True, length=5))
    twin = learner.untruncated()
    assert learner.truncated
    assert not twin.truncated
    assert all(one is other for one, other in zip(twin.parameters(), learner.parameters(), strict=True))
