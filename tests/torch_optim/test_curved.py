"""Rules that ask for curvature, in a plain loop of torch: the same steps as in an episode, and what they refuse."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from l2l_cli import load_optimizer
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Batch
from l2l_cli.models.model import Model
from l2l_cli.models.point import Point
from l2l_cli.optimizers.torch_curved import CurvatureOptimizer
from tests.torch_optim.rules import CURVED, data, made, net, same

QUICK = ("hessian_free", "kfac", "mlhf")
every_rule = pytest.mark.parametrize(
    "rule", [rule if rule in QUICK else pytest.param(rule, marks=pytest.mark.slow) for rule in CURVED]
)


def closure_of(network, step):
    """The closure of a step's data."""
    inputs, targets = data(step, next(network.parameters()).dtype)

    def closure():
        outputs = network(inputs)
        return outputs, nn.functional.cross_entropy(outputs, targets)

    return closure


def trained(optimizer, network, steps):
    """Losses of steps of a plain loop."""
    return [optimizer.step(closure_of(network, step)).item() for step in steps]


def closely(one, other):
    for mine, yours in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-4, atol=1e-6)


@every_rule
def test_it_moves_as_the_rule_does_in_an_episode_of_ours(rule):
    network = net()
    optimizer = made(rule, network)
    assert isinstance(optimizer, CurvatureOptimizer)
    model, by = Model(net()), optimizer._rule(torch.device("cpu"), optimizer.param_groups[0]["lr"])
    params = {name: value.detach()[None] for name, value in net().named_parameters()}
    memory, losses = by.begin(params, 0), []
    for step in range(5):
        inputs, targets = data(step)
        batch = Batch(inputs[None], nn.functional.one_hot(targets, 3).float()[None])
        with torch.no_grad():
            point = Point(model, lambda out, to: -(to * out.log_softmax(-1)).sum(-1).mean(1), params, batch)
            params, memory = by.step(point, memory)
        losses.append(point.loss.item())
    assert trained(optimizer, network, range(5)) == pytest.approx(losses, rel=1e-4)
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.detach(), params[name][0], rtol=1e-3, atol=1e-5)


def test_one_step_of_hessian_free_solves_a_linear_network_exactly():
    """Of a squared error in a linear network, G is the Hessian: enough iterations go to the minimum at once."""
    torch.manual_seed(0)
    network, inputs = nn.Linear(3, 1).double(), torch.randn(20, 3, dtype=torch.float64)
    targets = inputs @ torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64) + 4.0
    optimizer = made("hessian_free", network, lr=1.0, damping=1e-12, iterations=20)

    def closure():
        outputs = network(inputs)
        return outputs, nn.functional.mse_loss(outputs, targets)

    optimizer.step(closure)
    torch.testing.assert_close(network.weight, torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(network.bias, torch.tensor([4.0], dtype=torch.float64), rtol=0, atol=1e-6)


@every_rule
def test_it_leaves_gradients_alone(rule):
    network = net()
    for value in network.parameters():
        value.grad = torch.ones_like(value)
    trained(made(rule, network), network, range(1))
    assert all(torch.equal(value.grad, torch.ones_like(value)) for value in network.parameters())


@every_rule
def test_a_state_that_is_saved_in_mid_run_goes_on_bit_by_bit(rule):
    whole, half = net(), net()
    trained(made(rule, whole), whole, range(6))
    first = made(rule, half)
    trained(first, half, range(3))
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    second = made(rule, half)
    second.load_state_dict(torch.load(saved, weights_only=True))
    trained(second, half, range(3, 6))
    assert same(whole, half)


@every_rule
def test_copies_and_pickles_go_on_like_the_original(rule):
    network = net()
    optimizer = made(rule, network)
    trained(optimizer, network, range(2))
    copies = [copy.deepcopy((network, optimizer)), pickle.loads(pickle.dumps((network, optimizer)))]
    trained(optimizer, network, range(2, 4))
    for twin, by in copies:
        trained(by, twin, range(2, 4))
        assert same(twin, network)


@every_rule
def test_schedulers_change_the_rate_and_hooks_are_called(rule):
    network, seen = net(), []
    optimizer = made(rule, network, lr=0.5)
    optimizer.register_step_post_hook(lambda *_: seen.append(optimizer.param_groups[0]["lr"]))
    scheduler = lr_scheduler.StepLR(optimizer, 1, 0.5)
    for step in range(3):
        trained(optimizer, network, range(step, step + 1))
        scheduler.step()
    assert seen == [0.5, 0.25, 0.125]
    optimizer.param_groups[0]["lr"] = 0.0
    before = copy.deepcopy(network)
    trained(optimizer, network, range(3, 4))
    assert same(before, network) or rule in ("kfac",)


@every_rule
def test_float64_is_solved_in_float64(rule):
    network = net(torch.float64)
    trained(made(rule, network), network, range(2))
    assert {value.dtype for value in network.parameters()} == {torch.float64}


@every_rule
def test_frozen_parameters_stay(rule):
    network = net()
    network[0].requires_grad_(False)
    optimizer = made(rule, network)
    trained(optimizer, network, range(2))
    assert same(network[0], net()[0])
    assert not same(network[2], net()[2])
    network[2].bias.requires_grad_(False)  # from now on
    before = network[2].bias.clone()
    trained(optimizer, network, range(2, 3))
    assert torch.equal(network[2].bias, before)


class Habits(nn.Module):
    """A network with dropout, running statistics and a parameter that the loss does not reach."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.idle = nn.Parameter(torch.ones(2))

    def forward(self, inputs):
        return self.last(nn.functional.dropout(self.norm(self.first(inputs)), 0.5, self.training))


@pytest.mark.parametrize("rule", ["hessian_free", "hessian_free_lm", "lbfgs"])
def test_evaluations_of_a_step_share_draws_and_count_once(rule):
    network, calls = Habits(), []
    optimizer = made(rule, network)
    network.register_forward_hook(lambda module, given, outputs: calls.append(outputs.detach().clone()))
    torch.manual_seed(3)
    for step in range(3):
        trained(optimizer, network, range(step, step + 1))
        assert network.norm.num_batches_tracked == step + 1
    assert torch.equal(network.idle, torch.ones(2))
    if rule == "hessian_free":
        assert len(calls) == 3  # one evaluation a step
    drawn = torch.rand(1)
    torch.manual_seed(3)
    for step in range(3):
        network(data(step)[0])
    assert torch.equal(torch.rand(1), drawn)  # as if each step had called the network once


class Twice(nn.Module):
    """A network that calls one layer twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, inputs):
        return self.layer(self.layer(inputs).tanh())


