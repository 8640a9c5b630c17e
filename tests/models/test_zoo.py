"""Every rule on every network of the zoo: as a plain loop of torch, or refused by name."""

from __future__ import annotations

import copy

import pytest
import torch

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.learners.learned_init import LearnedInit
from l2l_cli.models.point import Point, mean_squared_error
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.hessian_free import HessianFree
from l2l_cli.optimizers.kfac import KFac
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.optimizers.sgd import Sgd
from tests.models.zoo import DRAWN, ZOO, zoo

E, T = 2, 3
RULES = {
    "sgd": lambda: Sgd(0.1),
    "adam": lambda: Adam(0.1),
    "coordinatewise_lstm": lambda: CoordinatewiseLSTM(hidden=3),
    "hessian_free": lambda: HessianFree(iterations=2),
    "mlhf": lambda: MLHF(iterations=2),
}
KFAC_REFUSES = {
    "frozen_weight": r"layer\.bias without the weight beside it, which is frozen",
    "buffers": None,
    "norm": r"1 \(BatchNorm1d\)",
    "norm_evaluated": r"1 \(BatchNorm1d\)",
    "gru": r"body \(GRU\) does not map a tensor to a tensor",
    "lstm": r"body \(LSTM\) does not map",
    "rnn": r"body \(RNN\) does not map",
    "chosen": r"layer \(Linear\) is called twice",
    "uncalled": r"layer\.weight, whose module is never called",
    "listed": r"scales",
    "tied": r"twin \(Linear\) has parameters of up",
    "twice": r"layer \(Linear\) is called twice",
    "embedding": r"body \(Embedding\)",
    "weight_norm": r"0\.parametrizations\.weight",
    "spectral_norm": r"0\.parametrizations\.weight",
    "layer_norm": r"1 \(LayerNorm\)",
    "attention": r"layer\.self_attn \(MultiheadAttention\) does not map|NonDynamically",
}
every_network = pytest.mark.parametrize("name", ZOO)


class Plain:
    """A point by nothing but torch: one copy of the module for each episode, and its Jacobian row by row."""

    def __init__(self, task, params, batch):
        self.params, self.parameter_types, self._names = params, task.model.parameter_types, list(params)
        self.losses, self.outputs, grads, self._rows = [], [], [], []
        for e, (inputs, targets) in enumerate(zip(batch.inputs, batch.targets, strict=True)):
            module = copy.deepcopy(task.model.module)
            own = dict(module.named_parameters())
            for name, value in params.items():
                own[name].data = value[e].clone()
            values = [own[name] for name in params]
            dtype = next(iter(params.values())).dtype
            outputs = module(inputs.clone() if inputs.dtype == torch.long else inputs.to(dtype, copy=True))
            loss = (outputs - targets).square().mean()
            grads.append(self._grads(loss, values))
            self._rows.append([self._grads(output, values) for output in outputs.flatten()])
            self.losses.append(loss.detach())
            self.outputs.append(outputs.detach())
        self.grad = {name: torch.stack([one[k] for one in grads]) for k, name in enumerate(params)}

    @staticmethod
    def _grads(number, values):
        return torch.autograd.grad(number, values, retain_graph=True, materialize_grads=True)

    def ggn(self, v):
        found = {name: torch.zeros_like(value) for name, value in v.items()}
        for e, rows in enumerate(self._rows):
            for row in rows:
                along = sum((part * v[name][e]).sum() for part, name in zip(row, self._names, strict=True))
                for part, name in zip(row, self._names, strict=True):
                    found[name][e] += 2 / len(rows) * along * part
        return found


def plainly(task, rule, params, batches):
    """Losses (T, E) and θ of a rule by plain torch."""
    memory, losses = rule.init(params), []
    for t in range(T):
        point = Plain(task, params, batches.at(t))
        losses.append(torch.stack(point.losses))
        with torch.no_grad():
            params, memory = rule.step(point, memory)
            params = {name: params[name].detach() for name in point.params}
    return torch.stack(losses), params


