"""MLHF's meta-gradient against the stopped derivative, its replay, and the training that uses them."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import derive, generator, normal
from l2l_cli.core.tree import flatten
from l2l_cli.core.types import Phase
from l2l_cli.core.vectors import dot, stacked, unstacked
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.mlhf import StoppedBackprop, solver_objective
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.meta.replay import Replay
from l2l_cli.models.point import Point
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.optimizers.preprocess import LogAndSign
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.image_tasks import digits_mlp
from tests.meta.test_gradient import finite_difference

STEPS = 4


def small():
    return digits_mlp(hidden=[3], examples=5, start=0.3, pool=4, horizon=60)


def learner_of(task=None, **options):
    learner = Descent(task or small(), MLHF(**{"lr": 0.5, "iterations": 3, "base_damping": 0.05, **options}))
    with torch.no_grad():  # all weights and biases matter
        for index, value in enumerate(learner.parameters()):
            value += normal(tuple(value.shape), generator(index), 0.3)
    return learner


class Frozen:
    """What is constant along the trajectory of the present φ, and the two objectives with it held.

    The conjugate gradients below know G as a matrix, and the losses are evaluated, not linearised.
    """

    def __init__(self, learner, episodes, reach):
        self.learner, self.rule, self.task, self.reach = learner, learner.rule, learner.task, reach
        self.episode = self.task.sample(episodes, derive(0, "episode", 0), Phase.META_TRAIN)
        state = learner.init(episodes, generator(0, "learner", 0))
        self.steps = []
        with torch.no_grad():
            for t in range(STEPS):
                point = self.point(t, state.params)
                units = torch.eye(stacked(state.params).shape[1])
                columns = [point.ggn(unstacked(unit.expand(episodes, -1), state.params)) for unit in units]
                matrix = torch.stack([stacked(column) for column in columns], 2)
                grad = stacked(self.point(t, state.params).grad)
                self.steps.append((state.params, matrix, grad, state.memory.solution, state.memory.residual))
                moved, memory = self.rule.step(point, state.memory)
                move = self.short(stacked(moved) - stacked(state.params), state.params)
                params = unstacked(stacked(state.params) + move, state.params)
                state = state._replace(params=params, memory=memory)
            self.last = state.params
            moves = [stacked(b[0]) - stacked(a[0]) for a, b in pairwise(self.steps)]
            self.weights = torch.stack(self.changes(moves)).softmax(0)

    def point(self, t, params):
        return Point(self.task.model, self.task.loss, params, self.episode.batch(t), curvature=self.task.curvature)

    def short(self, move, params):
        size = stacked(params).norm(dim=1, keepdim=True)
        return move * (self.reach * size / move.norm(dim=1, keepdim=True)).clamp(max=1.0)

    def changes(self, moves):
        found = []
        for t, (move, (params, *_)) in enumerate(zip(moves, self.steps[:-1], strict=True)):
            after = unstacked(stacked(params) + move, params)
            here, ahead = self.point(t, params), self.point(t + 1, params)
            found.append(0.5 * (ahead.loss_at(after) + here.loss_at(after)) - here.loss_at(params))
        return found

    def objective(self, part):
        """What trains a network, as a function of the φ that the learner has now."""
        solving, moving = self.objectives()
        return solving if part.endswith("precondition") else 7.0 * moving

    def objectives(self):
        """l_p and l_s."""
        rule, (_, memory) = self.rule, self.learner.init(len(self.steps[0][2]), generator(0, "learner", 0))
        damping, conditions = memory.damping, memory.precondition
        directions, moves = [], []
        for params, matrix, grad, start, last in self.steps:
            kinds = {"dense_weight": [], "dense_bias": []}
            begin = 0
            for name, value in params.items():
                kinds[self.task.model.parameter_types[name]] += range(begin, begin + value[0].numel())
                begin += value[0].numel()
            order = torch.tensor(kinds["dense_weight"] + kinds["dense_bias"])
            cut = len(kinds["dense_weight"])
            spans = {"dense_weight": slice(0, cut), "dense_bias": slice(cut, len(order))}
            g, whole = grad[:, order], matrix[:, order][:, :, order]
            seen = torch.cat([rule.preprocess(part.flatten()).unflatten(1, part.shape) for part in (g, last, start)])
            s, damping = rule.damping(seen, damping, spans)
            damped = whole + torch.diag_embed(s + rule.base_damping)
            x, r = start, g - torch.einsum("eij,ej->ei", damped, start)
            if rule.preconditioner == "learned":
                seen = torch.cat([rule.preprocess(part.flatten()).unflatten(1, part.shape) for part in (g, r, start)])
                p, conditions = rule.precondition(seen, conditions, spans)
            else:
                p = 1.0 / (s + rule.base_damping) if rule.preconditioner == "jacobi" else torch.ones_like(g)
            y = d = p * r
            for _ in range(rule.iterations):
                along = torch.einsum("eij,ej->ei", damped, d)
                a = dot(r, y) / dot(d, along)
                x, before, r = x + a[:, None] * d, dot(r, y), r - a[:, None] * along
                y = p * r
                d = y + (dot(r, y) / before)[:, None] * d
            curved = dot(x, torch.einsum("eij,ej->ei", damped, x))
            directions.append(-dot(g, x) / curved.sqrt())
            moves.append(self.short(-rule.lr * x[:, order.argsort()], params))
        moving = (self.weights * torch.stack(self.changes(moves[:-1]))).sum(0).mean()
        return torch.stack(directions).mean(), moving


@pytest.mark.parametrize(
    ("episodes", "reach", "options"),
    [
        (1, 1e6, {}),
        (2, 0.05, {"preprocess": LogAndSign()}),
        (1, 1e6, {"preconditioner": "none"}),
        (1, 1e6, {"preconditioner": "jacobi"}),
    ],
    ids=["paper", "short-steps-log", "no-preconditioner", "jacobi"],
)
def test_the_estimate_is_the_stopped_derivative(episodes, reach, options, double):
    learner = learner_of(**options)
    estimator = StoppedBackprop(episodes, STEPS, decay=0.0, reach=reach, jitter=0.0, scale=7.0)
    _, estimate = estimator.estimate(learner, estimator.init(learner, 0), 0.0)
    frozen = Frozen(learner, episodes, reach)
    torch.testing.assert_close(
        estimate.loss, torch.stack([frozen.point(t, s[0]).loss for t, s in enumerate(frozen.steps)]).mean()
    )
    for part in ("rule.damping", "rule.precondition"):
        names = [name for name in estimate.grad if name.startswith(part)]
        if not names:
            assert options
            continue
        for draw in range(3):
            direction = {
                name: normal(tuple(value.shape), generator(draw, name)) * (name in names)
                for name, value in learner.named_parameters()
            }
            with torch.no_grad():
                expected = finite_difference(learner, partial(frozen.objective, part), direction)
            found = sum((estimate.grad[name] * direction[name]).sum() for name in names)
            torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-8)
            assert abs(expected) > 1e-6


def test_a_scaled_solution_has_the_same_objective_and_the_exact_one_the_least(double):
    generator_ = generator(0)
    root = normal((1, 6, 6), generator_)
    matrix, g = root @ root.mT + torch.eye(6), normal((1, 6), generator_)

    def objective(x):
        found = SimpleNamespace(x=x, grad=g, residual=g - torch.einsum("eij,ej->ei", matrix, x))
        return solver_objective([(found,)]).item()

    exact = torch.linalg.solve(matrix, g)
    assert objective(exact) == pytest.approx(objective(17.0 * exact))
    assert objective(exact) == pytest.approx(-dot(g, exact).sqrt().item())
    assert all(objective(exact + 0.1 * normal((1, 6), generator_)) > objective(exact) for _ in range(5))


def test_phi_decays_and_rnn_p_hears_nothing_of_the_moves():
    learner = learner_of()
    estimates = []
    for scale, decay in ((1.0, 0.0), (3.0, 0.5)):
        estimator = StoppedBackprop(1, STEPS, decay=decay, scale=scale)
        estimates.append(estimator.estimate(learner, estimator.init(learner, 0), 0.0)[1].grad)
    for name, value in learner.named_parameters():
        factor = 1.0 if "precondition" in name else 3.0
        torch.testing.assert_close(estimates[1][name], factor * estimates[0][name] + 0.5 * value.detach())


def test_a_move_is_no_longer_than_its_reach_and_jitters():
    learner = learner_of(lr=100.0)
    params = learner.init(1, generator(0, "learner", 0)).params
    for jitter, spread in ((0.0, 0.0), (0.02, 0.02)):
        estimator = StoppedBackprop(1, 2, reach=0.1, jitter=jitter)
        start = estimator.init(learner, 0)
        after = [estimator.estimate(learner, start, 0.0)[0].state.state.params for _ in range(2)]
        assert all(torch.equal(after[0][name], after[1][name]) for name in params)
        gone = (stacked(after[0]) - stacked(params)).norm() / stacked(params).norm()
        assert gone <= (0.1 + 0.1 * 1.1) * (1.0 + spread) + 1e-5


def test_training_can_be_left_and_taken_up(tmp_path):
    def training():
        learner = learner_of()
        estimator = StoppedBackprop(1, 2, replay=Replay(keep=0.5))
        plan = MetaPlan(updates=9, warmup=0, schedule="steps", clip_relative=True, validate_every=100)
        return MetaTraining(learner, estimator, Adam(0.01), plan, 3)

    whole = training()
    for _ in range(9):
        whole.update()
    part = training()
    for _ in range(5):
        part.update()
    saved = {name: value.clone() for name, value in part.checkpoint().items()}
    again = training()
    again.restore(saved)
    for _ in range(4):
        again.update()
    for name, value in flatten(whole.tree()).items():
        assert torch.equal(value, flatten(again.tree())[name]), name


def test_a_relative_clip_and_a_schedule_in_steps():
    learner = learner_of()
    plan = MetaPlan(updates=100, warmup=0, schedule="steps", clip=1e-3, clip_relative=True)
    training = MetaTraining(learner, StoppedBackprop(1, 2), SimpleSgd(), plan, 0)
    before = torch.cat([value.flatten() for value in learner.parameters()]).detach().clone()
    training.update()
    after = torch.cat([value.flatten() for value in learner.parameters()]).detach()
    assert (after - before).norm().item() == pytest.approx(1e-3 * before.norm().item(), rel=1e-3)
    rates = []
    for number in (1, 60, 61, 76, 77, 88, 89, 100):
        training.number = number
        rates.append(training._rate())
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


class SimpleSgd:
    def init(self, params):
        return None

    def update(self, grad, memory):
        return {name: -value for name, value in grad.items()}, memory


@pytest.mark.slow
def test_meta_training_makes_the_optimizer_better():
    learner = Descent(digits_mlp(hidden=[3], examples=40, start=0.3, pool=2, horizon=60), MLHF())
    before = score(learner, 4, 60, 0, Phase.META_VALID).by("mean")
    plan = MetaPlan(updates=60, warmup=0, clip_relative=True, validate_every=60, validation_episodes=2)
    training = MetaTraining(learner, StoppedBackprop(2, 5), Adam(0.02), plan, 0)
    for _ in training.records():
        pass
    training.finish()
    assert training.skipped == 0
    assert score(learner, 4, 60, 0, Phase.META_VALID).by("mean") < before - 0.05


def test_what_does_not_fit_is_refused():
    hidden = Descent(Halfplanes(dimension=3, samples=12, hidden=[4], share=[0.2, 0.6]), MLHF())
    with pytest.raises(UsageError, match="shows all targets"):
        StoppedBackprop().init(hidden, 0)
    with pytest.raises(UsageError, match="learner=mlhf"):
        StoppedBackprop().init(Descent(small(), Adam(0.1)), 0)
    with pytest.raises(ValueError, match="window"):
        StoppedBackprop(window=1)
    learner = learner_of(kinds=["dense_weight"])
    with pytest.raises(UsageError, match=r"no networks for dense_bias.*kinds=\[dense_weight,dense_bias\]"):
        score(learner, 1, 2, 0, Phase.TEST)
