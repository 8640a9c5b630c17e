"""What finished runs trained, ready to be measured."""

from __future__ import annotations

from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from l2l_cli.config.build import Builder
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.learners.base import Learner
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.building import build_learner
from l2l_cli.runs.folders import WEIGHTS
from l2l_cli.tasks.base import Task


def weights_of(learner: Learner[Any]) -> dict[str, Tensor]:
    """Return what is kept of a learner: its parameters, frozen ones too, and its buffers."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in learner.state_dict().items()}


def load_learner(run: RunFolder, saved: Settings, task: Task, builder: Builder) -> Learner[Any]:
    """Build a finished run's learner for a task, with its trained weights.

    Raises:
        UsageError: The weights do not fit: the task has other shapes than the run's, or the learner was changed so.
    """
    learner = build_learner(saved, task, builder)
    weights = load_file(run.path / WEIGHTS)
    shapes = {name: tuple(value.shape) for name, value in learner.state_dict().items()}
    wrong = [name for name, value in weights.items() if shapes.get(name) != tuple(value.shape)]
    if wrong or not dict(learner.named_parameters()).keys() <= weights.keys():
        raise UsageError(f"the weights of {run.path} do not fit this task: {', '.join(wrong) or 'some are missing'}")
    learner.load_state_dict(weights, strict=False)
    return learner
