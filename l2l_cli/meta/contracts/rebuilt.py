"""Checks that what is built again from the same configuration, as in another process, is the same."""

from __future__ import annotations

from typing import Any

import torch

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Params, Phase
from l2l_cli.learners.base import Learner, phi_of
from l2l_cli.meta.contracts.data import EPISODES, sampled
from l2l_cli.meta.contracts.refusal import calling, refuse
from l2l_cli.meta.contracts.trying import differing, drawn
from l2l_cli.meta.gradient import set_phi
from l2l_cli.tasks.base import Task

SEEDED = "draw with core.random.generator(seed), or by torch's own functions, whose generator is seeded"


def check_task_again(task: Task, again: Task) -> None:
    """Check that a task that is built again has the same network and draws the same episodes.

    Raises:
        ContractError: The network or the episodes differ.
    """
    with drawn(0):
        one, other = (sampled(each, EPISODES, 0, Phase.META_TRAIN).batch(0) for each in (task, again))
    if differing(one, other):
        refuse(task, "__init__", "draws other episodes each time that it is built", SEEDED)
    with drawn(0):
        starts = [each.model.init(EPISODES, generator(0)) for each in (task, again)]
    weights = [dict(each.model.module.state_dict()) for each in (task, again)]
    # Parameters may be drawn anew for each episode; the network's other tensors must be the same.
    if names := differing(*starts) or [name for name in differing(*weights) if name not in starts[0]]:
        problem = f"has another {', '.join(names)} each time that it is built"
        refuse(task.model.module, "__init__", problem, SEEDED)


def check_learner_again(learner: Learner[Any], again: Learner[Any]) -> None:
    """Check that a learner that is built again is the same, also after it loads the φ that the other has saved.

    Raises:
        ContractError: The two differ.
    """
    if names := differing(dict(learner.state_dict()), dict(again.state_dict())):
        refuse(learner, "__init__", f"has another {', '.join(names)} each time that it is built", SEEDED)
    phi = {name: value.detach().clone() for name, value in phi_of(learner).items()}
    moved: Params = {
        name: value + 0.1 * normal(tuple(value.shape), generator(0, "moved", name)).to(value)
        for name, value in phi.items()
    }
    try:
        set_phi(learner, moved)
        again.load_state_dict(learner.state_dict())
        same = torch.equal(_answers(learner), _answers(again))
    finally:
        set_phi(learner, phi)
    if not same:
        problem = "gives other answers once it is rebuilt and its weights are loaded"
        refuse(learner, "__init__", problem, f"{SEEDED}; hold in parameters or by register_buffer what is to be saved")


@torch.no_grad()
def _answers(learner: Learner[Any]) -> torch.Tensor:
    steps = min(2, learner.task.horizon)
    batches = learner.task.sample(EPISODES, 0, Phase.META_TRAIN).batches(0, steps)
    with calling(learner, "unroll"), drawn(0):
        answers: torch.Tensor = learner.unroll(learner.init(EPISODES, generator(0)), batches)[1]
    return answers.nan_to_num()
