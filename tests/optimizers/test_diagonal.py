"""The diagonal of the Gauss-Newton matrix against the matrix itself, and as a preconditioner."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.core.vectors import stacked, unstacked
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.diagonal import ggn_diagonal
from l2l_cli.optimizers.mlhf import MLHF
from tests.cases import KINDS, TASKS


def point_of(task, episodes=2):
    params = task.model.init(episodes, generator(0))
    return Point(task.model, task.loss, params, task.sample(episodes, 0, Phase.TUNE).batch(0), curvature=task.curvature)


@pytest.mark.parametrize("name", ["digits", "digits-cudaconvnet", "halfplanes"])
def test_it_is_that_of_the_dense_matrix(name, double):
    point = point_of(TASKS[name]())
    found = stacked(ggn_diagonal(point).values)
    units = torch.eye(found.shape[1])
    dense = [stacked(point.ggn(unstacked(unit.expand_as(found), point.params))) for unit in units]
    torch.testing.assert_close(found, torch.stack(dense, 1).diagonal(dim1=1, dim2=2))


def test_its_cost_is_a_backward_pass_for_each_output():
    point = point_of(TASKS["digits"]())
    assert ggn_diagonal(point).passes == 10
    losses = {}
    for preconditioner in ("none", "jacobi", "diagonal"):
        rule = MLHF(0.2, iterations=2, kinds=KINDS, preconditioner=preconditioner)
        found = score(Descent(TASKS["digits"](), rule), 2, 4, 0, Phase.TUNE)
        losses[preconditioner] = found.losses[-1].mean()
        assert found.extra_evaluations.tolist() == [4 * (3 + 10 * (preconditioner == "diagonal"))] * 2
    assert len({*map(float, losses.values())}) == 3


def test_a_network_that_mixes_examples_is_refused():
    with pytest.raises(UsageError, match=r"do not mix examples; not of .*BatchNorm"):
        ggn_diagonal(point_of(TASKS["digits-resnet"]()))
