"""What a point on a loss surface answers."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.models.point import Point
from tests.cases import TASKS

E = 3


def stand(task, second_order=False):
    params = task.model.init(E, generator(0))
    return Point(task.model, task.loss, params, task.sample(E, 1, Phase.TUNE).batch(0), second_order)


def directions(point, seed=0):
    rng = generator(seed)
    return {name: torch.randn(value.shape, generator=rng) for name, value in point.params.items()}


@pytest.mark.parametrize("name", ["quadratic", "digits", "semilinear"])
def test_hessian_is_the_slope_of_the_gradient(name, double):
    task, step = TASKS[name](), 1e-5
    with torch.no_grad():
        point = stand(task)
        v = directions(point)
        product = point.hessian(v)
        ahead, behind = (
            point.at({name: value + sign * step * v[name] for name, value in point.params.items()}).grad
            for sign in (1.0, -1.0)
        )
    for name, value in product.items():
        torch.testing.assert_close(value, (ahead[name] - behind[name]) / (2 * step), rtol=1e-6, atol=1e-8)
    assert not any(value.requires_grad for value in product.values())


def test_hessian_is_symmetric_in_each_episode(double):
    point = stand(TASKS["digits"]())
    u, v = directions(point, 1), directions(point, 2)

    def inner(one, other):
        return sum((one[name] * other[name]).flatten(1).sum(1) for name in one)

    torch.testing.assert_close(inner(u, point.hessian(v)), inner(v, point.hessian(u)))


def test_meta_gradients_flow_through_the_vector_and_the_hessian_only_if_asked(double):
    task = TASKS["digits"]()
    for second_order in (False, True):
        params = {name: value.requires_grad_() for name, value in task.model.init(E, generator(0)).items()}
        point = Point(task.model, task.loss, params, task.sample(E, 1, Phase.TUNE).batch(0), second_order)
        v = {name: value.requires_grad_() for name, value in directions(point).items()}
        total = sum(value.square().sum() for value in point.hessian(v).values())
        through = torch.autograd.grad(total, [*v.values(), *params.values()], allow_unused=True)
        assert all(value is not None for value in through[: len(v)])
        assert all((value is not None) == second_order for value in through[len(v) :])


def test_a_loss_without_curvature_has_none():
    task = TASKS["quadratic"]()
    point = stand(task)
    linear = Point(task.model, lambda outputs, targets: outputs.mean(1), point.params, point._batch)
    assert all((value == 0).all() for value in linear.hessian(directions(point)).values())
