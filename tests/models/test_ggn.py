"""Gauss-Newton products against the explicit matrix, and what they cost in forward passes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

from l2l_cli.autodiff.linearize import linearized
from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch, Phase
from l2l_cli.core.vectors import stacked, unstacked
from l2l_cli.models.convnet import convnet, gaussian_weights
from l2l_cli.models.model import Model, gaussian
from l2l_cli.models.point import Point, output_hessian
from l2l_cli.tasks.base import binary_cross_entropy, binary_curvature, softmax_cross_entropy
from tests.cases import TASKS
from tests.image_tasks import digits_mlp

E = 2


def stand(task, batch=None, closed=True):
    batch = batch or task.sample(E, 1, Phase.TUNE).batch(0)
    curvature = task.curvature if closed else None
    return Point(task.model, task.loss, task.model.init(E, generator(0)), batch, curvature=curvature)


def matrix_of(product, params):
    """The matrix (E, D, D) of a linear map of parameters."""
    units = torch.eye(stacked(params).shape[1])
    columns = [stacked(product(unstacked(unit.expand(E, -1), params))) for unit in units]
    return torch.stack(columns, 2)


def explicit(point):
    """Jᵀ·H·J by the whole Jacobian of the model and the whole Hessian of the loss, one episode at a time."""
    params = {name: value.detach() for name, value in point.params.items()}
    found = []
    for e in range(E):
        own = {name: value[e] for name, value in params.items()}
        inputs, targets = (value[e] for value in point._batch[:2])
        answer = jacrev(lambda own, inputs=inputs: functional_call(point._model.module, own, (inputs,)))(own)
        outputs = point.outputs[e].detach()
        whole = torch.cat([value.reshape(outputs.numel(), -1) for value in answer.values()], 1)
        loss = lambda z, targets=targets: point._loss(z[None], targets[None])[0]  # noqa: E731
        bend = torch.autograd.functional.hessian(loss, outputs).reshape(outputs.numel(), -1)
        found.append(whole.T @ bend @ whole)
    return torch.stack(found)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "differentiated"])
@pytest.mark.parametrize("name", ["quadratic", "digits", "digits-convnet", "semilinear"])
def test_the_product_is_the_explicit_matrix(name, closed, double):
    task = TASKS[name]()
    if name == "digits":  # fewer pixels, so that the whole matrix is small
        task = digits_mlp(hidden=[3], examples=5, start=0.3, pool=4)
    point = stand(task, closed=closed)
    matrix = matrix_of(point.ggn, point.params)
    torch.testing.assert_close(matrix, explicit(point), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(matrix, matrix.mT)
    assert (torch.linalg.eigvalsh(matrix) > -1e-10).all()


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("in_turn", [False, True])
def test_normalisation_in_training_is_part_of_the_function(in_turn, scale, double):
    rng = generator(0)
    network = convnet((2, 4, 4), [2, 2], 3, [3], 3, scale)
    model = Model(network, gaussian_weights(0.5), in_turn=in_turn)
    targets = torch.eye(3).repeat(2, 1)[:5].expand(E, -1, -1)
    batch = Batch(normal((E, 5, 2, 4, 4), rng), targets)
    point = Point(model, softmax_cross_entropy, model.init(E, rng), batch)
    torch.testing.assert_close(matrix_of(point.ggn, point.params), explicit(point), rtol=1e-8, atol=1e-10)


def test_the_fisher_matrix_of_a_squashed_model_is_that_of_its_logits(double):
    rng = generator(0)
    logits = normal((E, 6, 1), rng)
    outputs, u = logits.sigmoid(), normal((E, 6, 1), rng)
    ones, zeros = torch.ones_like(u), torch.zeros_like(u)
    right, wrong = (output_hessian(binary_cross_entropy, outputs, targets, u) for targets in (ones, zeros))
    found = binary_curvature(outputs, u)
    torch.testing.assert_close(found, outputs * right + (1 - outputs) * wrong)
    slope = outputs * (1 - outputs)
    torch.testing.assert_close(slope * found, u / 6, rtol=1e-4, atol=0)


def test_episodes_are_independent_and_hidden_ones_flat(double):
    task = TASKS["halfplanes"]()
    batch = task.sample(E, 1, Phase.TUNE).batch(0)
    v = {name: normal(value.shape, generator(3)) for name, value in task.model.init(E, generator(0)).items()}
    whole = stand(task, batch._replace(shown=torch.ones(E))).ggn(v)
    first = stand(task, batch._replace(shown=torch.tensor([1.0, 0.0]))).ggn(v)
    altered = {name: torch.cat([value[:1], -3 * value[1:]]) for name, value in v.items()}
    other = stand(task, batch._replace(shown=torch.ones(E))).ggn(altered)
    for name, value in whole.items():
        assert value.any()
        assert (first[name][1] == 0).all()
        torch.testing.assert_close(first[name][0], value[0])
        torch.testing.assert_close(other[name], torch.cat([value[:1], -3 * value[1:]]))


def test_meta_gradients_flow_through_the_vector_by_the_same_product(double):
    point = stand(TASKS["digits"]())
    u, v = ({name: normal(value.shape, generator(seed)) for name, value in point.params.items()} for seed in (1, 2))
    leaves = {name: value.requires_grad_() for name, value in v.items()}
    through = point.ggn(leaves)
    total = sum((through[name] * u[name]).sum() for name in u)
    found = torch.autograd.grad(total, [*leaves.values(), *point.params.values()], allow_unused=True)
    for value, expected in zip(found, point.ggn(u).values(), strict=False):
        torch.testing.assert_close(value, expected)
    assert all(value is None for value in found[len(leaves) :])


@pytest.mark.parametrize("name", ["digits", "digits-convnet"])
def test_one_forward_pass_serves_the_answer_the_gradient_and_the_products(name, double):
    task = TASKS[name]()
    plain, shared = stand(task), stand(task)
    calls = []
    linear = shared.linear
    shared._model = lambda *_: calls.append(1)
    torch.testing.assert_close(shared.outputs, plain.outputs)
    torch.testing.assert_close(shared.loss, plain.loss)
    for part, value in shared.grad.items():
        torch.testing.assert_close(value, plain.grad[part])
    # The answer is still a function of the parameters, for whoever scores it.
    values = list(shared.params.values())
    again = torch.autograd.grad(shared.outputs.square().sum(), values)
    for value, expected in zip(again, linear.pull(2 * shared.outputs.detach()).values(), strict=True):
        torch.testing.assert_close(value, expected)
    assert not calls


class Choosy(nn.Module):
    """A network that takes a number out of a tensor."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, inputs):
        return (inputs @ self.weight).exp() * (2.0 if inputs.sum().item() > 0 else 3.0)


