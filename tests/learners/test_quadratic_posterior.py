"""The posterior of the quadratics against brute force, closed forms and its own calibration."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.bayes import quadratic_posterior
from l2l_cli.learners.bayes.clouds import Cloud, conditioned, cut, mesh
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.learners.bayes.quadratic_posterior import Belief, QuadraticPosterior
from l2l_cli.learners.bayes.scaled_quadratics import extremes
from l2l_cli.learners.least_squares.online import OnlineLeastSquares
from l2l_cli.learners.least_squares.upkeep import Upkeep
from l2l_cli.meta.mixture import Found, Mixture
from l2l_cli.tasks.functions import QuadraticFunction, monomials
from tests.stand_in import stand_in

SCALINGS = ("per_function", "global")


def drawn(task: QuadraticFunction, episodes: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs (E, T, 2) and targets (E, T), rounded to float32 as a learner meets them."""
    rng = generator(seed, "test")
    functions = task.draw_coefficients(episodes, rng)
    inputs = task.draw_inputs(episodes, steps, rng)
    return inputs.double(), task.evaluate(functions[:, None], inputs).double()


def beliefs(task: QuadraticFunction, inputs: Tensor, targets: Tensor) -> list[Belief]:
    """What is believed after 0, 1, … examples."""
    posterior = QuadraticPosterior(task)
    found = [posterior.prior(len(inputs))]
    for step in range(inputs.shape[1]):
        found.append(posterior.observe(found[-1], inputs[:, step], targets[:, step]))
    return found


def brute_force(scaling: str, count: int) -> Tensor:
    """Functions of the prior, (count, 6); their extremes over the square are the task's on its grid."""
    raw = 2 * torch.rand(6, count, generator=generator(1), dtype=torch.float64) - 1
    if scaling == "global":
        return (0.05 * raw + torch.tensor([0.0, 0, 0, 0, 0, 0.5], dtype=torch.float64)[:, None]).T
    low, high = ((points * raw).sum(0) for points in extremes(raw))
    scaled = raw * 0.6 / (high - low)
    scaled[5] += 0.2 - low * 0.6 / (high - low)
    return scaled.T.contiguous()


def conditional_mean(functions: Tensor, rows: Tensor, targets: Tensor, within: float) -> tuple[Tensor, Tensor]:
    """Mean of the functions near the targets and its standard error, (6,) each.

    A linear regression on how far they miss the targets takes out that they miss them.
    """
    off = functions @ rows.T - targets
    near = (off.abs() < within).all(1)
    design = torch.cat([torch.ones(int(near.sum()), 1, dtype=torch.float64), off[near]], 1)
    fit = torch.linalg.lstsq(design, functions[near]).solution
    error = (functions[near] - design @ fit).std(0) / math.sqrt(len(design))
    return fit[0], error


PROBES = monomials(2 * torch.rand(100, 2, generator=generator(9), dtype=torch.float64) - 1)
"""A hundred inputs that a learner could be asked for."""


def probed(belief: Belief, e: int, mean: Tensor) -> tuple[float, float]:
    """By how much the answers of one belief are off another mean, and how uncertain they are: root mean squares."""
    off = (PROBES @ (belief.mean[e] - mean)).square().mean().sqrt()
    return off.item(), (PROBES @ belief.covariance[e] * PROBES).sum(1).mean().sqrt().item()


