"""K-FAC against explicit matrices, where its factors are exact and where they are means over places."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l2l_cli.autodiff.layer_traces import LayerTrace
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.models.convnet import BatchNorm
from l2l_cli.models.model import Model, gaussian
from l2l_cli.models.point import Point
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.factors import NUMBERS, Factors, blank, inverted, measure, times
from l2l_cli.optimizers.kfac import KFac
from l2l_cli.tasks.base import mean_squared_error
from tests.autodiff.test_layer_traces import blocks
from tests.cases import TASKS

E, N = 3, 6


def draw(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


def regression(inputs=4, outputs=2):
    model = Model(nn.Linear(inputs, outputs), gaussian(1.0))
    batch = Batch(draw(E, N, inputs), draw(E, N, outputs, seed=1))
    return Point(model, mean_squared_error, model.init(E, generator(2)), batch)


def dense(factors, name, episode):
    """A layer's block for vec(W, b) in rows."""
    return torch.kron(factors.outputs[name][episode].contiguous(), factors.inputs[name][episode].contiguous())


def rows(params, episode, name=""):
    prefix = f"{name}." if name else ""
    weight = params[f"{prefix}weight"][episode].flatten(1)
    return torch.cat([weight, params[f"{prefix}bias"][episode][:, None]], 1).flatten()


@pytest.mark.parametrize("fisher", ["sampled", "exact"])
def test_one_step_solves_a_linear_regression(fisher, double):
    """With squared errors every example bends alike, so that A ⊗ G is the Hessian and a step is Newton's."""
    point = regression(outputs=1 if fisher == "sampled" else 2)
    rule = KFac(lr=1.0, damping=1e-20, momentum=0.0, fisher=fisher)
    params, memory = rule.step(point, rule.init(point.params))
    ones = torch.cat([point._batch.inputs, torch.ones(E, N, 1)], 2)
    wanted = torch.linalg.lstsq(ones, point._batch.targets).solution.mT
    torch.testing.assert_close(
        torch.cat([params["weight"], params["bias"][..., None]], 2), wanted, rtol=1e-6, atol=1e-6
    )
    assert rule.extra_evaluations(memory).tolist() == [1.0 if fisher == "sampled" else 2.0] * E


def test_a_block_is_exact_where_all_inputs_are_alike(double):
    """Softmax regression: the factors' covariance is then none."""
    task = TASKS["digits"]()
    model = Model(nn.Linear(4, 3), gaussian(1.0))
    batch = Batch(draw(E, 1, 4).expand(E, N, 4), torch.eye(3)[torch.arange(N) % 3].expand(E, N, 3))
    point = Point(model, task.loss, model.init(E, generator(0)), batch)
    layers = point.layers(generator(0), "exact")
    factors = measure(layers, point.params)
    homogeneous = layers[""]._replace(inputs=torch.cat([layers[""].inputs, torch.ones(E, N, 1)], 2))
    for episode, block in enumerate(blocks(homogeneous)):
        torch.testing.assert_close(dense(factors, "", episode), block)


@pytest.mark.parametrize("damping", [1e-3, 1.0])
def test_a_step_is_the_explicit_natural_gradient(damping, double):
    """Of one example per episode, through two layers, with factored damping."""
    task = TASKS["digits"]()
    batch = task.sample(E, 1, Phase.TUNE).batch(0)
    point = Point(task.model, task.loss, task.model.init(E, generator(0)), Batch(*(v[:, :1] for v in batch[:2])))
    rule = KFac(lr=0.5, damping=damping, momentum=0.9, fisher="exact")
    params, memory = rule.step(point, rule.init(point.params))
    for name in ("0", "2"):
        for episode in range(E):
            a, g = memory.factors.inputs[name][episode], memory.factors.outputs[name][episode]
            pi = ((a.trace() / len(a)) / (g.trace() / len(g))).sqrt()
            block = torch.kron(g + damping**0.5 / pi * torch.eye(len(g)), a + pi * damping**0.5 * torch.eye(len(a)))
            natural = torch.linalg.solve(block, rows(point.grad, episode, name))
            moved = rows(point.params, episode, name) - rows(params, episode, name)
            torch.testing.assert_close(moved, 0.5 * natural)


