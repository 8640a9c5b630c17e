"""Meta-gradients against finite differences, and the loop that uses them."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from l2l_cli.core.errors import RunFailed
from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.core.vectors import choose
from l2l_cli.learners.base import step_losses
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.in_weights import LSTM
from l2l_cli.meta.backprop import Backprop
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.horizon import Curriculum
from l2l_cli.meta.loss import LastStep, LogTrajectory, Trajectory
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.meta.training import Update, Validation
from l2l_cli.models.point import Point
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.quadratic import Quadratic
from tests.cases import CUT, LEARNED, LEARNERS, PAIRS, TASKS, on_path, pair_of

# Finite differences of second order meet the kinks of a convolutional network's ReLUs.
KINKED = [("digits-convnet", "learned_init")]
# Gradients of biases before a normalisation are rounding errors, which this rule takes in their own units too.
NOISY = [("digits-convnet", "tensorwise_mixture")]
EXACT = [pair for pair in PAIRS if pair[1] in LEARNED and pair[1] not in CUT and pair not in KINKED + NOISY]


def objective(learner, loss, steps, frozen_grads=None):
    """The meta-loss of the estimator's first episode, without a graph.

    With ``frozen_grads``, the gradients that the rule is shown are taken from there: that makes the *stopped*
    derivative, in which they are constants, an ordinary one.
    """
    task = learner.task
    episode = task.sample(2, derive(0, "episode", 0), Phase.META_TRAIN)
    state = learner.init(2, generator(0, "learner", 0))
    with torch.no_grad():
        if frozen_grads is None:
            outputs = learner.unroll(state, episode.batches(0, steps))[1]
        else:
            answers, params, memory = [], state.params, state.memory
            for step in range(steps):
                batch = episode.batch(step)
                point = Point(task.model, task.loss, params, batch)
                vars(point)["grad"] = frozen_grads[step]
                answers.append(point.outputs)
                moved, memory = learner.rule.step(point, memory)
                if batch.shown is not None:  # where targets are hidden, parameters stay
                    moved = {name: choose(batch.shown, value, params[name]) for name, value in moved.items()}
                params = moved
            outputs = torch.stack(answers)
        return loss(step_losses(task, outputs, episode.batches(0, steps).targets), 1.0)


def shown_gradients(learner, steps):
    """The gradients along the trajectory of the present φ."""
    seen = []
    step = learner.rule.step

    def record(point, memory):
        seen.append({name: value.detach().clone() for name, value in point.grad.items()})
        return step(point, memory)

    learner.rule.step = record
    objective(on_path(learner, False), Trajectory(), steps)
    del learner.rule.step
    return seen


def finite_difference(learner, value_of, direction, step=1e-5):
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            for name, value in learner.named_parameters():
                value += sign * step * direction[name]
            values.append(value_of())
            for name, value in learner.named_parameters():
                value -= sign * step * direction[name]
    return (values[0] - values[1]) / (2 * step)


def each_loss():
    """Every pair meets one loss after the other and every other one the compiled path; all do in the slow tests."""
    losses = [Trajectory(), LogTrajectory(), LastStep()]
    for number, pair in enumerate(EXACT):
        for (turn, loss), fast in product(enumerate(losses), (False, True)):
            quick = turn == number % len(losses) and (number % 2 == 0 or not fast)
            words = [*pair, type(loss).__name__, "fast" if fast else "reference"]
            yield pytest.param(*pair, loss, fast, marks=[] if quick else [pytest.mark.slow], id="-".join(words))


@pytest.mark.parametrize(("task", "name", "loss", "fast"), [*each_loss()])
def test_backprop_equals_finite_differences(task, name, loss, fast, double):
    steps = 6
    _, learner = pair_of(task, name)
    if fast and not learner.path.is_compiled:
        pytest.skip("it has no compiled path")
    learner = on_path(learner, fast)
    learner.task.horizon = steps
    estimator = Backprop(episodes=2, window=None, loss=loss)
    _, estimate = estimator.estimate(learner, estimator.init(learner, 0), 0.0)
    stopped = isinstance(learner, Descent) and not learner.second_order
    frozen = shown_gradients(learner, steps) if stopped else None
    torch.testing.assert_close(estimate.objective, objective(learner, loss, steps, frozen))
    rng = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = {key: torch.randn(value.shape, generator=rng) for key, value in learner.named_parameters()}
        slope = sum((direction[key] * value).sum() for key, value in estimate.grad.items())
        # Small batches, normalised layer after layer: a residual network's kinks lie closer than others'.
        # Attention to few tokens is sharply curved in φ.
        # A rule of ReLU units has kinks at every coordinate.
        sharp = task == "digits-resnet" or name.startswith(("prior_fitted", "adafac_mlp"))
        step = 1e-6 if sharp else 1e-5
        numeric = finite_difference(learner, lambda: objective(learner, loss, steps, frozen), direction, step)
        torch.testing.assert_close(slope, numeric, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["lstm", "coordinatewise_lstm"])
def test_a_window_of_the_horizon_is_full_backpropagation(name, double):
    grads = []
    for window in (12, None):
        learner = LEARNERS[name](TASKS["b16"]())
        estimator = Backprop(episodes=3, window=window)
        grads.append(estimator.estimate(learner, estimator.init(learner, 1), 0.0)[1].grad)
    for key in grads[0]:
        torch.testing.assert_close(grads[0][key], grads[1][key], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["lstm", "coordinatewise_lstm"])
def test_windows_walk_through_the_same_episode(name, double):
    """The mean losses of three windows of four are those of one window of twelve; then new episodes begin."""
    learner = LEARNERS[name](TASKS["b16"]())
    whole, parts = Backprop(episodes=3, window=None), Backprop(episodes=3, window=4)
    full = whole.estimate(learner, whole.init(learner, 1), 0.0)[1].loss
    progress, losses = parts.init(learner, 1), []
    for _ in range(3):
        progress, estimate = parts.estimate(learner, progress, 0.0)
        losses.append(estimate.loss)
    torch.testing.assert_close(torch.stack(losses).mean(), full)
    progress, _ = parts.estimate(learner, progress, 0.0)
    assert (int(progress.draw), int(progress.step)) == (1, 4)


def test_a_curriculum_lengthens():
    horizon, rng = Curriculum(short=100, until=0.5, settled=0.8), generator(0)
    assert horizon.draw(0.0, 1000, rng) == horizon.draw(0.49, 1000, rng) == 100
    lengths = [horizon.draw(0.6, 1000, rng) for _ in range(300)]
    assert min(lengths) < 130
    assert max(lengths) > 800
    assert 280 < torch.tensor(lengths).float().log().mean().exp() < 350  # log-uniform: √(100 · 1000) = 316
    assert horizon.draw(0.8, 1000, rng) == 1000
    assert horizon.draw(0.0, 64, rng) == 64


def training(updates=30, **plan):
    task = Booleans(xor=False, length=10)
    learner = LSTM(task, hidden=4)
    plan = MetaPlan(updates=updates, validate_every=5, validation_episodes=8, warmup=3, **plan)
    return MetaTraining(learner, Backprop(episodes=4, window=5), Adam(0.02), plan, seed=0)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_resumed_run_equals_one_never_stopped(average):
    straight = training(average=average)
    expected = list(straight.records())
    first = training(average=average)
    records, saved = [], {}
    for record in first.records():
        records.append(record)
        if len(records) == 17:
            saved = {name: value.clone() for name, value in first.checkpoint().items()}
            break
    second = training(average=average)
    second.restore(saved)
    assert records + list(second.records()) == expected
    straight.finish()
    second.finish()
    for one, other in zip(straight.learner.parameters(), second.learner.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_improves_and_keeps_the_best():
    run = training(updates=300)
    validations = [record for record in run.records() if isinstance(record, Validation)]
    assert validations[-1].mean < 0.8 * validations[0].mean
    assert run.best == min(record.mean for record in validations)
    assert validations[0].best


def test_patience_ends_a_run_early():
    run = training(updates=10_000, patience=2, schedule="constant")
    run._optimizer.lr = 1e-12  # no improvement can come of it
    records = list(run.records())
    assert records[-1].number < 100


class Exploding(Sgd):
    """A meta-optimizer under which φ diverges at once."""

    def update(self, grad, memory):
        return {name: value * float("inf") for name, value in grad.items()}, memory


def test_non_finite_updates_are_counted_and_end_the_run():
    run = training(updates=500)
    run._optimizer = Exploding()
    run._memory = Exploding().init({})
    seen = []
    with pytest.raises(RunFailed, match="2 of 3 updates had a non-finite"):
        seen.extend(run.records())
    assert run.skipped == 2


def test_a_skipped_update_leaves_phi_alone():
    run = training(updates=500)
    records = run.records()
    next(records)
    estimate = run._estimator.estimate

    def poisoned(learner, progress, done):
        progress, value = estimate(learner, progress, done)
        return progress, value._replace(loss=torch.tensor(float("nan")))

    before = [value.clone() for value in run.learner.parameters()]
    run._estimator.estimate = poisoned
    record = next(records)
    assert isinstance(record, Update)
    assert record.skipped
    for old, new in zip(before, run.learner.parameters(), strict=True):
        assert torch.equal(old, new)
    run._estimator.estimate = estimate
    assert not next(records).skipped


def test_hand_made_learners_cannot_be_meta_trained():
    with pytest.raises(ValueError, match="hand-made"):
        MetaTraining(Descent(Quadratic(), Sgd()), Backprop(), Adam(), MetaPlan(), 0)


@pytest.mark.slow
def test_a_learned_optimizer_beats_its_start():
    learner = Descent(Quadratic(dimension=4, horizon=40), CoordinatewiseLSTM(hidden=10))
    plan = MetaPlan(updates=400, validate_every=50, criterion="final")
    run = MetaTraining(learner, Backprop(16, window=20, loss=LogTrajectory()), Adam(0.01), plan, 0)
    finals = [record.final for record in run.records() if isinstance(record, Validation)]
    assert min(finals) < 0.3
