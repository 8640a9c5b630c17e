"""Gradients from perturbations against those from back-propagation, and the bias of windows in closed form."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from l2l_cli.core.tree import flatten, unflatten
from l2l_cli.core.types import Batch
from l2l_cli.learners.base import Learner
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.evolution import EvolutionStrategies, PersistentES, moved
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.loss import LastStep, LogTrajectory
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.optimizers.adam import Adam
from l2l_cli.tasks.base import Episode, Task
from tests.cases import LEARNED, LEARNERS, PAIRS, TASKS, on_path, one_in, pair_of

BOTH = [EvolutionStrategies, PersistentES]
STEPS, WINDOW = 12, 3


class Zeros(Episode):
    """Nothing to see; what is answered should be zero."""

    def __init__(self, episodes):
        self._batch = Batch(torch.zeros(episodes, 1), torch.zeros(episodes, 1))

    def batch(self, step, split=None):
        return self._batch


class Nothing(Task):
    horizon = STEPS

    def sample(self, episodes, seed, phase):
        return Zeros(episodes)

    def loss(self, outputs, targets):
        return outputs.square().flatten(1).mean(1)


class Sum(NamedTuple):
    total: Tensor


class Hoarder(Learner[Sum]):
    """Adds up φ, and answers with the sum less ``greed`` · φ: what is gained now is paid for later.

    The answer at step t is (t + 1 − greed) · φ, with φ = (a, b) counted one after the other.
    """

    def __init__(self, task, greed=5.0):
        super().__init__(task)
        self.greed = greed
        self.phi = nn.Parameter(torch.tensor([0.5, -0.3]))

    def init(self, episodes, rng):
        return Sum(torch.zeros(episodes, 2))

    def unroll(self, state, batches):
        totals = state.total + torch.arange(1.0, batches.steps + 1)[:, None, None] * self.phi
        return Sum(totals[-1]), totals - self.greed * self.phi

    def step(self, state, batch):
        raise AssertionError("windows are unrolled at once")

    def predict(self, state, inputs):
        return state.total


def walked(estimator, learner, seed=0):
    """The sum of an episode's estimates, φ standing still."""
    progress = estimator.init(learner, seed)
    grads = []
    for _ in range(math.ceil(learner.task.horizon / (estimator.window or learner.task.horizon))):
        progress, estimate = estimator.estimate(learner, progress, 0.0)
        grads.append(flat(estimate))
    assert progress.step == progress.horizon
    return torch.stack(grads).sum(0)


def flat(estimate):
    return torch.cat([value.flatten() for value in estimate.grad.values()])


def deviations(estimator, learner, expected, walks=30):
    """How many standard errors the mean of many walks lies from a gradient, the largest coordinate."""
    found = torch.stack([walked(estimator, learner, seed) for seed in range(walks)])
    return ((found.mean(0) - expected) / (found.std(0) / walks**0.5)).abs().max()


@pytest.mark.slow
def test_persistence_removes_the_bias_of_windows(double):
    learner = Hoarder(Nothing())
    exact = (STEPS / WINDOW) * walked(Backprop(1), learner)
    # d/dφ Σ_windows mean_t ((t + 1 − 5) φ)² / 2 = Σ_t (t − 4)² φ / 3
    torch.testing.assert_close(exact, sum((t - 4) ** 2 for t in range(STEPS)) / WINDOW * learner.phi.detach())
    truncated = walked(Backprop(1, window=WINDOW), learner)
    assert (truncated * exact < 0).all()  # each window looks better with more φ, all of them with less
    options = {"episodes": 1, "pairs": 30, "sigma": 0.1, "window": WINDOW}
    assert deviations(PersistentES(**options), learner, exact) < 3
    assert deviations(PersistentES(**options), learner, truncated) > 10
    assert deviations(EvolutionStrategies(**options), learner, truncated) < 3
    assert deviations(EvolutionStrategies(**options), learner, exact) > 10


def test_without_windows_evolution_is_exact_in_the_mean(double):
    learner = Hoarder(Nothing())
    exact = walked(Backprop(1), learner)
    for kind in BOTH:
        assert deviations(kind(episodes=1, pairs=30, sigma=0.1), learner, exact) < 3


