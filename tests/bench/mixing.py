"""The cost of a tensorwise mixture in use: one pass for statistics and one for moves, beside Adam's single one."""

from __future__ import annotations

from collections.abc import Callable

import torch

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch
from l2l_cli.kernels.paths import Paths
from l2l_cli.models.point import Point
from l2l_cli.optimizers.tensorwise_mixture import TensorwiseMixture
from tests.bench.applying import ADAM, SIZES, timed
from tests.bench.meta_step import FAST, REFERENCE
from tests.bench.problems import Bowl
from tests.bench.samples import Case


def cases(budget: float) -> list[Case]:
    """Return a case for each number of coordinates."""
    return [_case(size, budget) for size in SIZES]


def _case(size: int, budget: float) -> Case:
    contenders = {
        FAST: timed(_stepping(size, Paths(True)), budget),
        REFERENCE: timed(_stepping(size, Paths(False)), budget),
        ADAM: timed(_adam(size), budget),
    }
    return Case("mixing", f"{size:,} coordinates", contenders, notes=dict.fromkeys(contenders, "gradient given"))


def _stepping(size: int, paths: Paths) -> Callable[[], None]:
    """Return one step of the rule, of which the gradient and the loss are given."""
    task, rule = Bowl(size), TensorwiseMixture(paths=paths)
    params, batch = task.model.init(1, generator(0, "bench")), Batch(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    gradient, loss = {"theta": normal((1, size), generator(0, "gradient"))}, torch.ones(1)
    memory = rule.begin(params, 100)

    def step() -> None:
        nonlocal params, memory
        with torch.no_grad():
            point = Point(task.model, task.loss, params, batch)
            vars(point).update(grad=gradient, loss=loss)
            params, memory = rule.step(point, memory)

    return step


def _adam(size: int) -> Callable[[], None]:
    theta = torch.nn.Parameter(torch.zeros(size))
    theta.grad = normal((size,), generator(0, "gradient"))
    adam = torch.optim.Adam([theta], fused=True)

    def step() -> None:
        adam.step()

    return step
