"""The diagonal of the Gauss-Newton matrix against the matrix itself, and as a preconditioner."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Phase
from l2l_cli.core.vectors import stacked, unstacked
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.models.model import Model, gaussian
from l2l_cli.models.point import Point, mean_squared_error
from l2l_cli.optimizers.diagonal import PROBES, estimated_diagonal, ggn_diagonal
from l2l_cli.optimizers.mlhf import MLHF
from tests.cases import KINDS, TASKS


def point_of(task, episodes=2):
    params = task.model.init(episodes, generator(0))
    return Point(task.model, task.loss, params, task.sample(episodes, 0, Phase.TUNE).batch(0), curvature=task.curvature)


def dense_diagonal(point):
    units = torch.eye(stacked(point.params).shape[1])
    dense = [stacked(point.ggn(unstacked(unit.expand(2, -1), point.params))) for unit in units]
    return torch.stack(dense, 1).diagonal(dim1=1, dim2=2)


MIXING = ["digits-convnet", "digits-resnet"]
"""Networks with batch normalisations."""


@pytest.mark.parametrize("name", ["digits", "digits-cudaconvnet", "halfplanes", "digits-lstm", *MIXING])
def test_it_is_that_of_the_dense_matrix(name, double):
    point = point_of(TASKS[name]())
    torch.testing.assert_close(stacked(ggn_diagonal(point).values), dense_diagonal(point))


@pytest.mark.parametrize("name", MIXING)
def test_where_examples_are_mixed_each_has_backward_passes_of_its_own(name):
    point = point_of(TASKS[name]())
    assert point.mixes_examples
    assert ggn_diagonal(point).passes == math.prod(point.outputs.shape[1:]) + 1  # one saw that they are mixed


def test_a_normalisation_without_parameters_is_seen_to_mix_examples(double):
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False), nn.Tanh(), nn.Linear(4, 2))
    model = Model(network, gaussian(1.0))
    batch = Batch(torch.randn(2, 5, 3, generator=generator(1)), torch.randn(2, 5, 2, generator=generator(2)))
    point = Point(model, mean_squared_error, model.init(2, generator(0)), batch)
    torch.testing.assert_close(stacked(ggn_diagonal(point).values), dense_diagonal(point))


@pytest.mark.parametrize("name", ["digits", "digits-resnet"])
def test_the_estimate_has_the_diagonal_as_its_mean(name, double):
    point = point_of(TASKS[name]())
    exact = stacked(ggn_diagonal(point).values)
    estimates = torch.stack([stacked(estimated_diagonal(point, generator(seed)).values) for seed in range(40)])
    shown = exact > exact.max() / 100
    error = (estimates.mean(0) / exact - 1)[shown]
    assert error.abs().max() < 6 * (2 / (40 * PROBES)) ** 0.5
    assert error.mean().abs() < 0.01
    assert ((estimates / exact - 1)[:, shown]).std() < (2 / PROBES) ** 0.5


def test_its_cost_is_a_backward_pass_for_each_output():
    point = point_of(TASKS["digits"]())
    assert ggn_diagonal(point).passes == 11
    losses = {}
    for preconditioner in ("none", "jacobi", "diagonal"):
        rule = MLHF(0.2, iterations=2, kinds=KINDS, preconditioner=preconditioner)
        found = score(Descent(TASKS["digits"](), rule), 2, 4, 0, Phase.TUNE)
        losses[preconditioner] = found.losses[-1].mean()
        assert found.extra_evaluations.tolist() == [4 * (3 + 11 * (preconditioner == "diagonal"))] * 2
    assert len({*map(float, losses.values())}) == 3


def test_estimates_differ_from_step_to_step_and_not_from_run_to_run():
    def run(steps):
        rule = MLHF(0.2, iterations=2, kinds=KINDS, preconditioner="estimated_diagonal")
        return score(Descent(TASKS["digits"](), rule), 2, steps, 0, Phase.TUNE)

    found = run(4)
    assert found.extra_evaluations.tolist() == [4 * (3 + PROBES)] * 2
    torch.testing.assert_close(run(3).losses, found.losses[:3], rtol=0, atol=0)
    point = point_of(TASKS["digits"]())
    first, second = (estimated_diagonal(point, generator(seed)).values["0.weight"] for seed in (0, 1))
    assert not torch.equal(first, second)
