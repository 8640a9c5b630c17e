"""L-BFGS and conjugate gradients against exact solutions, and as safe steps elsewhere."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Phase
from l2l_cli.core.vectors import stacked, unstacked
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.conjugate_gradient import ConjugateGradient
from l2l_cli.optimizers.lbfgs import Lbfgs, _times_inverse_hessian
from l2l_cli.optimizers.line_search import backtrack
from l2l_cli.optimizers.sgd import Momentum, Sgd
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import TASKS

E, D = 3, 6


def well_conditioned():
    rng = generator(3)
    matrix = torch.eye(D) * 2 + 0.3 * torch.randn(E, D, D, generator=rng)
    return Batch(matrix, torch.randn(E, D, generator=rng))


def follow(rule, batch, steps, task=None):
    learner = Descent(task or Quadratic(dimension=D), rule)
    state, losses = learner.init(E, generator(0)), []
    with torch.no_grad():
        for _ in range(steps):
            state, answer = learner.step(state, batch)
            losses.append(learner.task.loss(answer, batch.targets))
    return state, torch.stack(losses)


@pytest.mark.parametrize(("rule", "steps"), [(ConjugateGradient(), D), (Lbfgs(), 25)], ids=["cg", "lbfgs"])
def test_solves_a_quadratic(rule, steps, double):
    batch = well_conditioned()
    state, _ = follow(rule, batch, steps)
    torch.testing.assert_close(
        state.params["theta"], torch.linalg.solve(batch.inputs, batch.targets), rtol=1e-6, atol=1e-7
    )


def test_conjugate_gradient_is_the_limit_of_first_order_methods(double):
    batch = well_conditioned()
    least = follow(ConjugateGradient(), batch, D)[1]
    for rule in (Sgd(0.3), Sgd(0.8), Momentum(0.3, 0.5), Momentum(0.3, 0.9)):
        assert (least <= follow(rule, batch, D)[1] + 1e-12).all()


def test_conjugate_gradient_on_the_papers_quadratics():
    losses = score(Descent(Quadratic(), ConjugateGradient()), 300, 22, 0, Phase.TEST).losses.mean(1)
    assert losses[5] == pytest.approx(0.136, abs=0.015)
    assert losses[21] < 1e-3


def test_the_recursion_is_the_bfgs_matrix(double):
    rng = generator(0)
    steps = torch.randn(E, 2, D, generator=rng)
    changes = steps + 0.2 * torch.randn(E, 2, D, generator=rng)
    grad = torch.randn(E, D, generator=rng)
    memory = Lbfgs(history=3).init({"theta": torch.zeros(E, D)})
    memory = memory._replace(
        steps=torch.cat([memory.steps[:, :1], steps], 1), changes=torch.cat([memory.changes[:, :1], changes], 1)
    )
    found = _times_inverse_hessian(grad, memory)
    for episode in range(E):
        s, y = steps[episode], changes[episode]
        inverse = (s[-1] @ y[-1]) / (y[-1] @ y[-1]) * torch.eye(D)
        for one, other in zip(s, y, strict=True):  # Nocedal and Wright 2006, eq. 6.17
            across = torch.eye(D) - torch.outer(other, one) / (one @ other)
            inverse = across.T @ inverse @ across + torch.outer(one, one) / (one @ other)
        torch.testing.assert_close(found[episode], inverse @ grad[episode])


@pytest.mark.parametrize("make", [lambda: Lbfgs(3.0), ConjugateGradient], ids=["lbfgs", "cg"])
@pytest.mark.parametrize("name", ["digits", "semilinear", "quadratic"])
def test_no_step_makes_its_batch_worse(make, name, double):
    task, rule = TASKS[name](), make()
    episode = task.sample(E, 1, Phase.TUNE)
    learner = Descent(task, rule)
    state = learner.init(E, generator(0))
    with torch.no_grad():
        for step in range(12):
            batch = episode.batch(step)
            before = task.loss(task.model(state.params, batch.inputs), batch.targets)
            state, _ = learner.step(state, batch)
            after = task.loss(task.model(state.params, batch.inputs), batch.targets)
            assert (after <= before + 1e-12).all()
    assert (learner.extra_evaluations(state) >= 2 * 12).all()


def test_episodes_have_lengths_of_their_own(double):
    task = Quadratic(dimension=D)
    batch = Batch(torch.eye(D).expand(2, D, D), torch.ones(2, D))
    point = Point(task.model, task.loss, {"theta": torch.zeros(2, D)}, batch)
    with torch.no_grad():
        moved = backtrack(point, torch.ones(2, D), torch.tensor([1.0, 6.0]))
        upwards = backtrack(point, -torch.ones(2, D), torch.ones(2))
    assert moved.length.tolist() == [1.0, 1.5]
    assert moved.evaluations.tolist() == [1.0, 3.0]
    assert upwards.length.tolist() == [0.0, 0.0]
    assert torch.equal(upwards.params["theta"], torch.zeros(2, D))


def test_parameters_survive_being_vectors():
    params = {"bias": torch.arange(3.0), "matrix": torch.arange(18.0).view(3, 2, 3)}
    vectors = stacked(params)
    assert vectors.shape == (3, 7)
    assert all(torch.equal(value, params[name]) for name, value in unstacked(vectors, params).items())


def test_a_point_that_cannot_be_improved_stays(double):
    batch = Batch(torch.eye(D).expand(E, D, D), torch.zeros(E, D))
    task = Quadratic(dimension=D, start=0.0)
    for rule in (Lbfgs(), ConjugateGradient()):
        state, losses = follow(rule, batch, 3, task)
        assert (losses == 0).all()
        assert torch.isfinite(state.params["theta"]).all()


def test_hyper_parameters_are_checked():
    with pytest.raises(ValueError, match="history must be above 0"):
        Lbfgs(history=0)