APART = torch.tensor([[-0.5, 0.3], [0.6, -0.4], [0.1, 0.8], [-0.7, -0.7]], dtype=torch.float64)
"""Inputs that lie far from each other: what two near ones say of a slope, rejection does not see."""


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(
    ("count", "examples", "within"),
    [(400_000, 1, 0.003), (400_000, 2, 0.01)]
    + [pytest.param(8_000_000, *case, marks=pytest.mark.slow) for case in [(1, 5e-4), (2, 5e-3)]],
)
def test_posterior_means_are_those_of_rejection_sampling(scaling, count, examples, within, monkeypatch):
    """What they are off is what sampling explains: a density that is wrong by one power is off three times as much."""
    monkeypatch.setattr(quadratic_posterior, "DIRECTIONS", count // 100)
    monkeypatch.setattr(quadratic_posterior, "CORNERS", count // 100)
    task, inputs = QuadraticFunction(scaling), APART[:examples].expand(24, -1, -1)
    targets = task.evaluate(task.draw_coefficients(24, generator(0)).double()[:, None], inputs)
    believed = beliefs(task, inputs, targets)[examples]
    functions = brute_force(scaling, count)
    within *= 0.3 if scaling == "global" else 1.0  # values spread less
    off, expected = [], []
    for e in range(24):
        mean, error = conditional_mean(functions, monomials(inputs[e]), targets[e], within)
        by, spread = probed(believed, e, mean)
        off.append((by / spread) ** 2)
        expected.append((PROBES.square() @ error.square()).mean().item() / spread**2)
    assert sum(off) / sum(expected) < 2.5


@pytest.mark.slow
def test_the_third_example_cuts_the_surface_as_rejection_does(monkeypatch):
    """The surface that two examples leave, which rejection from the prior has confirmed, is drawn finely."""
    task, inputs = QuadraticFunction(), APART.expand(6, -1, -1)
    targets = task.evaluate(task.draw_coefficients(6, generator(0)).double()[:, None], inputs)
    monkeypatch.setattr(quadratic_posterior, "CORNERS", 1 << 16)
    fine = beliefs(task, inputs[:, :2], targets[:, :2])[2]
    monkeypatch.setattr(quadratic_posterior, "CORNERS", 2048)
    believed = beliefs(task, inputs[:, :3], targets[:, :3])[3]
    off = fine.cloud.values(monomials(inputs[:, 2])) - targets[:, 2:3]
    kernel = (1 - (off / 0.005).square()).clamp(min=0.0) * fine.mass
    mean, _ = Cloud.of(fine.points, kernel, fine.mean).moments()
    for e in range(6):
        off_by, spread = probed(believed, e, mean[e])
        assert off_by < 0.03 * spread


@pytest.mark.slow
def test_the_solutions_of_four_examples_weigh_what_lies_near_them(monkeypatch):
    task, inputs = QuadraticFunction(), APART.expand(6, -1, -1)
    targets = task.evaluate(task.draw_coefficients(6, generator(0)).double()[:, None], inputs)
    believed = beliefs(task, inputs, targets)[4]
    monkeypatch.setattr(quadratic_posterior, "CORNERS", 1 << 19)
    for e in (1, 2):
        fine = beliefs(task, inputs[e : e + 1, :2], targets[e : e + 1, :2])[2]
        off = fine.points[0] @ monomials(inputs[e, 2:]).T - targets[e, 2:]
        kernel = (1 - (off / 0.003).square()).clamp(min=0.0).prod(1) * fine.mass[0]
        near, solutions = fine.points[0][kernel > 0], believed.points[e][believed.mass[e] > 0]
        shares = torch.zeros(len(solutions), dtype=torch.float64)
        shares.index_add_(0, torch.cdist(near, solutions).argmin(1), kernel[kernel > 0] / kernel.sum())
        assert len(near) > 200
        torch.testing.assert_close(shares, believed.mass[e][believed.mass[e] > 0], atol=0.08, rtol=0)
        assert len(solutions) > 1


def test_extremes_are_the_tasks():
    functions = QuadraticFunction().draw_coefficients(4000, generator(3)).double().T
    low, high = ((points * functions).sum(0) for points in extremes(functions))
    for found, wanted in ((low, 0.2), (high, 0.8)):
        assert (
            found - wanted
        ).abs().max() < 1e-3  # of rotated ellipses the nearest point of the grid is not the lowest
        assert ((found - wanted).abs() < 1e-6).double().mean() > 0.95


@pytest.mark.parametrize("examples", [1, 2])
def test_each_direction_holds_one_function_that_keeps_all_equations(examples):
    inputs, targets = drawn(QuadraticFunction(), 40, examples)
    cloud = beliefs(QuadraticFunction(), inputs, targets)[-1].cloud
    assert (cloud.mass > 0).double().mean() > 0.995
    values = torch.einsum("enk,epk->enp", monomials(inputs), cloud.points)
    torch.testing.assert_close(values, targets[:, :, None].expand_as(values), atol=1e-9, rtol=0)
    low, high = extremes(cloud.points[cloud.mass > 0].T)
    functions = cloud.points[cloud.mass > 0].T
    torch.testing.assert_close(
        (low * functions).sum(0), torch.full(functions.shape[1:], 0.2).double(), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        (high * functions).sum(0), torch.full(functions.shape[1:], 0.8).double(), atol=1e-6, rtol=0
    )


def test_a_plane_cuts_a_sphere_as_archimedes_says():
    """A uniform sphere has the density ½ along any axis, and a slice's mean lies on the axis."""
    surface = mesh(512)
    points, mass = surface.points.expand(3, -1, -1), (surface.shares / surface.shares.sum()).expand(3, -1)
    axis = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, 0.5]], dtype=torch.float64)).expand(3, 3)
    level = torch.tensor([-0.7, 0.01, 0.4], dtype=torch.float64)
    one, two, found = cut(Cloud(points, mass), surface, axis, level)
    torch.testing.assert_close(found.sum(1), torch.full((3,), 0.5).double(), atol=0.01, rtol=0)
    mean, _ = Cloud.of(torch.cat([one, two], 1), torch.cat([found, found], 1), axis).moments()
    torch.testing.assert_close(mean, level[:, None] * axis, atol=0.01, rtol=0)
    assert found.shape[1] < len(surface.triangles) / 4
    assert (cut(Cloud(points, mass), surface, axis, level + 3)[2] == 0).all()


