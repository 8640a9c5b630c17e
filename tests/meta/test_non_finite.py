"""A training that is given up says where its numbers first stopped being finite, and advises what can help."""

from __future__ import annotations

from collections import deque

import pytest
import torch

from l2l_cli.config.build import build
from l2l_cli.config.compose import compose
from l2l_cli.core.errors import RunFailed
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.runs.building import build_learner, build_task
from l2l_cli.runs.making import training_of
from l2l_cli.tasks.quadratic import Quadratic

QUICK = ("task=quadratic", "gradient.episodes=2", "task.horizon=6", "gradient.window=3", "hardware.kernels=reference")


class RootOfZero(Quadratic):
    """A loss whose value is finite at 0, and whose derivative is not."""

    def loss(self, outputs, targets):
        return (0.0 * (outputs - targets)).square().sum(-1).sqrt()


class LogOfNegative(Quadratic):
    """A loss that is never finite."""

    def loss(self, outputs, targets):
        return torch.log(-1.0 - (outputs - targets).square().mean(-1))


class BrokenData(Quadratic):
    """Data that have a hole at the second step."""

    def sample(self, episodes, seed, phase):
        episode = super().sample(episodes, seed, phase)
        batches = episode.batches

        def holed(start, stop, *rest):
            found = batches(start, stop, *rest)
            inputs = found.inputs.clone()
            if start == 0:
                inputs[1] = torch.nan
            return found._replace(inputs=inputs)

        episode.batches = holed
        return episode


def failure(*words, target=None):
    settings = compose("meta-train", [*QUICK, *words])
    if target is None:
        training = training_of(settings)
    else:  # past the check of users' classes, as a fault that shows later
        learner = build_learner(settings, target(horizon=6))
        gradient, optimizer = build(settings.gradient, "gradient"), build(settings.optimizer, "optimizer")
        training = MetaTraining(learner, gradient, optimizer, settings.meta, settings.seed)
    with pytest.raises(RunFailed) as failed:
        deque((training.update() for _ in range(400)), maxlen=0)
    return str(failed.value)


def test_a_root_at_zero_is_the_tasks_and_no_learning_rate_is_blamed():
    text = failure(target=RootOfZero)
    assert "the gradient of the task's loss in theta at step 1" in text or "in the task's loss" in text
    assert "optimizer.lr" not in text


def test_a_loss_that_is_never_finite_is_the_tasks():
    text = failure(target=LogOfNegative)
    assert "the task's loss at step 1; no setting of meta-training can help" in text
    assert "optimizer.lr" not in text


def test_data_that_are_not_finite_are_named_by_their_step():
    text = failure(target=BrokenData)
    assert "in the data of step 2" in text
    assert "optimizer.lr" not in text


@pytest.mark.parametrize("gradient", ["backprop", "es", "pes", "replay"])
def test_a_diverging_rule_is_told_to_move_less(gradient):
    text = failure(f"gradient={gradient}", "learner.rule.output_scale=1e25", "gradient.window=3")
    assert "lower optimizer.lr or meta.clip, or shorten gradient.window" in text
    assert "step" in text


def test_a_meta_gradient_alone_is_named_by_its_parameter():
    from l2l_cli.meta.non_finite import first_non_finite

    settings = compose("meta-train", QUICK)
    task = build_task(settings)
    learner = build_learner(settings, task)
    training = training_of(settings)
    grad = {name: torch.zeros_like(value) for name, value in learner.named_parameters()}
    grad["rule.head.bias"][0] = torch.nan
    batches = training._estimator.window_of(learner, training._progress)
    text = first_non_finite(learner, training._progress.state, batches, 0, grad)
    assert "all losses were finite, but not the meta-gradient of rule.head.bias" in text
