"""Meta-training by the likelihood: its gradient, the mixture that follows, and a training through both stages."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.config.compose import compose
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.learners.least_squares.online import OnlineLeastSquares
from l2l_cli.learners.least_squares.upkeep import Upkeep
from l2l_cli.meta.evidence import Evidence
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.mixture import Found, Mixture
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.optimizers.adam import Adam
from l2l_cli.tasks.functions import Booleans, QuadraticFunction, SemiLinear
from l2l_cli.tasks.switching import Switching


def training(updates=6, seed=0, task=None, **options) -> MetaTraining:
    sizes = {"hidden": 4, "dimensions": 3, "components": 3, **options}
    learner = OnlineLeastSquares(task or SemiLinear(length=10), **sizes)
    plan = MetaPlan(updates=updates, validate_every=2, validation_episodes=4, warmup=1)
    return MetaTraining(learner, Evidence(4, 8, until=0.5, functions=50), Adam(0.02), plan, seed)


@pytest.mark.parametrize("options", [{}, {"forgetting": 0.9}, {"hazard": 0.1}], ids=["stays", "fades", "changes"])
def test_its_gradient_is_that_of_the_likelihood(options, double):
    learner = OnlineLeastSquares(SemiLinear(length=10), hidden=4, dimensions=3, components=1, upkeep=Upkeep(**options))
    estimator = Evidence(4, 8)
    progress = estimator.init(learner, 0)
    batches = estimator.window_of(learner, progress)
    _, estimate = estimator.estimate(learner, progress, 0.0)
    with torch.no_grad():
        for number, (name, value) in enumerate(learner.named_parameters()):
            direction, ends = torch.randn(value.shape, generator=generator(number)), []
            for step in (1e-6, -1e-6):
                value += step * direction
                ends.append(-learner.ahead(batches).log_density.mean())
                value -= step * direction
            slope = (direction * estimate.grad[name]).sum()
            torch.testing.assert_close(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def clusters(targets: int = 1) -> tuple[Found, torch.Tensor]:
    """Weights about three centres, in two dimensions."""
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], dtype=torch.float64).unsqueeze(1) + torch.zeros(
        1, targets, 1
    )
    own = torch.arange(600) % 3
    weights = centres[own] + 0.1 * torch.randn(600, targets, 2, generator=generator(0), dtype=torch.float64)
    return Found.of(weights, torch.zeros(2, 2, dtype=torch.float64)), centres


@pytest.mark.parametrize("targets", [1, 2])
def test_a_mixture_finds_clusters_and_never_becomes_less_likely(targets):
    found, centres = clusters(targets)
    mixture, likelihoods = Mixture.start(found, 3, generator(0)), []
    for _ in range(10):
        likelihoods.append(mixture.log_joint(found).logsumexp(1).mean())
        mixture = mixture.improved(found)
    assert (torch.stack(likelihoods).diff() > -1e-6).all()
    order = mixture.mean[:, 0].sum(1).argsort()
    assert {tuple(row) for row in mixture.mean[order, 0].round().tolist()} == {
        tuple(row) for row in centres[:, 0].tolist()
    }
    torch.testing.assert_close(mixture.log_share.exp(), torch.full((3,), 1 / 3).double(), rtol=0, atol=0.01)
    wanted = 0.01 * torch.eye(2).double().expand(3, 2, 2)
    torch.testing.assert_close(mixture.covariance, wanted, rtol=0, atol=0.003)


def test_densities_of_a_mixture_are_those_of_torch():
    found, _ = clusters(2)
    mixture = Mixture.start(found, 3, generator(1)).improved(found)
    each = [
        share + torch.distributions.MultivariateNormal(mean, covariance).log_prob(found.weights).sum(1)
        for share, mean, covariance in zip(*mixture, strict=True)
    ]
    off = mixture.log_joint(found) - torch.stack(each, 1)
    torch.testing.assert_close(off, off[0, 0].expand_as(off))


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_it_goes_on_from_a_checkpoint_in_either_stage(stop):
    whole, first, second = training(), training(), training()
    losses = [whole.update().loss for _ in range(6)]
    for _ in range(stop):
        first.update()
    saved = {name: value.clone() for name, value in first.checkpoint().items()}
    second.restore(saved)
    assert [second.update().loss for _ in range(6 - stop)] == losses[stop:]
    for name, value in whole.phi().items():
        assert torch.equal(second.phi()[name], value), name


def test_the_second_stage_moves_the_prior_alone():
    one = training()
    for _ in range(3):
        one.update()
    before = one.phi()
    one.update()
    changed = {name for name, value in one.phi().items() if not torch.equal(value, before[name])}
    assert changed == {"shares", "centres", "roots"}


def test_a_single_gaussian_has_no_second_stage():
    one = training(components=1)
    norms = [one.update().norm for _ in range(6)]
    assert all(norm > 0 for norm in norms)


def test_another_learner_is_refused():
    with pytest.raises(UsageError, match="online_least_squares gives and LSTM does not"):
        Evidence().init(LSTM(Booleans()), 0)


def test_it_is_what_trains_the_learner_unless_another_is_asked_for():
    words = ["task=semilinear", "learner=online_least_squares"]
    assert compose("meta-train", words).choices["gradient"] == "evidence"
    assert compose("meta-train", [*words, "gradient=es"]).choices["gradient"] == "es"
    assert compose("meta-train", ["task=semilinear", "learner=lstm"]).choices["gradient"] == "backprop"


@pytest.mark.slow
@pytest.mark.parametrize("task", [QuadraticFunction(length=24), SemiLinear(length=24)], ids=["quadratic", "semilinear"])
def test_it_comes_near_the_limit(task):
    learner = OnlineLeastSquares(task, components=24)
    plan = MetaPlan(updates=600, validate_every=600, validation_episodes=16, warmup=30)
    for _ in MetaTraining(learner, Evidence(32, 32, functions=8000), Adam(0.01, beta2=0.99), plan, 0).records():
        pass
    ours, best = (score(one, 1000, 24, 0, Phase.META_VALID).by("mean") for one in (learner, Bayes(task)))
    assert best < ours < 1.1 * best


@pytest.mark.slow
def test_it_comes_near_the_limit_where_functions_change():
    task = Switching(Booleans(xor=False), every=16, length=64)
    # With a lower bound of 0.01 features are found that explain some functions as changes: 1.8 times the limit.
    learner = OnlineLeastSquares(
        task, hidden=16, dimensions=4, components=24, upkeep=Upkeep(hazard=0.05, spare=16), least_noise=0.03
    )
    plan = MetaPlan(updates=500, validate_every=500, validation_episodes=16, warmup=30)
    for _ in MetaTraining(
        learner, Evidence(32, 16, functions=1000, examples=32), Adam(0.02, beta2=0.99), plan, 0
    ).records():
        pass
    ours, best = (score(one, 500, 64, 0, Phase.META_VALID).by("mean") for one in (learner, Bayes(task)))
    assert best < ours < 1.05 * best