def test_strong_damping_is_gradient_descent(double):
    task = TASKS["digits-convnet"]()
    batch = task.sample(E, 1, Phase.TUNE).batch(0)
    point = Point(task.model, task.loss, task.model.init(E, generator(0)), batch)
    factors = measure(point.layers(generator(0)), point.params)
    for name, value in times(inverted(factors, 1e16), point.grad).items():
        torch.testing.assert_close(1e16 * value, point.grad[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "options", [{"padding": 1}, {"padding": "same", "dilation": 2}, {"stride": 2, "padding": (2, 0)}], ids=str
)
def test_a_convolutions_factors_against_loops(options, bias, double, monkeypatch):
    monkeypatch.setitem(NUMBERS, "cpu", 2 * E * 2 * 7 * 6 * 9)  # two examples at a time
    module = nn.Conv2d(2, 4, 3, bias=bias, **options)
    inputs = draw(E, N - 1, 2, 7, 6)
    given = module(inputs.flatten(0, 1)).shape[1:]
    gradients = draw(2, E, N - 1, *given, seed=1)
    params = {name: value.detach().expand(E, *value.shape) for name, value in module.named_parameters()}
    found = measure({"": LayerTrace(module, inputs, gradients)}, params)
    for episode in range(E):
        a, g, places = 0.0, 0.0, given[1] * given[2]
        for n in range(N - 1):
            for place in range(places):
                only = torch.zeros(given).flatten(1)
                only[0, place] = 1.0  # the gradient of one output of one channel is what its window saw
                at = [value[episode].clone().requires_grad_() for value in params.values()]
                answer = torch.func.functional_call(
                    module, dict(zip(params, at, strict=True)), inputs[episode, n][None]
                )
                grads = torch.autograd.grad(answer, at, only.view(given)[None])
                seen = torch.cat([value[0].flatten() for value in grads])
                a = a + torch.outer(seen, seen) / (N - 1)
                for vector in gradients[:, episode, n].flatten(2)[..., place]:
                    g = g + torch.outer(vector, vector) / places
        torch.testing.assert_close(found.inputs[""][episode], a)
        torch.testing.assert_close(found.outputs[""][episode], g)


def test_a_window_over_the_whole_picture_is_a_linear_layer(double):
    wide, flat = nn.Conv2d(2, 4, 3), nn.Linear(18, 4)
    inputs, gradients = draw(E, N, 2, 3, 3), draw(1, E, N, 4, seed=1)
    found = measure({"": LayerTrace(wide, inputs, gradients[..., None, None])}, {})
    torch.testing.assert_close(found, measure({"": LayerTrace(flat, inputs.flatten(2), gradients)}, {}))


def test_a_linear_layer_at_many_places_is_a_convolution_of_width_one(double):
    inputs, gradients = draw(E, N, 5, 2), draw(1, E, N, 5, 4, seed=1)
    found = measure({"": LayerTrace(nn.Linear(2, 4), inputs, gradients)}, {})
    over = LayerTrace(nn.Conv2d(2, 4, 1), inputs.mT[..., None], gradients.mT[..., None])
    torch.testing.assert_close(found, measure({"": over}, {}))


@pytest.mark.parametrize("shape", [(3,), (3, 2, 2)])
def test_a_normalisations_diagonal_is_the_gauss_newton_matrixs(shape, double):
    model = Model(BatchNorm(3, scale=True), gaussian(1.0))
    batch = Batch(draw(E, N, *shape), draw(E, N, *shape, seed=1))
    point = Point(model, mean_squared_error, model.init(E, generator(0)), batch)
    found = measure(point.layers(generator(0), "exact"), point.params).diagonal
    for name, value in point.params.items():  # the loss is quadratic in them
        for channel in range(3):
            unit = {other: torch.zeros_like(given) for other, given in point.params.items()}
            unit[name] = torch.zeros_like(value).index_fill(1, torch.tensor(channel), 1.0)
            torch.testing.assert_close(found[name][:, channel], point.hessian(unit)[name][:, channel])


def test_running_means_begin_as_plain_means_and_then_forget(double):
    task, rule = TASKS["digits"](), KFac(1e-9, decay=0.6)
    episode, params = task.sample(E, 1, Phase.TUNE), task.model.init(E, generator(0))
    memory, fresh = rule.init(params), []
    for step in range(4):
        point = Point(task.model, task.loss, params, episode.batch(step))
        fresh.append(measure(point.layers(generator(step, "kfac")), params).outputs["2"])
        _, memory = rule.step(point, memory)
        if step == 1:
            torch.testing.assert_close(memory.factors.outputs["2"], (fresh[0] + fresh[1]) / 2)
    wanted = 0.6 * (0.6 * (fresh[0] + fresh[1]) / 2 + 0.4 * fresh[2]) + 0.4 * fresh[3]
    torch.testing.assert_close(memory.factors.outputs["2"], wanted)
    assert memory.seen.tolist() == [4.0] * E


def test_factors_are_observed_and_inverted_at_first_and_then_every_so_often():
    task, rule = TASKS["digits"](), KFac(1e-3, observe=2, every=4)
    episode, params = task.sample(E, 1, Phase.TUNE), task.model.init(E, generator(0))
    memory, observed, inverted_at = rule.init(params), [], []
    for step in range(10):
        before = memory
        params, memory = rule.step(Point(task.model, task.loss, params, episode.batch(step)), memory)
        if not torch.equal(memory.factors.inputs["0"], before.factors.inputs["0"]):
            observed.append(step)
        if not torch.equal(memory.inverses.inputs["0"], before.inverses.inputs["0"]):
            inverted_at.append(step)
    assert (observed, inverted_at) == ([0, 1, 2, 4, 6, 8], [0, 1, 2, 4, 8])
    assert memory.evaluations.tolist() == memory.seen.tolist() == [6.0] * E


def test_a_batch_with_hidden_targets_leaves_the_curvature_alone():
    task, rule = TASKS["digits"](), KFac(0.1)
    episode, params = task.sample(E, 1, Phase.TUNE), task.model.init(E, generator(0))
    _, memory = rule.step(Point(task.model, task.loss, params, episode.batch(0)), rule.init(params))
    batch = episode.batch(1)._replace(shown=torch.tensor([1.0, 0.0, 1.0]))
    _, after = rule.step(Point(task.model, task.loss, params, batch), memory)
    assert after.seen.tolist() == [2.0, 1.0, 2.0]
    for old, new in zip(memory.factors.inputs.values(), after.factors.inputs.values(), strict=True):
        assert torch.equal(old[1], new[1])
        assert not torch.equal(old[0], new[0])


def test_a_step_can_be_bounded_in_the_curvatures_norm(double):
    free, bound = (KFac(0.5, 1e-2, momentum=0.0, norm=norm) for norm in (None, 1e-3))
    point = regression()
    natural = free.step(point, free.init(point.params))[0]
    short = bound.step(point, bound.init(point.params))[0]
    for episode in range(E):
        one, two = (rows(point.params, episode) - rows(params, episode) for params in (natural, short))
        torch.testing.assert_close(two / two.norm(), one / one.norm())
        steepness = rows({name: value.detach() for name, value in point.grad.items()}, episode)
        whole, part = 0.5 * steepness @ one.detach(), 0.5 * steepness @ two.detach()
        assert whole > 1e-3
        assert (part**2 / whole).item() == pytest.approx(1e-3)


def test_it_learns_faster_than_adam():
    task = TASKS["digits"]()
    rules = [KFac(0.05, 1e-2), *(Adam(lr) for lr in (0.01, 0.03, 0.1))]
    own, *others = (score(Descent(task, rule), 8, 60, 0, Phase.TUNE).losses[-20:].mean() for rule in rules)
    assert own < 0.9 * min(others)


def test_what_it_cannot_factor_is_named():
    task = TASKS["quadratic"]()
    learner = Descent(task, KFac())
    with pytest.raises(UsageError, match=r"the network itself \(LinearMap\).*hessian_free"):
        learner.step(learner.init(E, generator(0)), task.sample(E, 0, Phase.TUNE).batch(0))
    for module in (nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 2, 3, padding_mode="circular"), nn.LayerNorm(2)):
        with pytest.raises(UsageError, match=rf"body\.1 \({type(module).__name__}\)"):
            measure({"body.1": LayerTrace(module, draw(E, N, 2, 3, 3), draw(1, E, N, 2, 3, 3))}, {})
    with pytest.raises(UsageError, match=r"1\.weight, whose module is never called"):
        measure({}, {"1.weight": draw(E, 2, 2)})


def test_parameters_without_curvature_still_have_an_inverse():
    params = {"weight": draw(E, 2, 3), "bias": draw(E, 2)}
    empty = blank(params)
    assert isinstance(empty, Factors)
    assert empty.inputs[""].shape == (E, 4, 4)
    for name, value in times(inverted(empty, 0.25), params).items():
        torch.testing.assert_close(value, 4 * params[name])
    lost = inverted(empty._replace(inputs={"": empty.inputs[""] + torch.nan}), 0.25)
    assert lost.inputs[""].isnan().all()


def test_hyper_parameters_are_checked():
    for options, named in (({"damping": 0.0}, "damping"), ({"norm": -1.0}, "norm"), ({"every": 0}, "every")):
        with pytest.raises(ValueError, match=f"{named} must be above 0"):
            KFac(**options)
    with pytest.raises(ValueError, match="decay must lie in"):
        KFac(decay=1.0)
    with pytest.raises(ValueError, match="fisher must be one of sampled, exact, empirical, not 'true'"):
        KFac(fisher="true")