LAYERS = {
    "batch normalisation": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)),
        r"cannot factor the curvature of 1 \(BatchNorm1d\); it knows Linear, Conv2d .*use hessian_free",
    ),
    "called twice": (Twice, r"layer \(Linear\) is called twice in a pass, and curvature by layers .*use hessian_free"),
    "recurrent": (
        lambda: nn.Sequential(nn.GRU(4, 3, batch_first=True), Last()),
        r"0 \(GRU\) does not map a tensor to a tensor, .*use hessian_free or a first-order rule",
    ),
}


class Last(nn.Module):
    """The last output of a recurrent layer."""

    def forward(self, given):
        return given[0]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_kfac_cannot_take_are_named(name):
    make, message = LAYERS[name]
    network = make()
    optimizer = made("kfac", network)

    def closure():
        outputs = network(data(0)[0])
        return outputs, outputs.square().mean()

    with pytest.raises(UsageError, match=message):
        optimizer.step(closure)


def test_types_of_parameters_that_mlhf_has_not_learned_are_named():
    network = nn.Sequential(nn.Linear(4, 3), Scale())
    with pytest.raises(UsageError, match="mlhf has no networks for norm_scale, which the fitted network has"):
        trained(made("mlhf", network), network, range(1))


@pytest.mark.parametrize("rule", ["kfac", "hessian_free", "mlhf"])
def test_convolutions_are_trained(rule):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(3, 3))
    losses = trained(made(rule, network), network, range(8))
    assert losses[-1] < losses[0]


class Scale(nn.Module):
    """A factor, as normalisations have one."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, inputs):
        return self.scale * inputs


CLOSURES = {
    "a loss alone": (lambda net, x, y: net(x).sum(), r"it returns a tensor \(\)"),
    "nothing": (lambda net, x, y: None, "it returns a NoneType"),
    "losses of examples": (lambda net, x, y: (net(x), net(x).sum(1)), r"a tensor \(10, 3\) and a tensor \(10,\)"),
    "another loss": (lambda net, x, y: (net(x), net(x).sum()), "must be computed from the outputs"),
    "a penalty": (
        lambda net, x, y: (lambda out: (out, out.square().mean() + net[0].weight.square().sum()))(net(x)),
        "depends on parameters other than through the outputs, as a penalty",
    ),
}


@pytest.mark.parametrize("name", CLOSURES)
def test_a_closure_must_return_outputs_and_their_loss(name):
    make, message = CLOSURES[name]
    network = net()
    with pytest.raises(UsageError, match=message):
        made("hessian_free", network).step(lambda: make(network, *data(0)))
    assert same(network, net())


def test_what_else_is_refused_says_what_to_do():
    with pytest.raises(UsageError, match=r"needs curvature, and so the network itself: load_optimizer\('kfac', net"):
        load_optimizer("kfac", net().parameters())
    optimizer = made("kfac", net())
    with pytest.raises(UsageError, match="give step a closure that returns outputs and loss"):
        optimizer.step()
    with pytest.raises(UsageError, match="has one group of parameters"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    with pytest.raises(UsageError, match=r"0.weight is neither: use .float\(\)"):
        made("kfac", net(torch.bfloat16))
    with pytest.raises(UsageError, match="has no parameters to fit"):
        made("kfac", net().requires_grad_(False))


# --- Sources ----------------------------------------------------------------------------------------------------------


SOURCES = {
    "nobody": "'nobody' is neither a run's folder, nor an exported run, nor a rule that comes with l2l",
    "addam": "did you mean 'adam'",
    "mlhf": "mlhf is a learned rule, and its weights are those of a run: `l2l meta-train learner=mlhf task=…`",
    "lstm": "lstm is a LSTM, which has no update rule for a network's parameters",
    "logistic_regression": "which has no update rule",
    "torch_optim": "which has no update rule",
    "outputs/gone": "there is no run folder outputs/gone",
    "gone.safetensors": "there is no file gone.safetensors",
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_that_is_no_rule_is_named(source):
    with pytest.raises(UsageError, match=SOURCES[source]):
        load_optimizer(source, net())


def test_numbers_of_a_rule_can_be_set():
    assert made("kfac", net(), damping=0.5).rule.damping == 0.5
    assert made("mlhf", net(), iterations=3).rule.iterations == 3
    with pytest.raises(UsageError, match="has no such argument"):
        made("kfac", net(), dampin=0.5)
    with pytest.raises(UsageError, match="damping must be above 0"):
        made("kfac", net(), damping=-1.0)
