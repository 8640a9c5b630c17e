"""Meta-steps of a network in another network's memory: compiled and as reference, with the floor of its products."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from l2l_cli.config.hardware import Hardware
from l2l_cli.core.random import generator
from l2l_cli.core.types import Batches, Phase
from l2l_cli.learners.weights_in_cell import CellState, WeightsInCell
from l2l_cli.runs.building import prepare
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.bench.floors import FLOAT
from tests.bench.meta_step import FAST, REFERENCE, Ours, check_agreement, timed
from tests.bench.peers.protocol import cpu_seconds
from tests.bench.samples import Case, Work

EPISODES = 32
"""Data sets side by side, the recipe's."""


class CellSetting(NamedTuple):
    """The learner at the start of its data sets; to the clock, whatever has a φ is a rule."""

    learner: WeightsInCell
    rule: WeightsInCell
    state: CellState
    batches: Batches


def cell_setting(task: Halfplanes, episodes: int = EPISODES, **options: Any) -> CellSetting:
    """Return whole data sets of a task."""
    learner = WeightsInCell(task, **options)
    batches = task.sample(episodes, 0, Phase.META_TRAIN).batches(0, task.horizon)
    return CellSetting(learner, learner, learner.init(episodes, generator(0)), batches)


def cell_work(learner: WeightsInCell, steps: int, episodes: int) -> Work:
    """Return the work of a meta-step: products of the learner and of its model, thrice two for each weight.

    Once forward, once for the errors and once for the weights' gradients; but no error is wanted of the inputs, and
    the model's weights, other for each data set, are no sums.  Of memory, what the backward pass reads again of the
    forward: the gates and θ.
    """
    matrices: list[Tensor] = [layer.weight for layer in (*learner.layers, learner.gates)]
    products = 6 * sum(value.numel() for value in matrices) - 2 * matrices[0].numel()
    size = learner.task.model.size
    return Work(episodes * steps * (products + 6 * size), 2 * FLOAT * 4 * size * episodes * steps)


def cases(budget: float) -> list[Case]:
    """Return the case of the recipe, once both gradients agree.

    Raises:
        Disagreement: They do not.
    """
    prepare(Hardware())
    settings = {name: cell_setting(Halfplanes()) for name in (FAST, REFERENCE)}
    programs = {name: Ours(setting, name == FAST) for name, setting in settings.items()}
    (_, found), (_, wanted) = (program.gradient() for program in programs.values())
    learner, steps = settings[FAST].learner, settings[FAST].batches.steps
    case = Case("cells", "halfplanes", {}, work=dict.fromkeys(programs, cell_work(learner, steps, EPISODES)))
    case.notes[FAST] = check_agreement("halfplanes", FAST, found, wanted)
    case.notes[REFERENCE] = "the gradient to agree with"
    case.contenders |= {name: timed(partial(cpu_seconds, program), budget) for name, program in programs.items()}
    return [case]
