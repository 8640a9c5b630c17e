"""Hochreiter's families against what the paper says of them."""

from __future__ import annotations

import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.tasks.functions import Booleans, QuadraticFunction, SemiLinear, monomials


def test_the_booleans_are_all_of_them_or_the_threshold_ones():
    assert len({tuple(row) for row in Booleans().tables.tolist()}) == 16
    fourteen = {tuple(row) for row in Booleans(xor=False).tables.tolist()}
    assert len(fourteen) == 14
    assert (0.0, 1.0, 1.0, 0.0) not in fourteen
    assert (1.0, 0.0, 0.0, 1.0) not in fourteen


def test_booleans_are_looked_up_at_their_inputs(double):
    xor = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    pairs = torch.tensor([[[0.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]], [[1.0, 1.0]]])
    assert Booleans().evaluate(xor, pairs).flatten().tolist() == [0.0, 1.0, 1.0, 0.0]


def test_semilinear_is_the_papers_formula(double):
    task = SemiLinear()
    weights, inputs = task.draw_coefficients(5, generator(0)), task.draw_inputs(7, 5, generator(1))
    argument = (weights[:, :2] * inputs).sum(-1) + weights[:, 2]
    torch.testing.assert_close(task.evaluate(weights, inputs), 0.5 * (1 + torch.tanh(argument)))


def test_quadratics_fill_their_range(double):
    task = QuadraticFunction()
    values = task.evaluate(task.draw_coefficients(50, generator(0)), task.draw_inputs(20_000, 50, generator(1)))
    assert 0.19 < values.min() < 0.21
    assert 0.79 < values.max() < 0.81
    assert (values.amin(0) < 0.23).all()
    assert (values.amax(0) > 0.77).all()


def test_global_scaling_is_one_map_for_all(double):
    task = QuadraticFunction(scaling="global")
    rng = generator(3)
    scaled = task.draw_coefficients(4, rng)
    raw = torch.rand(4, 6, generator=generator(3)) * 2 - 1
    points = torch.tensor([[0.3, -0.7]])
    torch.testing.assert_close(
        (monomials(points) * scaled).sum(-1), 0.2 + 0.6 * ((monomials(points) * raw).sum(-1) + 6) / 12
    )


def test_a_fixed_training_set_recurs_and_the_test_set_does_not(double):
    task = SemiLinear(functions=4)
    drawn = torch.cat([task.sample(8, seed, Phase.META_TRAIN).coefficients for seed in range(6)])
    assert len(torch.unique(drawn, dim=0)) == 4
    assert len(torch.unique(task.sample(32, 0, Phase.TEST).coefficients, dim=0)) == 32
    one = task.sample(8, 0, Phase.META_TRAIN)
    same = (one.coefficients[:, None] == one.coefficients[None]).all(-1).nonzero()
    pair = next((a, b) for a, b in same.tolist() if a != b)
    assert torch.equal(one.batch(3).inputs[pair[0]], one.batch(3).inputs[pair[1]])


def test_another_seed_is_another_fixed_set(double):
    sets = [SemiLinear(functions=4, functions_seed=seed).sample(64, 0, Phase.META_TRAIN) for seed in (0, 1)]
    assert not torch.equal(*(torch.unique(one.coefficients, dim=0) for one in sets))
