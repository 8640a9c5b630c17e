"""The cost of a tensorwise mixture in use: one pass for statistics and one for moves, beside Adam's single one."""

from __future__ import annotations

from collections.abc import Callable

import torch

from l2l_cli.core.random import generator, normal
from l2l_cli.kernels.paths import Paths
from l2l_cli.optimizers.tensorwise_mixture import TensorwiseMixture
from l2l_cli.optimizers.torch_rule import RuleOptimizer
from tests.bench.applying import ADAM, SIZES, timed
from tests.bench.meta_step import FAST, REFERENCE
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
    """Return one step of the rule as an optimizer of torch, of which the gradient and the loss are given."""
    rule, theta = TensorwiseMixture(paths=paths), torch.nn.Parameter(torch.zeros(size))
    theta.grad = normal((size,), generator(0, "gradient"))
    optimizer = RuleOptimizer([theta], rule, horizon=100)

    def step() -> None:
        optimizer.step(loss=1.0)

    return step


def _adam(size: int) -> Callable[[], None]:
    theta = torch.nn.Parameter(torch.zeros(size))
    theta.grad = normal((size,), generator(0, "gradient"))
    adam = torch.optim.Adam([theta], fused=True)

    def step() -> None:
        adam.step()

    return step
