"""The trained learners of finished runs, ready to be evaluated."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from l2l_cli.config.build import Builder
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.tree import all_finite
from l2l_cli.learners.base import Learner
from l2l_cli.results.exported import FinishedRun
from l2l_cli.results.tensor_files import Damaged
from l2l_cli.runs.building import build_learner
from l2l_cli.runs.tensors import read_tensors, size_of
from l2l_cli.tasks.base import Task


def weights_of(learner: Learner[Any]) -> dict[str, Tensor]:
    """Return the saved state of a learner: its parameters, including frozen ones, and its buffers."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in learner.state_dict().items()}


def load_learner(run: FinishedRun, saved: Settings, task: Task, builder: Builder) -> Learner[Any]:
    """Build a finished run's learner for a task, with its trained weights.

    Raises:
        UsageError: The weights do not fit, since the task or the changed learner has other shapes than the run's; or
            they are damaged, or not finite.
    """
    learner = build_learner(saved, task, builder)
    wanted = weights_of(learner)
    weights = _weights(run, size_of(wanted))
    kinds = {name: (value.shape, value.dtype) for name, value in wanted.items()}
    wrong = [name for name, value in weights.items() if kinds.get(name) != (value.shape, value.dtype)]
    if wrong or not dict(learner.named_parameters()).keys() <= weights.keys():
        raise UsageError(f"the weights of {run.path} do not fit this task: {', '.join(wrong) or 'some are missing'}")
    learner.load_state_dict(weights, strict=False)
    return learner


def _weights(run: FinishedRun, expected: int) -> dict[str, Tensor]:
    """Read the trained weights, whose size is about ``expected`` bytes.

    Raises:
        UsageError: They are damaged, or not finite.
    """
    path, again = run.weights, run.remedy
    try:
        weights = read_tensors(path, expected)
    except Damaged as error:
        raise UsageError(f"{path} is damaged ({error}); {again}") from error
    if not all_finite(weights):
        wrong = [name for name, value in weights.items() if not all_finite(value)]
        raise UsageError(
            f"the weights in {path} are not finite ({', '.join(wrong)}): the run diverged, or the file is damaged; "
            f"lower optimizer.lr and run again, or delete the file, and {again}"
        )
    return weights