@pytest.mark.parametrize(
    ("kind", "task", "name"),
    [(EvolutionStrategies, "b16", "lstm"), (PersistentES, "quadratic", "coordinatewise_lstm-second-order")],
)
def test_the_cosine_to_back_propagation_is_that_of_random_directions(kind, task, name, double):
    learner = LEARNERS[name](TASKS[task]())
    learner.task.horizon = 4
    exact, pairs = walked(Backprop(2, loss=LogTrajectory()), learner), 20
    estimator = kind(episodes=2, pairs=pairs, sigma=1e-5, loss=LogTrajectory())
    progress, found = estimator.init(learner, 0), []
    for draw in range(12):  # the same episodes, other ε
        noise = 1e-5 * torch.randn(pairs, len(exact), generator=torch.Generator().manual_seed(draw))
        estimator.noise = lambda learner, progress, noise=noise: noise
        found.append(torch.cosine_similarity(flat(estimator.estimate(learner, progress, 0.0)[1]), exact, 0))
    assert torch.stack(found).mean() == pytest.approx((pairs / (len(exact) + pairs)) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("pair", "fast", "kind"), one_in(3, [pair for pair in PAIRS[::5] if pair[1] in LEARNED], [False, True], BOTH)
)
def test_every_learner_can_be_perturbed(pair, fast, kind, double):
    """The slope along ε is the finite difference, φ is as it was, and a second call does the same to the bit."""
    task, name = pair
    _, learner = pair_of(task, name)
    if fast and not learner.path.is_compiled:
        pytest.skip("it has no compiled path")
    learner = on_path(learner, fast)
    before = [value.detach().clone() for value in learner.parameters()]
    estimator = kind(episodes=2, pairs=1, sigma=1e-4, window=3, loss=LastStep())
    start = estimator.init(learner, 3)
    after, estimate = estimator.estimate(learner, start, 0.0)
    (shift,) = estimator.noise(learner, start)
    batches = estimator.window_of(learner, start)
    state = start.state.states[0] if kind is PersistentES else start.state
    ends = []
    for side in (shift, -shift):
        with torch.no_grad(), moved(learner, side):
            ends.append(learner.losses(state, batches)[1][-1].mean())
    slope = (ends[0] - ends[1]) / (2 * shift.norm())
    torch.testing.assert_close(flat(estimate), slope * shift.norm() * shift / 1e-8)
    assert all(torch.equal(old, new) for old, new in zip(before, learner.parameters(), strict=True))
    again, same = estimator.estimate(learner, start, 0.0)
    assert torch.equal(flat(estimate), flat(same))
    assert all(torch.equal(value, flatten(again)[key]) for key, value in flatten(after).items())
    assert all(
        torch.equal(value, flatten(unflatten(start, flatten(after)))[key]) for key, value in flatten(after).items()
    )


class Even(Hoarder):
    """Losses that are even in φ, at φ = 0."""

    def __init__(self, task):
        super().__init__(task)
        nn.init.zeros_(self.phi)


@pytest.mark.parametrize("kind", BOTH)
def test_what_is_even_in_the_perturbation_cancels(kind):
    assert torch.equal(walked(kind(1, pairs=3, sigma=1.0, window=WINDOW), Even(Nothing())), torch.zeros(2))


def test_phi_is_restored_when_something_goes_wrong():
    learner = Hoarder(Nothing())
    before = learner.phi.detach().clone()

    def breaks(state, batches):
        assert not torch.equal(before, learner.phi)
        raise RuntimeError("on the way")

    learner.unroll = breaks
    with pytest.raises(RuntimeError, match="on the way"):
        walked(PersistentES(1), learner)
    assert torch.equal(before, learner.phi)


def training(kind, updates=24):
    learner = LEARNERS["lstm"](TASKS["b14"]())
    plan = MetaPlan(updates=updates, validate_every=5, validation_episodes=8, warmup=3)
    return MetaTraining(learner, kind(episodes=4, pairs=2, sigma=0.05, window=5), Adam(0.02), plan, seed=0)


@pytest.mark.parametrize("stop", [0, 14])
@pytest.mark.parametrize("kind", BOTH)
def test_a_resumed_run_equals_one_never_stopped(kind, stop):
    straight = training(kind)
    expected = list(straight.records())
    first, records = training(kind), []
    stream = first.records()
    while len(records) < stop:
        records.append(next(stream))
    second = training(kind)
    second.restore({name: value.clone() for name, value in first.checkpoint().items()})
    assert records + list(second.records()) == expected
    assert all(torch.equal(*pair) for pair in zip(straight.phi().values(), second.phi().values(), strict=True))


@pytest.mark.parametrize("kind", BOTH)
def test_a_particle_that_diverges_ends_the_episode(kind):
    run = training(kind)
    before = run.phi()
    run.learner = on_path(run.learner, False)
    run.learner.unroll = lambda state, batches: (state, batches.targets * float("inf"))
    run.learner.losses = lambda state, batches: Learner.losses(run.learner, state, batches)
    record = run.update()
    assert record.skipped
    assert int(run.tree()["progress"].draw) == 1
    assert all(torch.equal(*pair) for pair in zip(before.values(), run.phi().values(), strict=True))


@pytest.mark.parametrize("options", [{"pairs": 0}, {"sigma": 0.0}, {"window": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        PersistentES(**options)
