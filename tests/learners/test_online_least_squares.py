"""Online least squares: the recursion against the whole sequence at once, and what its prior comes to."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch.distributions import MultivariateNormal

from l2l_cli.core.random import generator
from l2l_cli.core.types import Batches, Phase
from l2l_cli.learners.least_squares.hypotheses import (
    Hypotheses,
    changing,
    conditioned,
    forgetting,
    settled,
    unconditioned,
)
from l2l_cli.learners.least_squares.online import OnlineLeastSquares
from l2l_cli.learners.least_squares.upkeep import Upkeep
from l2l_cli.tasks.functions import QuadraticFunction, SemiLinear
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import TASKS, refusal

E, T = 3, 40


def learner_of(task=None, noise=1e-7, components=2, **upkeep) -> OnlineLeastSquares:
    """A learner whose prior is no special one."""
    task = task or QuadraticFunction(length=T)
    made = OnlineLeastSquares(task, hidden=8, dimensions=5, components=components, upkeep=Upkeep(**upkeep))
    with torch.no_grad():
        for number, value in enumerate(made.parameters()):
            if value.dim() > 0:
                value += 0.3 * torch.randn(value.shape, generator=generator(number))
        made.log_noise.fill_(math.log(noise))
    return made


def data_of(task, steps=T, phase=Phase.TEST) -> Batches:
    return task.sample(E, 0, phase).batches(0, steps)


def answers_of(learner, batches):
    with torch.no_grad():
        return learner.unroll(learner.init(batches.targets.shape[1], generator(0)), batches)


@pytest.mark.parametrize(
    "options", [{}, {"forgetting": 0.9}, {"hazard": 0.1, "spare": T}], ids=["stays", "fades", "changes"]
)
def test_the_recursion_is_the_cholesky_form(options, double):
    """One factor of the targets' covariance holds every prediction that the recursion makes."""
    learner = learner_of(components=1, settle=None, noise=1e-5, **options)
    batches = data_of(learner.task, 24)
    with torch.no_grad():
        ahead, (_, answers) = learner.ahead(batches), answers_of(learner, batches)
    surprise = (batches.targets - answers)[:, :, 0].transpose(0, 1)
    torch.testing.assert_close(surprise, ahead.surprise, rtol=0, atol=1e-10)


def test_the_density_is_that_of_the_joint_gaussian(double):
    learner = learner_of(components=1)
    batches = data_of(learner.task, 12)
    with torch.no_grad():
        features = learner.features(batches.inputs)[:, :, 0]
        mean = features @ learner.mean[0] + learner.offset
        covariance = torch.einsum("sed,ted->est", features, features) + learner.noise * torch.eye(12)
        wanted = MultivariateNormal(mean.T, covariance).log_prob(batches.targets[:, :, 0, 0].T)
        torch.testing.assert_close(learner.ahead(batches).log_density.sum(1), wanted)


def test_changes_are_summed_over_all_their_series(double):
    """Against an enumeration of the 2⁵ series of changes that six examples may have."""
    learner = learner_of(components=1, hazard=0.2, noise=0.01)
    batches, steps = data_of(learner.task, 6), 6
    still = learner_of(components=1, noise=0.01)
    total = []
    with torch.no_grad():
        for code in range(2 ** (steps - 1)):
            starts = [0, *(step for step in range(1, steps) if code >> (step - 1) & 1), steps]
            parts = [Batches(batches.inputs[a:b], batches.targets[a:b]) for a, b in pairwise(starts)]
            changes = len(parts) - 1
            weight = changes * math.log(0.2) + (steps - 1 - changes) * math.log(0.8)
            still.load_state_dict({name: value for name, value in learner.state_dict().items() if name != "hazard"})
            total.append(weight + sum(still.ahead(part).log_density.sum(1) for part in parts))
        torch.testing.assert_close(learner.ahead(batches).log_density.sum(1), torch.stack(total).logsumexp(0))


def test_a_mixture_is_weighted_by_its_evidence(double):
    """Against Bayes' rule on whole sequences, component by component."""
    learner = learner_of(components=3, settle=None, noise=0.01)
    batches = data_of(learner.task, 10)
    with torch.no_grad():
        prior, features = [part[0] for part in learner.prior], learner.features(batches.inputs)[:, :, 0].transpose(0, 1)
        seen, asked = features[:, :-1], features[:, -1]
        targets = batches.targets[:-1, :, 0, 0].T - learner.offset
        means, weights = [], []
        for share, centre, root in zip(*prior, strict=True):
            inner = seen @ root @ root.T @ seen.mT + learner.noise * torch.eye(9)
            away = targets - seen @ centre[0]
            weights.append(share + MultivariateNormal(torch.zeros(9), inner).log_prob(away))
            gain = (asked.unsqueeze(1) @ root @ root.T @ seen.mT @ torch.linalg.inv(inner)).squeeze(1)
            means.append(asked @ centre[0] + (gain * away).sum(1) + learner.offset)
        wanted = (torch.stack(weights).softmax(0) * torch.stack(means)).sum(0)
    torch.testing.assert_close(answers_of(learner, batches)[1][-1, :, 0, 0], wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "options", [{"components": 3, "settle": 7}, {"components": 2, "settle": 5, "hazard": 0.1, "spare": 3}]
)
def test_unroll_is_the_loop_over_step_beyond_where_components_settle(options, double):
    learner = learner_of(**options)
    batches = data_of(learner.task)
    with torch.no_grad():
        state, answers = learner.init(E, generator(0)), []
        for step in range(T):
            state, answer = learner.step(state, batches.at(step))
            answers.append(answer)
        middle, first = learner.unroll(
            learner.init(E, generator(0)), Batches(batches.inputs[:11], batches.targets[:11])
        )
        last, second = learner.unroll(middle, Batches(batches.inputs[11:], batches.targets[11:]))
    torch.testing.assert_close(torch.cat([first, second]), torch.stack(answers), rtol=1e-10, atol=1e-12)
    for one, two in zip(state, last, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-10)