def ours(task, rule, compiled=False):
    """Losses (T, E) and θ of a rule by its learner, and the batches."""
    learner = Descent(task, rule, paths=Paths(compiled))
    state, batches = learner.init(E, generator(1)), task.sample(E, 0, Phase.TUNE).batches(0, T)
    start = {name: value.clone() for name, value in state.params.items()}
    with torch.no_grad():
        state, outputs = learner.unroll(state, batches)
        losses = mean_squared_error(outputs.flatten(0, 1), batches.targets.flatten(0, 1)).view(T, E)
    return losses, state.params, (start, batches)


def close(one, other, name=""):
    # bfloat16 has two digits; Adam makes rounding errors as large as gradients.
    close_to = {"frozen_half": 5e-2, "attention": 1e-2}.get(name, 2e-4)
    torch.testing.assert_close(one, other, rtol=close_to, atol=close_to / 10)


def every_pair():
    """Rules and networks; Adam differs from SGD, and MLHF from Hessian-free steps, only in what few networks touch."""
    quick = {"adam": {"mlp", "double"}, "mlhf": {"frozen", "double", "gru", "unreached"}}
    for rule in RULES:
        for name in ZOO:
            yield pytest.param(name, rule, marks=[] if name in quick.get(rule, ZOO) else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "rule"), [*every_pair()])
def test_a_rule_does_what_plain_torch_does(name, rule):
    task = zoo(name, DRAWN)
    before = copy.deepcopy(task.model.module.state_dict())
    losses, params, start = ours(task, RULES[rule]())
    expected, moved = plainly(task, RULES[rule](), *start)
    close(losses, expected, name)
    close(params, moved, name)
    assert {value.dtype for value in params.values()} == {task.model.dtype}
    close(dict(task.model.module.state_dict()), dict(before))
    assert not any(value.grad is not None for value in task.model.module.parameters())


@every_network
def test_the_compiled_path_equals_the_reference_in_value_and_in_meta_gradient(name):
    found = []
    for compiled in (False, True):
        task, rule = zoo(name, DRAWN), CoordinatewiseLSTM(hidden=3)
        learner = Descent(task, rule, paths=Paths(compiled))
        assert learner.path.is_compiled == (compiled and name != "double")
        assert bool(learner.path.why_not) == (compiled and name == "double")
        answers = ours(task, rule, compiled)[:2]
        _, losses = learner.losses(learner.init(E, generator(1)), task.sample(E, 0, Phase.TUNE).batches(0, T))
        found.append((*answers, losses, torch.autograd.grad(losses.sum(), list(rule.parameters()))))
    close(*found, name)


@every_network
def test_kfac_knows_a_network_or_names_what_it_does_not(name):
    if KFAC_REFUSES.get(name):
        with pytest.raises(UsageError, match=KFAC_REFUSES[name]):
            ours(zoo(name, DRAWN), KFac(0.1, 0.1))
        return
    found = [ours(zoo(name, DRAWN, in_turn=in_turn), KFac(0.1, 0.1))[:2] for in_turn in (False, True)]
    close(*found, name)
    assert found[0][0].isfinite().all()


@every_network
def test_one_after_another_is_as_side_by_side(name):
    points = []
    for in_turn in (False, True):
        task = zoo(name, DRAWN, in_turn=in_turn)
        params, batch = task.model.init(E, generator(0)), task.sample(E, 1, Phase.TUNE).batch(0)
        points.append(Point(task.model, task.loss, params, batch, curvature=task.curvature))
    v = {key: torch.ones_like(value) for key, value in points[0].params.items()}
    for quantity in (lambda p: p.outputs, lambda p: p.grad, lambda p: p.hessian(v), lambda p: p.ggn(v)):
        close(*map(quantity, points), name)


@every_network
def test_a_learned_start_has_the_same_meta_gradient_by_recorded_programs(name):
    found = []
    for compiled in (False, True):
        task = zoo(name)
        learner = LearnedInit(task, lr=0.05, paths=Paths(compiled))
        _, losses = learner.losses(learner.init(E, generator(1)), task.sample(E, 0, Phase.TUNE).batches(0, T))
        found.append((losses, torch.autograd.grad(losses.sum(), list(learner.parameters()))))
    close(*found, name)