def test_a_network_that_cannot_be_recorded_is_differentiated_each_time(double):
    model, rng = Model(Choosy(), gaussian(1.0), in_turn=True), generator(0)
    params, inputs = model.init(E, rng), normal((E, 4, 3), rng)
    v = {"weight": normal((E, 3), rng)}
    for sign in (1.0, -1.0):
        outputs = model(params, sign * inputs)
        at = model.linearize(params, sign * inputs)
        expected = outputs * vmap(torch.mv)(sign * inputs, v["weight"])
        torch.testing.assert_close(at.push(v), expected)
        torch.testing.assert_close(at.pull(outputs)["weight"], vmap(torch.mv)(sign * inputs.mT, outputs.square()))


def test_a_program_serves_other_numbers_of_the_same_shapes(double):
    task, rng = TASKS["digits-convnet"](), generator(0)
    recorded, reference = task.model.linearize, partial(linearized, task.model)
    for step in range(3):
        params, inputs = task.model.init(E, rng), task.sample(E, 1, Phase.TUNE).batch(step).inputs
        v = {name: normal(value.shape, rng) for name, value in params.items()}
        one, other = recorded(params, inputs), reference(params, inputs)
        torch.testing.assert_close(one.push(v), other.push(v))
        torch.testing.assert_close(one.pull(one.outputs), other.pull(one.outputs))


def test_a_loss_that_is_linear_in_the_outputs_has_no_curvature():
    point = stand(TASKS["quadratic"]())
    linear = Point(point._model, lambda outputs, targets: outputs.mean(1), point.params, point._batch)
    assert all((value == 0).all() for value in linear.ggn(point.params).values())
