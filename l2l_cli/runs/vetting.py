"""Checks of classes from outside of this program, made before anything is trained or scored with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from l2l_cli.config.schema import Settings
from l2l_cli.core.nodes import Node, classes_in
from l2l_cli.learners.base import Learner
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.contracts.estimators import check_estimator
from l2l_cli.meta.contracts.learners import check_learner
from l2l_cli.meta.contracts.reached import check_reached
from l2l_cli.meta.contracts.rebuilt import check_learner_again, check_task_again
from l2l_cli.meta.contracts.rules import check_optimizer
from l2l_cli.meta.contracts.tasks import check_task
from l2l_cli.meta.contracts.trying import drawn
from l2l_cli.meta.gradient import Estimator
from l2l_cli.meta.replay import ReplayedBackprop
from l2l_cli.meta.rules import OnlineRule
from l2l_cli.models.model import Model
from l2l_cli.optimizers.base import FirstOrder
from l2l_cli.parallel.replicated import Replicated
from l2l_cli.tasks.base import Task

_CHECKED: set[str] = set()
"""What this process has checked."""

_BY_ANOTHER = ContextVar("_BY_ANOTHER", default=False)


@contextmanager
def checked_by_another() -> Iterator[None]:
    """Check nothing within the block, since another process does."""
    token = _BY_ANOTHER.set(True)
    try:
        yield
    finally:
        _BY_ANOTHER.reset(token)


def vet_task(node: Node, task: Task, make: Callable[[], Task]) -> None:
    """Check a task if its class, or any class within it, is from outside of this program.

    Args:
        node: Node that it was built from.
        task: The task.
        make: Function that builds it again.

    Raises:
        ContractError: It breaks its contract.
    """
    with _once(node) as wanted:
        if wanted:
            check_task(task)
            check_task_again(task, make())


def vet_learner(node: Node, learner: Learner[Any], make: Callable[[], Learner[Any]]) -> None:
    """Check a learner if its class, or any class within it, is from outside of this program; see ``vet_task``."""
    with _once(node) as wanted:
        if wanted:
            check_learner(_alone(learner), differentiated=False)
            check_learner_again(_alone(learner), _alone(make()))


def vet_training(
    settings: Settings, learner: Learner[Any], gradient: Estimator | OnlineRule, optimizer: FirstOrder[Any]
) -> None:
    """Check that a learner's φ can be trained, and what trains it, where classes are from outside of this program.

    Raises:
        ContractError: One of them breaks its contract.
    """
    differentiated = isinstance(gradient, Backprop | ReplayedBackprop)
    with _once(settings.learner, "φ", settings.gradient) as wanted:
        if wanted and differentiated:
            check_reached(_alone(learner))
    with _once(settings.optimizer) as wanted:
        if wanted:
            check_optimizer(optimizer)
    with _once(settings.gradient, settings.learner) as wanted:
        if wanted and isinstance(gradient, Estimator):
            check_estimator(gradient, _alone(learner))


@contextmanager
def _once(node: Node, *besides: object) -> Iterator[bool]:
    """Yield whether this process still has to check a node, and record that it has done so."""
    key = json.dumps([_without_rates(node), *besides], sort_keys=True, default=str)
    wanted = is_foreign(node) and key not in _CHECKED and not _BY_ANOTHER.get()
    if not wanted:
        yield False
        return
    with drawn(2):
        yield True
    _CHECKED.add(key)


def is_foreign(node: object) -> bool:
    """Return whether a node, at any depth, names a class from outside of this program and of torch."""
    return any(name.split(".")[0] not in ("l2l_cli", "torch") for name in classes_in(node))


def _without_rates(node: object) -> object:
    """Return a node without its fractions, so that the settings of a tuning are checked only once."""
    if isinstance(node, Mapping):
        return {name: _without_rates(value) for name, value in node.items()}
    return None if isinstance(node, float) else node


def _alone(learner: Learner[Any]) -> Learner[Any]:
    """Return a learner whose model is computed in this process only."""
    model = learner.task.model
    if not isinstance(model, Replicated):
        return learner
    return learner.on(learner.task.with_model(Model(model.module, model.initializer, model.in_turn, model.recompute)))