@pytest.mark.parametrize("episodes", [600, pytest.param(6000, marks=pytest.mark.slow)])
def test_squared_errors_are_the_posterior_variance_and_below_the_linear_predictors(episodes):
    task = QuadraticFunction()
    inputs, targets = drawn(task, episodes, 6)
    believed = beliefs(task, inputs, targets)
    linear = believed[0].mean, believed[0].covariance
    squares, gains = [], []
    for step in range(6):
        row, target = monomials(inputs[:, step]), targets[:, step]
        square = ((believed[step].mean * row).sum(1) - target).square()
        variance = torch.einsum("ek,ekl,el->e", row, believed[step].covariance, row)
        off = square - variance
        if step < 5:
            assert off.mean().abs() < 4 * off.std() / math.sqrt(episodes)
        squares.append(square)
        gains.append(((linear[0] * row).sum(1) - target).square() - square)
        linear = conditioned(*linear, row, target)
        assert gains[step].mean() >= -3 * gains[step].std() / math.sqrt(episodes)
    assert torch.stack(gains).sum() / (torch.stack(gains) + torch.stack(squares)).sum() == pytest.approx(
        0.085, abs=0.03
    )


@pytest.mark.slow
def test_the_quadratures_own_error_is_below_a_hundredth_of_the_limit(monkeypatch):
    task = QuadraticFunction()
    inputs, targets = drawn(task, 1000, 6)
    rows, means = monomials(inputs), []
    for directions, corners in ((256, 512), (1024, 2048)):
        monkeypatch.setattr(quadratic_posterior, "DIRECTIONS", directions)
        monkeypatch.setattr(quadratic_posterior, "CORNERS", corners)
        found = torch.stack([belief.mean for belief in beliefs(task, inputs, targets)[:6]], 1)
        means.append((rows * found).sum(2))
    finer, coarser = ((mean - targets).square().sum() for mean in means[::-1])
    assert (means[0] - means[1]).square().sum() < 0.01 * finer
    assert abs(coarser / finer - 1) < 0.01


