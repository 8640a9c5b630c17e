"""Where numbers stop being finite: at which step, in which quantity, and what can help."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.tree import leaves
from l2l_cli.core.types import Batches, Params
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point

ITS_TASK = (
    "no setting of meta-training can help: look for a root, a logarithm or a division at 0 in the task's loss or "
    "network, and for non-finite numbers in its data"
)
DIVERGES = "lower optimizer.lr or meta.clip, or shorten gradient.window"


def first_non_finite(learner: Learner[Any], state: Any, batches: Batches, start: int, grad: Params) -> str:
    """Return where a window's numbers first stop being finite, and what can help, in one sentence.

    Args:
        learner: Learner that repeats the window's steps, one by one.
        state: Its state before the window.
        batches: Data of the window.
        start: Number of steps of the episode before the window.
        grad: The window's meta-gradient by φ's names.
    """
    with torch.no_grad():
        for index in range(batches.steps):
            batch, step = batches.at(index), start + index + 1
            if not _finite(batch.inputs) or not _finite(batch.targets):
                return f"the first non-finite number was in the data of step {step}; {ITS_TASK}"
            after, answer = learner.step(state, batch)
            if not _finite(learner.task.loss(answer, batch.targets)):
                cure = ITS_TASK if step == 1 else DIVERGES
                return f"the first non-finite number was the task's loss at step {step}; {cure}"
            if isinstance(learner, Descent):
                point = Point(learner.task.model, learner.task.loss, state.params, batch)
                if bad := [name for name, value in point.grad.items() if not _finite(value)]:
                    where = f"the gradient of the task's loss in {bad[0]} at step {step}"
                    return f"the first non-finite number was in {where}; {ITS_TASK}"
            if bad := [name for name, value in leaves(after) if not _finite(value)]:
                where = f"{bad[0]} of the learner's state after step {step}"
                return f"the first non-finite number was in {where}; {DIVERGES}"
            state = after
    bad = [name for name, value in grad.items() if not _finite(value)]
    if not bad:
        return f"its steps, repeated one by one, are all finite; {DIVERGES}"
    return f"all losses were finite, but not the meta-gradient of {bad[0]}; {DIVERGES}"


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())
