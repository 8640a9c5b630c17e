"""Training by the rules of 1997: what an epoch does to the weights, and what the rules refuse."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.learners.logistic_network import Recurrent
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.meta.horizon import Curriculum
from l2l_cli.meta.online_training import OnlineTraining
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.meta.rules import RTRL, Truncated1997, TruncatedBPTT
from l2l_cli.meta.training import Update, Validation
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.tasks.functions import Booleans

PLAN = MetaPlan(updates=4, validate_every=2, validation_episodes=3)


def task(functions=5):
    return Booleans(length=6, functions=functions)


def training(learner, rule, seed=0, lr=0.1):
    return OnlineTraining(learner, rule, Sgd(lr), PLAN, seed)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: LSTM1997(task(), 2, 2, 3, spread=0.9), Truncated1997(update="batch")),
        (lambda: Recurrent(task(), 5, spread=0.9), RTRL(update="batch")),
    ],
    ids=["lstm1997", "rtrl"],
)
def test_a_batch_epoch_descends_the_summed_error_of_the_fixed_set(make, rule, double):
    learner, reference = make(), make()
    batches = reference.task.training_set().batches(0, 6)
    _, answers = reference.unroll(reference.init(5, generator(0)), batches)
    loss = (answers - batches.targets).square().sum()
    loss.backward()
    run = training(learner, rule)
    assert run.update().loss == pytest.approx(loss.item() / 30)
    run.finish()
    for name, value in learner.named_parameters():
        torch.testing.assert_close(value, getattr(reference, name) - 0.1 * getattr(reference, name).grad)


def test_records_are_epochs_and_validations_of_the_present_weights():
    run = training(Recurrent(task(), 3), TruncatedBPTT())
    records = list(run.records())
    assert [record.number for record in records if isinstance(record, Update)] == [1, 2, 3, 4]
    assert [record.number for record in records if isinstance(record, Validation)] == [2, 4]
    losses = [record.loss for record in records if isinstance(record, Update)]
    assert sum(losses[:2]) / 2 == pytest.approx(next(r.train for r in records if isinstance(r, Validation)))


def test_without_a_fixed_set_every_epoch_is_new():
    drawn = [
        RTRL(sequences=7).presentation(Recurrent(task(None), 3), 0, number).batches(0, 6).targets for number in (0, 1)
    ]
    assert drawn[0].shape[1] == 7
    assert not torch.equal(*drawn)


def test_a_curriculum_shortens_the_first_sequences(double):
    """The first epoch sees two steps alone, so its loss is that of two steps."""
    learner = Recurrent(task(), 4)
    batches = learner.task.training_set().batches(0, 2)
    _, answers = learner.unroll(learner.init(5, generator(0)), batches)
    expected = (answers - batches.targets).square().mean().item()
    rule = TruncatedBPTT(update="batch", horizon=Curriculum(short=2, until=0.5, settled=0.5))
    assert training(learner, rule).update().loss == pytest.approx(expected)


def test_a_checkpoint_is_taken_up_where_it_was_left():
    whole, begun, resumed = (training(Recurrent(task(), 3), RTRL()) for _ in range(3))
    losses = [whole.update().loss for _ in range(4)]
    first = [begun.update().loss for _ in range(2)]
    resumed.restore(begun.checkpoint())
    assert first + [resumed.update().loss for _ in range(2)] == losses


@pytest.mark.parametrize(
    ("learner", "rule", "said"),
    [
        (lambda: LSTM(task()), RTRL(), "gradient=rtrl is the rule of learner=recurrent, not of LSTM"),
        (lambda: Recurrent(task()), Truncated1997(), "the rule of learner=lstm1997, not of Recurrent"),
        (lambda: LSTM1997(task()), TruncatedBPTT(), "gradient=bptt2 is the rule of learner=recurrent"),
    ],
)
def test_a_rule_knows_its_own_network_alone(learner, rule, said):
    with pytest.raises(ValueError, match=said):
        training(learner(), rule)


def test_the_rules_are_plain_gradient_descent():
    with pytest.raises(ValueError, match="need optimizer=sgd, whose lr they use, not Adam"):
        OnlineTraining(Recurrent(task()), RTRL(), Adam(), PLAN, 0)


def test_only_as_many_seeds_as_there_are_lanes():
    many = [training(Recurrent(task(), 3), RTRL(), seed) for seed in range(9)]
    with pytest.raises(ValueError, match="8 seeds fit side by side, not 9"):
        many[0].together_with(many)


def test_depth_and_sequences_have_ranges():
    with pytest.raises(ValueError, match="depth must be at least 1, not 0"):
        TruncatedBPTT(depth=0)
    with pytest.raises(ValueError, match="sequences must be at least 1, not 0"):
        RTRL(sequences=0)