@pytest.mark.parametrize("scaling", SCALINGS)
def test_examples_that_say_nothing_or_little_leave_a_finite_belief(scaling):
    """An input that is met again, and values at the bounds of what is possible."""
    task = QuadraticFunction(scaling)
    inputs, targets = drawn(task, 8, 3)
    again = torch.cat([inputs[:, :1], inputs, inputs], 1), torch.cat([targets[:, :1], targets, targets], 1)
    functions = brute_force(scaling, 20_000)
    edge = torch.tensor([[[0.9, -0.8], [0.3, 0.4], [-0.2, -0.9], [0.5, 0.5]]], dtype=torch.float64)
    values = functions @ monomials(edge[0]).T
    extreme = values[torch.cat([values.argmin(0), values.argmax(0)])]
    for data in (again, (edge.expand(len(extreme), -1, -1), extreme)):
        for belief in beliefs(task, *data):
            assert belief.mean.isfinite().all()
            assert belief.covariance.isfinite().all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:cov")
@pytest.mark.parametrize("scaling", SCALINGS)
def test_all_of_a_belief_is_on_one_device(scaling):
    with stand_in():
        task = QuadraticFunction(scaling)
        learner = Bayes(task)
        batches = task.sample(2, 0, Phase.TEST).batches(0, 8)
        with torch.no_grad():
            _, answers = learner.unroll(learner.init(2, generator(0)), batches)
        assert answers.device == batches.inputs.device != torch.device("cpu")


@pytest.mark.parametrize("scaling", SCALINGS)
def test_six_examples_settle_a_quadratic(scaling):
    losses = score(Bayes(QuadraticFunction(scaling)), 300, 20, 0, Phase.TEST).losses
    if scaling == "per_function":
        assert losses[0].mean().item() == pytest.approx(0.0243, abs=0.005)
        assert (losses[5] < 1e-4).double().mean() > 0.98
    assert losses[7:].max() < 1e-7


@pytest.mark.slow
def test_the_limit_of_1000_examples():
    """A limit that was found otherwise: a mixture of 128 Gaussians on the coefficients gives 0.923 × 6.42e-5."""
    losses = score(Bayes(QuadraticFunction()), 4000, 1000, 1, Phase.TEST).losses.double()
    assert losses.mean().item() == pytest.approx(5.87e-5, rel=0.03)


class Exact(nn.Module):
    """Features in which the quadratics are linear."""

    def forward(self, inputs: Tensor) -> Tensor:
        return monomials(inputs)


def least_squares(task: QuadraticFunction, components: int) -> OnlineLeastSquares:
    """Least squares on the exact coefficients, whose prior is a mixture that is fitted to many functions."""
    learner = OnlineLeastSquares(task, dimensions=6, components=components, upkeep=Upkeep(settle=None))
    learner.features = Exact()
    functions = task.draw_coefficients(20_000, generator(5)).double()
    mean = functions.mean(0)
    found = Found.of((functions - mean).unsqueeze(1), torch.zeros(6, 6))
    mixture = Mixture.start(found, components, generator(1))
    for _ in range(40):
        mixture = mixture.improved(found)
    with torch.no_grad():
        learner.mean.copy_(mean.unsqueeze(0))
        learner.log_noise.fill_(math.log(1e-12))
        for name, value in learner.fitted(*mixture).items():
            learner.get_parameter(name).copy_(value)
    return learner


@pytest.mark.slow
def test_a_mixture_of_gaussians_bounds_the_limit_from_above_and_comes_nearer_with_more_of_them(double):
    """No prior but the right one does better than it, and by that much a mixture is off."""
    task, errors = QuadraticFunction(length=14), []
    for learner in (Bayes(task), least_squares(task, 64), least_squares(task, 2)):
        errors.append(score(learner, 2000, 14, 0, Phase.META_VALID).losses.sum(0))
    limit, fine, coarse = errors
    for one, two in ((limit, fine), (fine, coarse)):
        assert (two - one).mean() > 2 * (two - one).std() / math.sqrt(2000)
    assert fine.mean() < 1.04 * limit.mean()
    assert coarse.mean() > 1.06 * limit.mean()
