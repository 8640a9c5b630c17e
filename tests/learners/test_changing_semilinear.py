"""The Bayes learner of semi-linear functions that change, against brute force and what it comes to without changes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.bayes.changing_semilinear import ChangingSemiLinearPosterior
from l2l_cli.learners.bayes.cube_quadrature import slice_size
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.tasks.functions import SemiLinear
from l2l_cli.tasks.switching import Switching

WIDTH = 0.05


def cube(count: int) -> Tensor:
    return 2.0 * torch.rand(count, 3, generator=generator(7), dtype=torch.float64) - 1.0


def near(weights: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """Kernels about u of n rows (n, 3), as densities, of each of the weights (W, 3)."""
    off = (weights @ rows.T - values) / WIDTH
    return ((1.0 - off.square()).clamp(min=0.0) * 0.75 / WIDTH).prod(1)


def by_enumeration(weights: Tensor, rows: Tensor, values: Tensor, asked: Tensor, hazard: float) -> float:
    """The expected answer to ``asked`` after n examples, summed over all 2ⁿ series of changes."""
    count, total, mass = len(rows), 0.0, 0.0
    for code in range(2**count):
        changes = [place for place in range(1, count + 1) if code >> (place - 1) & 1]
        starts = [0, *changes, *([] if changes and changes[-1] == count else [count])]
        probability = hazard ** len(changes) * (1.0 - hazard) ** (count - len(changes))
        for a, b in pairwise(starts):
            probability *= near(weights, rows[a:b], values[a:b]).mean().item()
        last = changes[-1] if changes else 0
        share = near(weights, rows[last:], values[last:])
        answer = (share * torch.sigmoid(2.0 * weights @ asked)).sum() / share.sum().clamp(min=1e-300)
        total, mass = total + probability * answer.item(), mass + probability
    return total / mass


@pytest.mark.parametrize("samples", [200_000, pytest.param(3_000_000, marks=pytest.mark.slow)], ids=["coarse", "fine"])
def test_means_are_those_of_all_series_of_changes(samples, double):
    hazard, weights, episodes = 0.3, cube(samples), 4
    task = Switching(SemiLinear(), every=3, length=4)
    batches = task.sample(episodes, 0, Phase.TEST).batches(0, 4)
    posterior = ChangingSemiLinearPosterior(task.family, hazard)
    known = posterior.prior(episodes)
    for step in range(4):
        inputs, targets = batches.inputs[step, :, 0], batches.targets[step, :, 0, 0]
        if step:
            found = posterior.mean(known, inputs.unsqueeze(1))[:, 0]
            for e in range(episodes):
                seen = torch.cat([batches.inputs[:step, e, 0], torch.ones(step, 1)], 1)
                values = 0.5 * torch.logit(batches.targets[:step, e, 0, 0])
                wanted = by_enumeration(weights, seen, values, torch.cat([inputs[e], torch.ones(1)]), hazard)
                assert found[e].item() == pytest.approx(wanted, abs=0.03 if samples < 1e6 else 0.012)
        known = posterior.observe(known, inputs, targets)


@pytest.mark.parametrize("equations", [1, 2])
def test_sizes_of_slices_are_densities(equations, double):
    """|slice| / (8 √det(X Xᵀ)) is the density of X w at its values."""
    rng = generator(3)
    rows = torch.cat([torch.rand(3, equations, 2, generator=rng) * 2 - 1, torch.ones(3, equations, 1)], -1)
    values = (rows @ (torch.rand(3, 3, 1, generator=rng) * 1.4 - 0.7)).squeeze(2)
    density = slice_size(rows, values) / (8.0 * torch.linalg.det(rows @ rows.mT).sqrt())
    weights = cube(2_000_000)
    for e in range(3):
        kernels = near(weights, rows[e], values[e])
        error = kernels.std().item() / math.sqrt(len(weights))
        assert density[e].item() == pytest.approx(kernels.mean().item(), rel=0.03, abs=5 * error)


def test_almost_without_changes_it_is_the_learner_of_functions_that_stay(double):
    task = SemiLinear(length=8)
    batches = task.sample(50, 0, Phase.TEST).batches(0, 8)
    answers = [
        learner.unroll(learner.init(50, generator(0)), batches)[1]
        for learner in (Bayes(Switching(task, every=10**9, length=8)), Bayes(task))
    ]
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-5)


def test_an_old_function_is_answered_up_to_the_chance_of_a_new_one():
    """The best answer is (1 − h) f + h / 2, which errs by h (f − ½); E (f − ½)² = 0.0758."""
    task = Switching(SemiLinear(), every=20, length=40)
    losses = score(Bayes(task), 300, 40, 0, Phase.TEST).losses
    age = task.sample(300, derive(0, "chunk", 0), Phase.TEST).age(0, 40)
    assert losses[0].mean().item() == pytest.approx(0.0758, abs=0.015)
    assert losses[age > 6].median().item() < (1 / 20) ** 2 * 0.25
    kept = losses[age > 6].sort().values
    assert kept[: int(0.999 * len(kept))].mean().item() == pytest.approx((1 / 20) ** 2 * 0.0758, rel=0.2)
