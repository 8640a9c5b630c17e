"""The limits against brute force and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.bayes import cube_quadrature
from l2l_cli.learners.bayes.cube_quadrature import cube_slice
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.tasks.functions import Booleans, SemiLinear
from l2l_cli.tasks.quadratic import Quadratic


def test_b16_total_error_is_one_per_sequence(double):
    """Each of the four inputs is met for the first time once, and costs ¼ then: 4 · ¼ in all."""
    losses = score(Bayes(Booleans()), 64, 256, 0, Phase.TEST).losses
    torch.testing.assert_close(losses.sum(0), torch.ones(64))


def test_b14_by_enumeration(double):
    """E over inputs seen so far of the posterior variance, step by step, against the learner's mean error."""
    tables = Booleans(xor=False).tables
    expected = []
    for step in range(4):
        total = 0.0
        for code in range(4 ** (step + 1)):
            *seen, asked = [code // 4**digit % 4 for digit in range(step + 1)]
            for table in tables:
                agree = tables[(tables[:, seen] == table[seen]).all(1)]
                total += (agree[:, asked].mean() - table[asked]).square().item()
        expected.append(total / 4 ** (step + 1) / 14)
    losses = score(Bayes(Booleans(xor=False, length=4)), 40_000, 4, 0, Phase.TEST, chunk=40_000).losses
    assert expected[:2] == pytest.approx([0.25, 0.1840], abs=1e-3)
    assert losses.mean(1).tolist() == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("equations", [1, 2])
def test_slices_are_conditional_means(equations, double):
    """Against rejection sampling of the cube near the equations."""
    rng = generator(0)
    truth = torch.rand(3, 3, generator=rng) * 1.6 - 0.8
    rows = torch.cat([torch.rand(3, equations, 2, generator=rng) * 2 - 1, torch.ones(3, equations, 1)], -1)
    values = (rows @ truth.unsqueeze(-1)).squeeze(-1)
    points, weights = cube_slice(rows, values)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    torch.testing.assert_close(
        torch.einsum("ekd,epd->ekp", rows, points), values.unsqueeze(-1).expand(-1, -1, points.shape[1])
    )
    assert (points.abs() <= 1 + 1e-9).all()
    cube = torch.rand(3_000_000, 3, generator=rng) * 2 - 1
    for e in range(3):
        near = cube[((cube @ rows[e].T - values[e]).abs() < 0.02).all(1)]
        for moment in (1, 2):
            mine = (points[e] ** moment * weights[e].unsqueeze(1)).sum(0)
            error = (near**moment).std(0) / math.sqrt(len(near))
            assert ((mine - (near**moment).mean(0)).abs() < 5 * error + 5e-3).all()


def test_three_examples_settle_a_semilinear_function(double):
    losses = score(Bayes(SemiLinear()), 4000, 8, 0, Phase.TEST, chunk=4000).losses
    assert losses[0].mean().item() == pytest.approx(0.0758, abs=0.005)
    assert losses[:3].mean(1).diff().max() < 0
    assert losses[3:].max() < 1e-12


def test_the_semilinear_quadrature_is_exact_for_what_is_reported(double, monkeypatch):
    losses = []
    for nodes in (8, 20):
        monkeypatch.setattr(cube_quadrature, "_NODES", nodes)
        cube_quadrature._gauss_legendre.cache_clear()
        losses.append(score(Bayes(SemiLinear()), 400, 4, 0, Phase.TEST).losses.sum().item())
    cube_quadrature._gauss_legendre.cache_clear()
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_there_is_no_limit_for_an_optimization_task():
    with pytest.raises(ValueError, match="no Bayes learner is known for task Quadratic"):
        Bayes(Quadratic())
