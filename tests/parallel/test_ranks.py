"""One training over ranks is the training of one process, whatever estimates its gradient."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from l2l_cli.config.build import build
from l2l_cli.core.episodes import episode_axes, part, part_of
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.tree import flatten
from l2l_cli.core.types import Phase
from l2l_cli.learners.division import axes_of
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.meta.training import Validation
from l2l_cli.parallel.launched import Place
from l2l_cli.parallel.ranks import Ranks
from l2l_cli.tasks.divided import DividedEpisode
from tests.cases import LEARNED, LEARNERS, PAIRS, TASKS, pair_of
from tests.configured import node_of

EPISODES, UPDATES = 5, 5
SIZES = {"episodes": EPISODES, "pairs": 2, "window": 3}

TRAININGS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "backprop": ("digits", "coordinatewise_lstm", "backprop", {}),
    "backprop-shared-state": ("halfplanes", "weights_in_cell", "backprop", {}),
    "backprop-hidden": ("halfplanes", "lstm", "backprop", {"loss": {"_target_": "l2l_cli.meta.loss.HeldOut"}}),
    "backprop-types": ("digits-convnet", "coordinatewise_lstm_per_type", "backprop", {}),
    "replay": ("digits", "coordinatewise_lstm", "replay", {"replay": {"keep": 0.3, "capacity": 2, "fresh": 0.3}}),
    "replay-best": (
        "digits",
        "coordinatewise_lstm",
        "replay",
        {"replay": {"keep": 0.3, "fresh": 0.0, "store": "best"}},
    ),
    "es": ("digits", "coordinatewise_lstm", "es", {}),
    "pes": ("b14", "lstm", "pes", {}),
    "mlhf": ("digits", "mlhf", "mlhf", {"replay": {"keep": 0.3, "fresh": 0.5}}),
}
"""A task, a learner, an estimator and changes of it."""


def training_of(name: str, ranks: Ranks | None) -> MetaTraining:
    torch.set_default_dtype(torch.float64)
    task, learner, gradient, changes = TRAININGS[name]
    node = dict(node_of("gradient", gradient))
    node |= {key: size for key, size in SIZES.items() if key in node}
    for key, change in changes.items():
        node[key] = (node[key] | change) if "_target_" not in change else change
    plan = MetaPlan(updates=UPDATES, validate_every=2, validation_episodes=4, warmup=1)
    made = LEARNERS[learner](TASKS[task]())
    rule = build(node_of("optimizer", "adam"), "optimizer")
    return MetaTraining(made, build(node, "gradient"), rule, plan, 0, ranks)


def outcome(name: str, ranks: Ranks | None = None, saved: dict[str, torch.Tensor] | None = None, until: int = UPDATES):
    """Everything that a training has come to: its checkpoint, and its records."""
    training = training_of(name, ranks)
    if saved is not None:
        training.restore(saved)
    records = []
    for record in training.records():
        records.append(record)
        if training.number == until and (until < UPDATES or isinstance(record, Validation)):
            break
    return {key: value.clone() for key, value in training.checkpoint().items()}, records


class Follow:
    """The part that other ranks have in an ``outcome``."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __call__(self, ranks: Ranks) -> None:
        torch.set_num_threads(1)
        name, *rest = self.arguments
        outcome(name, ranks, *rest)


@pytest.fixture(scope="module")
def two():
    with Ranks(Place(0, 2, 0), local=True) as ranks:
        yield ranks


@pytest.fixture(scope="module")
def three():
    with Ranks(Place(0, 3, 0), local=True) as ranks:
        yield ranks


def divided(ranks: Ranks, *arguments: Any):
    ranks.begin(Follow(*arguments))
    name, *rest = arguments
    return outcome(name, ranks, *rest)


def same(found, expected):
    torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=1e-12)
    for one, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(one[1:], other[1:], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("size", ["two", "three"])
def test_ranks_come_to_what_one_process_comes_to(name, size, request, double):
    alone = outcome(name)
    same(divided(request.getfixturevalue(size), name), alone)
