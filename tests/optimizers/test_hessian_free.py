"""Conjugate gradients against direct solves, and Hessian-free steps against what they are on quadratics."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch, Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.hessian_free import HessianFree, LevenbergMarquardt
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.optimizers.solvers import conjugate_gradient
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import TASKS

E, D = 3, 6


def systems(seed=0):
    rng = generator(seed)
    root = normal((E, D, D), rng)
    return root @ root.mT + 0.5 * torch.eye(D), normal((E, D), rng)


def solve(matrix, b, x=None, **options):
    def product(v):
        return torch.einsum("eij,ej->ei", matrix, v)

    x = torch.zeros_like(b) if x is None else x
    return conjugate_gradient(product, x, b - product(x), **{"floor": 1e-30, "tolerance": 1e-12, **options})


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("warm", [False, True])
def test_as_many_iterations_as_dimensions_solve_the_system(preconditioned, warm, double):
    matrix, b = systems()
    options = {"precondition": 1.0 / matrix.diagonal(dim1=1, dim2=2)} if preconditioned else {}
    found = solve(matrix, b, normal((E, D), generator(1)) if warm else None, iterations=D, **options)
    torch.testing.assert_close(found.x, torch.linalg.solve(matrix, b))
    torch.testing.assert_close(found.residual, torch.zeros_like(b), rtol=0, atol=1e-7)
    assert found.norms.shape == (D + 1, E)


def test_iterations_minimise_over_the_preconditioned_krylov_space(double):
    matrix, b = systems()
    p = normal((E, D), generator(2)).exp()
    found = solve(matrix, b, iterations=2, precondition=p)
    basis = torch.stack([p * b, p * torch.einsum("eij,ej->ei", matrix, p * b)], 2)
    inner = torch.linalg.solve(basis.mT @ matrix @ basis, (basis.mT @ b[:, :, None]))
    torch.testing.assert_close(found.x, (basis @ inner)[:, :, 0])
    torch.testing.assert_close(found.residual, b - torch.einsum("eij,ej->ei", matrix, found.x))


def test_a_perfect_preconditioner_needs_one_iteration(double):
    _, b = systems()
    diagonal = normal((E, D), generator(2)).exp()
    found = solve(torch.diag_embed(diagonal), b, iterations=1, precondition=1.0 / diagonal)
    torch.testing.assert_close(found.x, b / diagonal)


def test_each_episode_stops_by_itself(double):
    matrix, b = systems()
    solution = torch.linalg.solve(matrix, b)
    start = torch.cat([solution[:1], torch.zeros(E - 1, D)])
    found = solve(matrix, b, start, iterations=3, tolerance=1e-9)
    assert torch.equal(found.x[0], start[0])
    assert found.products.tolist() == [0.0, 3.0, 3.0]
    alone = solve(matrix, b, torch.zeros_like(b), iterations=3)
    torch.testing.assert_close(found.x[1:], alone.x[1:])
    flat = solve(torch.zeros_like(matrix), torch.zeros_like(b), iterations=3)
    assert torch.equal(flat.x, torch.zeros_like(b))
    assert len(flat.norms) == 1


def test_gradients_flow_through_the_iterations(double):
    matrix, b = systems()
    given = [b, normal((E, D), generator(1)), normal((E, D), generator(2)).exp()]
    given = [value.requires_grad_() for value in given]
    assert torch.autograd.gradcheck(
        lambda b, x, p: tuple(solve(matrix, b, x, iterations=2, precondition=p)[:2]), given, fast_mode=True
    )


def test_one_step_is_the_damped_solution(double):
    """On a quadratic: (G + λ·I)⁻¹·g, whatever the last solution was."""
    task, rng = Quadratic(dimension=D), generator(3)
    batch = Batch(2 * torch.eye(D) + 0.3 * normal((E, D, D), rng), normal((E, D), rng))
    params, rule = task.model.init(E, rng), HessianFree(lr=0.5, damping=0.2, iterations=2 * D)
    point = Point(task.model, task.loss, params, batch, curvature=task.curvature)
    memory = rule.init(params)._replace(solution=normal((E, D), rng))
    moved, after = rule.step(point, memory)
    bent = batch.inputs.mT @ batch.inputs * (2 / D) + 0.2 * torch.eye(D)
    torch.testing.assert_close(after.solution, torch.linalg.solve(bent, point.grad["theta"]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved["theta"], point.params["theta"].detach() - 0.5 * after.solution)


def test_damping_follows_what_the_model_foretells(double):
    """It falls where the model holds, rises where the loss bends up behind it, and keeps its limits."""
    batch = Batch(torch.eye(D).expand(2, D, D), torch.zeros(2, D))
    model = Quadratic(dimension=D).model
    losses = {
        "quadratic": lambda z, _: z.square().mean(1),
        "steep": lambda z, _: (30 * (z - 1.0)).exp().mean(1) - 30 * z.mean(1),  # falls slowly to 1, then explodes
    }
    start = {"theta": torch.full((2, D), 0.5)}
    for name, expected in {"quadratic": 0.9, "steep": 1 / 0.9}.items():
        rule = LevenbergMarquardt(1.0, damping=0.5, iterations=4, factor=0.9, lowest=0.1)
        _, memory = rule.step(Point(model, losses[name], start, batch), rule.init(start))
        torch.testing.assert_close(memory.damping, torch.full((2,), 0.5 * expected))
        near = LevenbergMarquardt(1.0, damping=0.5, factor=0.9, lowest=0.49, highest=0.51)
        _, memory = near.step(Point(model, losses[name], start, batch), near.init(start))
        assert memory.damping.tolist() == [{"quadratic": 0.49, "steep": 0.51}[name]] * 2


def test_extra_evaluations_are_products_and_losses():
    episode = TASKS["digits"]().sample(E, 1, Phase.TUNE)
    for rule, evaluations in ((HessianFree(iterations=3), 4), (LevenbergMarquardt(0.1, iterations=3), 5)):
        learner = Descent(TASKS["digits"](), rule)
        state = learner.init(E, generator(0))
        with torch.no_grad():
            for step in range(2):
                state, _ = learner.step(state, episode.batch(step))
        assert learner.extra_evaluations(state).tolist() == [2.0 * evaluations] * E


def test_beats_gradient_descent_on_ill_conditioned_quadratics():
    rules = HessianFree(lr=1.0, damping=0.01), Sgd(0.3)
    newton, descent = (score(Descent(Quadratic(), rule), 30, 22, 0, Phase.TEST).losses[-1].mean() for rule in rules)
    assert newton < 0.3 * descent


def test_hyper_parameters_are_checked():
    for make in (
        lambda: HessianFree(damping=0.0),
        lambda: HessianFree(decay=1.5),
        lambda: LevenbergMarquardt(factor=1.0),
        lambda: LevenbergMarquardt(damping=2.0),
    ):
        with pytest.raises(ValueError, match="must"):
            make()
