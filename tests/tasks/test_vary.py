"""Variations of a task: who is drawn, what is refused, and that a resumed run meets the same ones."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.evolution import PersistentES
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.tasks.images.task import ImageTask
from l2l_cli.tasks.vary import Variations
from tests.image_tasks import digits_mlp

OPTIONS = {"hidden": [3], "examples": 4, "horizon": 4}
CHOICES = {"hidden": [[2], [3, 2]], "activation": ["sigmoid", "relu"]}


def variations(choices):
    return Variations(choices, lambda changes: digits_mlp(**{**OPTIONS, **changes}))


def test_every_variation_is_drawn_and_is_the_same_object_each_time():
    vary = variations(CHOICES)
    drawn = [vary(seed) for seed in range(200)]
    assert len({id(task) for task in drawn}) == 4
    counts = [sum(task is other for other in drawn) for task in set(drawn)]
    assert min(counts) > 25
    assert all(vary(seed) is task for seed, task in enumerate(drawn))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"hidden": []}, "vary.hidden must be a list"),
        ({"hidden": 3}, "vary.hidden must be a list"),
        ({"hidden": [[0]]}, "at least 1"),
        ({"hiden": [[3]]}, "did you mean 'hidden'"),
    ],
)
def test_what_the_task_does_not_take_is_refused(choices, message):
    with pytest.raises(UsageError, match=message):
        variations(choices)


def training(estimator=Backprop, **arguments):
    task = digits_mlp(**OPTIONS).with_variations(variations(CHOICES))
    learner = Descent(task, CoordinatewiseLSTM(hidden=3))
    plan = MetaPlan(updates=14, validate_every=7, validation_episodes=2)
    return MetaTraining(learner, estimator(episodes=2, window=2, **arguments), Adam(0.01), plan, 0)


@pytest.mark.parametrize("stop", [3, 6, 9])
@pytest.mark.parametrize(("estimator", "arguments"), [(Backprop, {}), (PersistentES, {"pairs": 2})])
def test_a_resumed_run_stands_in_the_same_variation(estimator, arguments, stop, double):
    whole = training(estimator, **arguments)
    wanted = list(whole.records())
    broken, records = training(estimator, **arguments), []
    for record in broken.records():
        records.append(record)
        if len(records) == stop:
            break
    saved = {name: value.clone() for name, value in broken.checkpoint().items()}
    resumed = training(estimator, **arguments)
    resumed.restore(saved)
    records += list(resumed.records())
    assert str(records) == str(wanted)
    for name, value in whole.phi().items():
        assert torch.equal(value, resumed.phi()[name]), name


def test_gradients_come_from_variations_and_validation_from_the_task(monkeypatch):
    one, seen = training(), set()
    sample = ImageTask.sample

    def spy(task, episodes, seed, phase):
        seen.add((phase.value, tuple(task.model.shapes)))
        return sample(task, episodes, seed, phase)

    monkeypatch.setattr(ImageTask, "sample", spy)
    list(one.records())
    assert len({shapes for phase, shapes in seen if phase == "meta_train"}) == 2
    assert len({shapes for phase, shapes in seen if phase == "meta_valid"}) == 1
