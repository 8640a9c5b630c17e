"""What a point says of a network's layers, against explicit Jacobians."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from l2l_cli.autodiff.layer_traces import curvature_vectors
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Phase
from l2l_cli.models.model import Model, gaussian
from l2l_cli.models.point import Point, output_hessian
from l2l_cli.tasks.base import mean_squared_error
from tests.cases import TASKS
from tests.image_tasks import image_task

E = 3


def stand(name="digits", shown=None):
    task = TASKS[name]()
    batch = task.sample(E, 1, Phase.TUNE).batch(0)._replace(shown=shown)
    return Point(task.model, task.loss, task.model.init(E, generator(0)), batch, curvature=task.curvature)


def gauss_newton(point, episode, weight):
    """Jᵀ·H·J of one episode in one weight matrix (out, in), from explicit derivatives."""
    own = {name: value[episode : episode + 1].detach() for name, value in point.params.items()}
    inputs = point._batch.inputs[episode : episode + 1]

    def answer(value):
        return point._model({**own, weight: value}, inputs)

    outputs = answer(own[weight])
    targets = point._batch.targets[episode : episode + 1]
    jacobian = torch.autograd.functional.jacobian(answer, own[weight]).reshape(outputs.numel(), -1)
    hessian = torch.autograd.functional.hessian(lambda at: point._loss(at, targets).sum(), outputs)
    return jacobian.T @ hessian.reshape(outputs.numel(), -1) @ jacobian


def blocks(layer):
    """Σ of vec(g·aᵀ)·vec(g·aᵀ)ᵀ over vectors and examples, for each episode."""
    rows = torch.einsum("keno,eni->eknoi", layer.gradients, layer.inputs).flatten(1, 2).flatten(2)
    return rows.mT @ rows


@pytest.mark.parametrize(("name", "weights"), [("digits", ["0", "2"]), ("quadratic_function", ["0", "2"])])
def test_exact_vectors_give_the_gauss_newton_matrix(name, weights, double):
    point = stand(name)
    layers = point.layers(generator(0), "exact")
    assert list(layers) == weights
    for weight in weights:
        found = blocks(layers[weight])
        for episode in range(E):
            torch.testing.assert_close(
                found[episode], gauss_newton(point, episode, f"{weight}.weight"), rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize("name", ["digits", "quadratic_function", "halfplanes"])
def test_it_is_what_ggn_multiplies_by(name, double):
    point = stand(name)
    for weight, layer in point.layers(generator(0), "exact").items():
        value = point.params[f"{weight}.weight"]
        v = {other: torch.zeros_like(given) for other, given in point.params.items()}
        v[f"{weight}.weight"] = torch.randn(value.shape, generator=generator(1))
        wanted = point.ggn(v)[f"{weight}.weight"].flatten(1)
        torch.testing.assert_close((blocks(layer) @ v[f"{weight}.weight"].flatten(1)[..., None])[..., 0], wanted)


def test_sampled_vectors_give_it_in_the_mean(double):
    point = stand()
    exact, rng = blocks(point.layers(generator(0), "exact")["2"]), generator(1)
    found = torch.stack([blocks(point.layers(rng)["2"]) for _ in range(400)])
    error = (found.mean(0) - exact) / (found.std(0) / 20 + 1e-12)
    assert error.square().mean() < 2
    assert (found.mean(0) - exact).norm() < 0.1 * exact.norm()


def test_empirical_vectors_give_the_mean_of_the_gradients_products(double):
    point = stand()
    found = blocks(point.layers(generator(0), "empirical")["0"])
    total = torch.zeros_like(found)
    examples = point._batch.inputs.shape[1]
    for n in range(examples):
        one = Batch(*(value[:, n : n + 1] for value in point._batch[:2]))
        grad = Point(point._model, point._loss, point.params, one).grad["0.weight"].flatten(1)
        total += grad[:, :, None] * grad[:, None, :] / examples
    torch.testing.assert_close(found, total)


def test_one_pass_serves_for_all(double):
    point, plain = stand("digits-convnet"), stand("digits-convnet")
    with torch.no_grad():
        first = point.layers(generator(0))
        torch.testing.assert_close(point.outputs, plain.outputs)
        torch.testing.assert_close(point.loss, plain.loss)
        torch.testing.assert_close(point.grad, plain.grad)
        again = point.layers(generator(0))
        plain.grad  # noqa: B018, frees its own pass
        late = plain.layers(generator(0))
    for name, layer in first.items():
        assert not layer.gradients.requires_grad
        assert torch.equal(again[name].gradients, layer.gradients)
        torch.testing.assert_close(late[name].gradients, layer.gradients)


def test_episodes_in_turn_or_side_by_side(double):
    task = image_task("convnet.ConvNet", channels=[2], kernel=3, dense=[3], examples=5, start=0.3)
    batch, params = task.sample(E, 1, Phase.TUNE).batch(0), task.model.init(E, generator(0))
    together = Model(task.model.module, gaussian(0.3))
    found, wanted = (Point(m, task.loss, params, batch).layers(generator(0)) for m in (together, task.model))
    for name, layer in wanted.items():
        assert layer.inputs.shape[:2] == layer.gradients.shape[1:3] == (E, 5)
        torch.testing.assert_close(found[name].inputs, layer.inputs)
        torch.testing.assert_close(found[name].gradients, layer.gradients)


def test_hidden_targets_bend_nothing():
    point = stand("digits", torch.tensor([1.0, 0.0, 1.0]))
    for fisher in ("sampled", "exact", "empirical"):
        for layer in point.layers(generator(0), fisher).values():
            assert (layer.gradients[:, 1] == 0).all()
            assert layer.gradients[:, [0, 2]].flatten(2).any(2).any(0).all()


def test_saturated_and_concave_losses():
    task, rng = TASKS["digits"](), generator(0)
    targets = torch.eye(10)[None, :7]
    for curvature in (task.curvature, partial(output_hessian, task.loss)):
        for spread in (1.0, 10.0, 30.0, 100.0, 1e4):
            outputs = spread * torch.randn(1, 7, 10, generator=rng)
            found = curvature_vectors(task.loss, curvature, outputs, targets, rng, "exact")
            assert found.isfinite().all()
            assert found.abs().max() <= 1
    outputs, bent = torch.ones(1, 4, 2), torch.tensor([2.0, -3.0])
    found = curvature_vectors(task.loss, lambda outputs, targets, u: bent * u, outputs, outputs, rng, "exact")
    torch.testing.assert_close(found.square().sum(0), torch.tensor([2.0, 0.0]).expand(1, 4, 2))
    assert (
        curvature_vectors(task.loss, lambda outputs, targets, u: 0 * u, outputs, outputs, rng, "sampled") == 0
    ).all()


def test_a_layer_that_is_called_twice_is_refused():
    shared = nn.Linear(2, 2)
    model = Model(nn.Sequential(shared, nn.Tanh(), shared), gaussian(1.0))
    point = Point(
        model, mean_squared_error, model.init(E, generator(0)), Batch(torch.ones(E, 4, 2), torch.ones(E, 4, 2))
    )
    with pytest.raises(UsageError, match=r"0 \(Linear\) is called twice"):
        point.layers(generator(0))
    assert not shared._forward_hooks
