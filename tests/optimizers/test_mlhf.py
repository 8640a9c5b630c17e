"""MLHF against plain Hessian-free steps, its networks' sizes, and how it treats kinds of parameters."""

from __future__ import annotations

import math

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.core.vectors import stacked
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.hessian_free import HessianFree
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.optimizers.type_rnns import CoordinateRNN
from tests.cases import KINDS, TASKS
from tests.image_tasks import digits_mlp


def constant(rule, damping, precondition=1.0):
    """Make the networks say the same for every coordinate."""
    with torch.no_grad():
        for part, value in ((rule.damping, damping - rule.base_damping), (rule.precondition, precondition)):
            for network in part.kinds.values():
                network.head.weight.zero_()
                network.head.bias.fill_(math.log(math.expm1(value)))
    return rule


@pytest.mark.parametrize("name", ["digits", "digits-cudaconvnet", "digits-resnet", "digits-lstm"])
@pytest.mark.parametrize("preconditioner", ["learned", "none"])
def test_with_constant_networks_it_is_hessian_free(name, preconditioner, double):
    task = TASKS[name]()
    rule = constant(MLHF(0.5, iterations=3, kinds=KINDS, preconditioner=preconditioner), 0.2)
    ours = score(Descent(task, rule), 2, 6, 0, Phase.TUNE)
    plain = score(Descent(task, HessianFree(0.5, 0.2, iterations=3)), 2, 6, 0, Phase.TUNE)
    torch.testing.assert_close(ours.losses, plain.losses)
    assert torch.equal(ours.extra_evaluations, plain.extra_evaluations)


def test_a_constant_preconditioner_changes_nothing_and_jacobi_neither_under_constant_damping(double):
    task = TASKS["digits"]()
    losses = [
        score(Descent(task, constant(rule, 0.2, value)), 2, 6, 0, Phase.TUNE).losses
        for rule, value in ((MLHF(), 1.0), (MLHF(), 9.0), (MLHF(preconditioner="jacobi"), 1.0))
    ]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[2])


def test_the_residual_is_that_of_the_damped_system(double):
    task = digits_mlp(hidden=[3], examples=5, start=0.3, pool=4)
    rule, params = MLHF(iterations=2), task.model.init(2, generator(0))
    memory = rule.init(params)
    for step in range(3):
        point = Point(
            task.model, task.loss, params, task.sample(2, 0, Phase.TUNE).batch(step), curvature=task.curvature
        )
        found = rule.solve(point, memory)
        x = dict(zip(found.like, from_columns(found), strict=True))
        bent = point.ggn({name: x[name] for name in params})
        whole = stacked({name: bent[name] for name in found.like}) + found.damping * found.x
        torch.testing.assert_close(found.residual, found.grad - whole)
        assert (found.damping > 2e-5).all()
        params, memory = rule.step(point, memory)
    assert rule.extra_evaluations(memory).tolist() == [9.0, 9.0]


def from_columns(found):
    sizes = [value[0].numel() for value in found.like.values()]
    pieces = found.x.split(sizes, 1)
    return [piece.view_as(value) for piece, value in zip(pieces, found.like.values(), strict=True)]


def test_each_kind_has_networks_of_277_weights():
    assert sum(value.numel() for value in CoordinateRNN(3, 4, 2, 0).parameters()) == 277
    assert sum(value.numel() for value in MLHF().parameters()) == 2216
    assert sum(value.numel() for value in MLHF(kinds=KINDS).parameters()) == 3324
    assert sum(value.numel() for value in MLHF(preconditioner="none").parameters()) == 1108


def test_kinds_are_told_apart():
    kinds = TASKS["digits-resnet"]().model.parameter_types
    assert set(kinds.values()) == {"conv_weight", "dense_weight", "dense_bias", "norm_scale", "norm_offset"}
    assert all(
        kind.startswith("norm") == ("norm" in name or name[-5:] == "scale" or name[-6:] == "offset")
        for name, kind in kinds.items()
    )
    assert set(TASKS["digits-cudaconvnet"]().model.parameter_types.values()) == {
        "conv_weight",
        "conv_bias",
        "dense_weight",
        "dense_bias",
    }


def test_a_network_moves_its_own_kind_alone(double):
    task = TASKS["digits-cudaconvnet"]()
    params = task.model.init(1, generator(0))
    batch = task.sample(1, 0, Phase.TUNE).batch(0)
    found = {}
    for touched in (None, "conv_bias"):
        rule = MLHF()
        if touched:
            with torch.no_grad():
                rule.damping.kinds[touched].head.bias += 3.0
        point = Point(task.model, task.loss, params, batch, curvature=task.curvature)
        solved = rule.solve(point, rule.init(params))
        begin = 0
        for name, value in solved.like.items():
            found[touched, name] = solved.damping[:, begin : begin + value[0].numel()]
            begin += value[0].numel()
    for name in params:
        same = torch.equal(found[None, name], found["conv_bias", name])
        assert same == (task.model.parameter_types[name] != "conv_bias")


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="iterations"):
        MLHF(iterations=0)
    with pytest.raises(ValueError, match="base_damping"):
        MLHF(base_damping=0.0)
