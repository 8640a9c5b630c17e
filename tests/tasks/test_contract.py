"""What every task owes."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase, Split
from tests.cases import FUNCTION_TASKS, HIDING, STATIONARY, TASKS


@pytest.fixture(params=TASKS)
def task(request, double):
    return TASKS[request.param]()


def test_batches_are_a_pure_function_of_seed_and_step(task):
    first, second = task.sample(3, 1, Phase.TEST), task.sample(3, 1, Phase.TEST)
    late = second.batch(9)
    assert torch.equal(first.batches(0, 10).inputs[9], late.inputs)
    assert torch.equal(first.batches(0, 10).targets[9], late.targets)
    assert torch.equal(first.batches(5, 10).at(4).targets, late.targets)


def test_seeds_and_phases_draw_apart(task):
    draws = [task.sample(3, seed, phase).batches(0, 10) for seed in (0, 1) for phase in Phase]
    for index, one in enumerate(draws):
        for other in draws[index + 1 :]:
            assert not (torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets))


def test_the_loss_is_differentiable_and_per_episode(task):
    batch = task.sample(3, 0, Phase.TUNE).batch(0)
    outputs = torch.full_like(batch.targets, 0.3).requires_grad_()
    task.loss(outputs, batch.targets)[1].backward()
    assert outputs.grad is not None
    assert outputs.grad[1].abs().sum() > 0
    assert outputs.grad[0].abs().sum() == outputs.grad[2].abs().sum() == 0


def test_the_model_answers_in_the_targets_shape(task):
    batch = task.sample(3, 0, Phase.TUNE).batch(0)
    params = task.model.init(3, generator(0))
    assert task.model(params, batch.inputs).shape == batch.targets.shape
    assert batch.inputs.shape[2:] == task.spec.inputs
    assert batch.targets.shape[2:] == task.spec.targets
    assert batch.inputs.shape[1] == task.spec.examples


def test_a_task_that_hides_says_so_at_every_step(task):
    episode = task.sample(3, 0, Phase.TEST)
    batches = episode.batches(2, 12)
    assert (batches.shown is not None) == (episode.batch(2).shown is not None) == task.spec.hides
    if batches.shown is not None:
        assert batches.shown.shape == (10, 3)
        assert torch.equal(batches.shown[4], episode.batch(6).shown)
        assert set(batches.shown.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("name", HIDING)
def test_every_episode_shows_some_targets_and_hides_some(name):
    shown = TASKS[name]().sample(50, 0, Phase.TEST).batches(0, 12).shown
    assert (shown.sum(0) > 0).all()
    assert (shown.sum(0) < 12).all()


@pytest.mark.parametrize("name", FUNCTION_TASKS + HIDING)
def test_episodes_go_on_past_the_horizon(name, double):
    task = TASKS[name]()
    episode = task.sample(2, 0, Phase.TEST)
    stretch = episode.batches(250, 530)
    assert stretch.steps == 280
    assert torch.equal(stretch.at(100).inputs, episode.batch(350).inputs)
    assert not torch.equal(stretch.inputs[6], episode.batch(0).inputs)


@pytest.mark.parametrize("name", STATIONARY)
def test_held_out_examples_are_of_the_same_function(name, double):
    episode = TASKS[name]().sample(2, 0, Phase.TEST)
    train, held_out = episode.batches(0, 8), episode.batches(0, 8, Split.TEST)
    assert not torch.equal(train.inputs, held_out.inputs)
    torch.testing.assert_close(
        held_out.targets.flatten(1), TASKS[name]().evaluate(episode.coefficients, held_out.inputs.squeeze(2))
    )
