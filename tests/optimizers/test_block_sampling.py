"""Sampled backward passes: as many blocks as asked for, and right on average."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.kernels.blocks import BLOCK
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.loss import LogTrajectory, Trajectory
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.fast import lstm_steps
from l2l_cli.optimizers.fast.block_sampling import all_that_matter, sample
from tests.image_tasks import digits_mlp


def adjoint_of(sizes: list[float]) -> torch.Tensor:
    return torch.tensor(sizes).repeat_interleave(BLOCK).expand(3, -1)


def test_blocks_without_an_adjoint_are_left_out():
    assert all_that_matter(adjoint_of([1.0, 0.0, 0.0, 2.0])).tolist() == [0, 3]


def test_a_whole_sample_is_everything_once():
    visits = sample(adjoint_of([1.0, 0.0, 5.0, 2.0]), 1.0, generator(0))
    assert visits.blocks.tolist() == [0, 2, 3]
    torch.testing.assert_close(visits.factors, torch.ones(3))


def test_the_number_of_visits_is_as_asked_and_large_blocks_are_certain():
    adjoint = adjoint_of([100.0, *([1.0] * 19), 0.0])
    for seed in range(20):
        visits = sample(adjoint, 0.25, generator(seed))
        assert len(visits.blocks) == 5
        assert visits.blocks[0] == 0
        assert visits.factors[0] == 1.0
        assert 20 not in visits.blocks


def test_sums_over_visits_are_unbiased(double):
    sizes, values = torch.rand(30) ** 4, torch.randn(30)
    found = []
    for seed in range(2000):
        visits = sample(adjoint_of(sizes.tolist()), 0.3, generator(seed))
        found.append((values[visits.blocks] * visits.factors).sum())
    sums = torch.stack(found)
    assert (sums.mean() - values.sum()).abs() < 4 * sums.std() / len(sums) ** 0.5


def test_meta_gradients_are_right_on_average(double):
    task = digits_mlp(hidden=[6], examples=5, start=0.3)
    batches = task.sample(2, 0, Phase.META_TRAIN).batches(0, 4)
    mean, draws = torch.zeros(()), 300
    learner = Descent(task, CoordinatewiseLSTM(hidden=3), visited=0.4)
    exact = Descent(task, learner.rule)
    state = learner.init(2, generator(0))
    for draw in range(draws):
        weights = 1.0 + 1e-9 * draw  # what is differentiated seeds the draw
        _, losses = learner.losses(state, batches)
        found = torch.autograd.grad(weights * losses.mean(), list(learner.parameters()))
        mean = mean + torch.cat([value.flatten() for value in found]) / draws
    _, losses = exact.losses(state, batches)
    whole = torch.cat([value.flatten() for value in torch.autograd.grad(losses.mean(), list(exact.parameters()))])
    assert learner.path.is_compiled
    assert (mean - whole).norm() < 0.1 * whole.norm()


@pytest.mark.parametrize("objective", [Trajectory(), LogTrajectory()])
def test_each_window_draws_its_own_blocks_and_draws_them_again(objective, monkeypatch):
    task = digits_mlp(hidden=[6], examples=5, start=0.3)
    learner = Descent(task, CoordinatewiseLSTM(hidden=3), visited=0.4)
    episode, state = task.sample(2, 0, Phase.META_TRAIN), learner.init(2, generator(0))
    drawn = []

    def recorded(grad_moves, share, rng):
        drawn.append(float(torch.rand((), generator=rng, device="cpu")))
        return sample(grad_moves, share, rng)

    monkeypatch.setattr(lstm_steps, "sample", recorded)
    for start in (0, 4, 8, 0):
        batches = episode.batches(start, start + 4)
        _, losses = learner.losses(state, batches)
        torch.autograd.grad(objective(losses, 0.1), list(learner.parameters()))
    assert len(set(drawn[:3])) == 3
    assert drawn[3] == drawn[0]


def test_the_share_is_checked():
    with pytest.raises(ValueError, match=r"visited must be a share in \(0, 1\]"):
        Descent(digits_mlp(hidden=[2]), CoordinatewiseLSTM(hidden=2), visited=0.0)