def hypotheses(shares, means, ages) -> Hypotheses:
    count = len(shares)
    wide = torch.tensor(means).view(1, count, 1, 1)
    return Hypotheses(
        torch.tensor([shares]).log(), torch.zeros(1, count).long(), wide, torch.ones_like(wide), torch.tensor([ages])
    )


def test_the_likeliest_component_of_a_ripe_function_stands_for_all_of_its_own():
    known, share = hypotheses([0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 2.0, 3.0], [2.0, 5.0, 5.0, 1.0]), torch.zeros(1, 4)
    after = settled(known, share, 5)
    torch.testing.assert_close(after.log_evidence.exp(), torch.tensor([[0.1, 0.0, 0.5, 0.4]]))
    assert after.mean[0, 2, 0, 0] == 2.0
    torch.testing.assert_close(settled(known, share, 3), known)


def test_fading_leaves_the_prior_as_it_is_and_forgets_all_in_the_end(double):
    learner = learner_of(components=3)
    prior, eye = unconditioned(learner.prior, 2), torch.eye(5).expand(2, 3, 5, 5)
    view = learner.prior.view(torch.ones(2, 5))
    known = conditioned(prior, view, torch.ones(2, 1), torch.tensor(1e-3))
    for faded in (forgetting(prior, torch.tensor(0.7)), forgetting(known, torch.tensor(0.0))):
        torch.testing.assert_close(faded.root @ faded.root.mT, eye)
        assert not faded.mean.any()
    same = forgetting(known, torch.tensor(1.0))
    torch.testing.assert_close(same.root @ same.root.mT, known.root @ known.root.mT)


def test_what_is_least_likely_makes_room_for_a_new_function():
    known, fresh = hypotheses([0.5, 0.1, 0.4], [0.0, 1.0, 2.0], [1.0] * 3), hypotheses([1.0], [9.0], [0.0])
    after = changing(known, torch.zeros(1, 3), fresh, torch.tensor(0.2).log(), torch.tensor(0.8).log())
    assert after.mean.flatten().tolist() == [0.0, 2.0, 9.0]
    torch.testing.assert_close(after.log_evidence.exp(), torch.tensor([[0.8 * 5 / 9, 0.8 * 4 / 9, 0.2]]))


def test_float32_stands_a_thousand_steps():
    """It stays near float64, and what it stands for stays a covariance."""
    task = QuadraticFunction()
    learner = learner_of(task, components=2, noise=1e-9)
    exact = copy.deepcopy(learner, {id(task): task}).double()
    batches = task.sample(16, 0, Phase.TEST).batches(0, 1000)
    state, answers = answers_of(learner, batches)
    other = answers_of(exact, Batches(*(part.double() for part in batches[:2])))[1]
    assert (answers.double() - other).square()[100:].mean().sqrt() < 1e-2 * (batches.targets - answers)[
        100:
    ].square().mean().sqrt()
    spread = torch.linalg.eigvalsh((state.root @ state.root.mT).double())
    assert spread.min() > -1e-7 * spread.max()
    assert all(part.isfinite().all() for part in state)


def test_several_targets_and_examples_a_step_are_those_of_one(double):
    """A task of N examples a step is one of single examples; the contract tests have it answer before it learns."""
    task = Quadratic(dimension=4)
    learner = learner_of(task, components=2)
    batch = task.sample(E, 0, Phase.TEST).batch(0)
    with torch.no_grad():
        state, _ = learner.step(learner.init(E, generator(0)), batch)
        single = learner.init(E, generator(0))
        for index in range(4):
            part = Batches(batch.inputs[None, :, index : index + 1], batch.targets[None, :, index : index + 1])
            single, _ = learner.unroll(single, part)
    for one, two in zip(state, single, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("task", ["halfplanes", "digits"])
def test_another_loss_is_refused(task):
    said = refusal(OnlineLeastSquares, TASKS[task]()) or ""
    assert "squared error" in said
    assert "\n" not in said


@pytest.mark.parametrize("options", [{"components": 0}, {"dimensions": 0}, {"least_noise": 0.0}], ids=str)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        OnlineLeastSquares(SemiLinear(), **options)


@pytest.mark.parametrize(
    "options", [{"forgetting": 0.0}, {"hazard": 1.0}, {"settle": 0}, {"forgetting": 0.9, "hazard": 0.1}], ids=str
)
def test_functions_change_in_one_way(options):
    with pytest.raises(ValueError, match=r"must be|set only one"):
        Upkeep(**options)
