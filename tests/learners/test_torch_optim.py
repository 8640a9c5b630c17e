"""Classes of torch.optim.Optimizer as learners do what a plain loop of torch's does, and refuse what they cannot do."""

from __future__ import annotations

import copy
import importlib
import math

import numpy as np
import pytest
import torch
from torch import nn

from l2l_cli.config.build import Builder, build, changed
from l2l_cli.config.compose import compose
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Batch, Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.torch_optim import TorchOptim
from l2l_cli.models.model import Model
from l2l_cli.runs.building import build_learner, build_task
from l2l_cli.runs.tuning import tunable
from l2l_cli.tasks.functions import SemiLinear
from l2l_cli.tasks.halfplanes import Halfplanes
from l2l_cli.tasks.quadratic import Quadratic
from l2l_cli.testing import check_learner
from tests.cases import OF_CLASSES
from tests.configured import missing_package

E, T = 2, 12
TARGET = "l2l_cli.learners.torch_optim.TorchOptim"

SAME = {
    "torch.optim.SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "torch.optim.AdamW": {"lr": 0.05, "beta1": 0.8, "weight_decay": 0.3},
    "torch.optim.Adagrad": {"lr": 0.3},
    "torch.optim.ASGD": {"lr": 0.1, "t0": 3},
    "torch.optim.Rprop": {"lr": 0.01},
    "torch.optim.LBFGS": {"lr": 0.5, "max_iter": 3, "history_size": 4},
    "torch.optim.Muon": {"lr": 0.02},
    "schedulefree.AdamWScheduleFree": {"lr": 0.1, "beta1": 0.8},
    "pytorch_optimizer.SOAP": {"lr": 0.05, "precondition_frequency": 2},
    "pytorch_optimizer.Lion": {"lr": 0.01, "weight_decay": 0.1},
}
"""Options by class; those with a beta1 have 0.999 for a second."""


def task():
    return SemiLinear(hidden=3, length=T)


def found(name):
    module, _, kind = name.rpartition(".")
    return getattr(pytest.importorskip(module), kind)


def learner_of(name, options=None, given=None, **more):
    found(name)
    node = {"_target_": TARGET, "optimizer": name, "options": options or {}, **more}
    return build(node, "learner", task=given or task())


def optimizers_of(name, options, params):
    """As torch's documentation makes them."""
    options = dict(options)
    if "beta1" in options:
        options["betas"] = (options.pop("beta1"), 0.999)
    if name != "torch.optim.Muon":
        return [found(name)(params, **options)]
    rest = torch.optim.AdamW([one for one in params if one.dim() != 2], lr=options["lr"])
    return [rest, found(name)([one for one in params if one.dim() == 2], **options)]


def switch(optimizers, mode):
    for one in optimizers:
        getattr(one, mode, lambda: None)()


def plain(name, options, task, start, batches, episode):
    """Answers and the closure's calls of a loop as torch's documentation writes it, for one episode."""
    network = copy.deepcopy(task.model.module)
    for key, value in network.named_parameters():
        value.data = start[key][episode].clone()
    optimizers, answers, calls = optimizers_of(name, options, list(network.parameters())), [], 0
    for step in range(batches.steps):
        inputs, targets = batches.inputs[step, episode], batches.targets[step, episode]

        def closure(inputs=inputs, targets=targets):
            nonlocal calls
            calls += 1
            network.zero_grad()
            loss = task.loss(network(inputs)[None], targets[None])[0]
            loss.backward()
            return loss

        with torch.no_grad():
            answers.append(network(inputs))
        switch(optimizers, "train")
        if len(optimizers) > 1:
            closure()
        for one in optimizers:
            one.step(*[closure][: len(optimizers) == 1])
        switch(optimizers, "eval")
    return torch.stack(answers), calls


@pytest.mark.parametrize("name", SAME)
def test_it_is_a_plain_loop_of_torch(name, double):
    given, options = task(), SAME[name]
    # One network after the other: Muon computes with 8 bits, and doubles what is rounded otherwise side by side.
    given = given.with_model(Model(given.model.module, given.model.initializer, in_turn=name.endswith("Muon")))
    others = {"others": "torch.optim.AdamW"} if name.endswith("Muon") else {}
    learner = learner_of(name, options, given, **others)
    batches = given.sample(E, 3, Phase.META_TRAIN).batches(0, T)
    state = start = learner.init(E, generator(0))
    answers = []
    for first in (0, 5):  # packed and unpacked between the two windows
        state, part = learner.follow(
            state, lambda step, first=first: batches.at(first + step), 5 if not first else T - 5
        )
        answers.append(part)
    answers = torch.cat(answers)
    for episode in range(E):
        expected, calls = plain(name, options, given, start.params, batches, episode)
        torch.testing.assert_close(answers[:, episode], expected, rtol=1e-9, atol=1e-10)
        extra = calls - T if name.endswith("LBFGS") else 0
        assert learner.extra_evaluations(state)[episode] == extra
        assert not name.endswith("LBFGS") or extra > T
    assert int(state.steps) == T


@pytest.mark.parametrize("name", ["torch.optim.Adam", "torch.optim.LBFGS", "schedulefree.AdamWScheduleFree"])
def test_it_keeps_the_contract_also_where_targets_are_hidden(name):
    check_learner(learner_of(name, {} if name != "torch.optim.LBFGS" else {"max_iter": 3}))
    check_learner(learner_of(name, given=Halfplanes(dimension=2, samples=12, hidden=[3], interleaved=True)))


def test_an_answer_is_by_the_parameters_of_eval_and_learning_at_those_of_train():
    given = Quadratic(dimension=3, horizon=T)
    learner = learner_of("schedulefree.SGDScheduleFree", {"lr": 0.1, "momentum": 0.5}, given)
    batch = given.sample(1, 0, Phase.META_TRAIN).batch(0)
    state = learner.init(1, generator(0))
    x = z = state.params["theta"]
    for step in range(4):
        y = 0.5 * z + 0.5 * x
        y = y.clone().requires_grad_()
        (grad,) = torch.autograd.grad(given.loss(given.model({"theta": y}, batch.inputs), batch.targets).sum(), y)
        state, answer = learner.step(state, batch)
        torch.testing.assert_close(answer, given.model({"theta": x}, batch.inputs))
        z = z - 0.1 * grad
        x = x + (z - x) / (step + 1)
    torch.testing.assert_close(state.params["theta"], x)
    torch.testing.assert_close(learner.predict(state, batch.inputs), given.model({"theta": x}, batch.inputs))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_schedule_lowers_the_rate_to_zero_over_the_horizon(schedule):
    given = Quadratic(dimension=3, horizon=4)
    learner = learner_of("torch.optim.SGD", {"lr": 0.1}, given, schedule=schedule)
    batch = given.sample(1, 0, Phase.META_TRAIN).batch(0)
    state = learner.init(1, generator(0))
    theta = state.params["theta"]
    for step in range(6):
        share = min(1.0, step / 4)
        factor = 0.5 * (1.0 + math.cos(math.pi * share)) if schedule == "cosine" else 1.0 - share
        at = theta.clone().requires_grad_()
        (grad,) = torch.autograd.grad(given.loss(given.model({"theta": at}, batch.inputs), batch.targets).sum(), at)
        theta = theta - 0.1 * factor * grad
        state, _ = learner.step(state, batch)
        torch.testing.assert_close(state.params["theta"], theta)


class Odd(nn.Module):
    """Frozen parts, a buffer, whole numbers of a branch in Python, which vmap refuses, and a parameter without use."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(10, 4).requires_grad_(False)
        self.out = nn.Linear(4, 1)
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, inputs):
        self.seen += 1
        hidden = self.frozen(inputs)
        return (self.out(hidden) if hidden.mean().item() > 0 else self.out(-hidden)).sum(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_network_is_fitted_and_a_parameter_out_of_reach_is_left_alone(dtype):
    given = Quadratic()
    given = given.with_model(Model(Odd().to(dtype)))
    learner = learner_of("torch.optim.AdamW", {"lr": 0.1, "weight_decay": 0.5}, given)
    state = learner.init(E, generator(0))
    after, answers = learner.unroll(state, given.sample(E, 0, Phase.META_TRAIN).batches(0, 3))
    assert set(after.params) == {"out.weight", "out.bias", "unused"}
    assert answers.dtype == dtype
    assert after.params["out.weight"].dtype == dtype
    assert not torch.equal(after.params["out.weight"], state.params["out.weight"])
    assert torch.equal(after.params["unused"], state.params["unused"])  # torch's loop has no gradient of it either


class NoClosure(torch.optim.Optimizer):
    """A class of the user's whose step takes nothing, which keeps a number on itself and one in its groups."""

    def __init__(self, params, lr, slow=2):
        super().__init__(params, {"lr": lr, "k": 0})
        self.slow, self.count, self.slower = slow, 0, lambda count: count + 1

    def step(self):
        self.count = self.slower(self.count)
        for group in self.param_groups:
            group["k"] += 1
            for value in group["params"]:
                value.data = value.data - group["lr"] * value.grad / (self.count + group["k"]) ** self.slow


class Sharp(torch.optim.Optimizer):
    """Sharpness-aware: the gradient at a place uphill moves the parameters (Foret et al. 2021)."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure):
        (value,) = self.param_groups[0]["params"]
        start = value.clone()
        value.add_(value.grad)
        with torch.enable_grad():
            self.last = closure()
        value.copy_(start - 0.1 * value.grad)


class Langevin(torch.optim.Optimizer):
    """It draws at random."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        for value in self.param_groups[0]["params"]:
            value.add_(value.grad + torch.randn_like(value) + np.random.rand(), alpha=-0.1)  # noqa: NPY002


class Breaks(NoClosure):
    """It fails once it has something that is not finite, or at once."""

    def step(self):
        if self.slow or not all(value.grad.isfinite().all() for value in self.param_groups[0]["params"]):
            raise ArithmeticError("no eigenvalues")
        super().step()


def test_what_a_class_keeps_on_itself_and_in_its_groups_goes_from_window_to_window():
    given = Quadratic(dimension=2, horizon=T)
    learner = learner_of(f"{__name__}.NoClosure", {"lr": 0.1}, given)
    batches = given.sample(E, 0, Phase.META_TRAIN).batches(0, 4)
    whole, state = learner.unroll(learner.init(E, generator(0)), batches)[0], learner.init(E, generator(0))
    for step in range(4):
        state, _ = learner.step(state, batches.at(step))
    assert torch.equal(whole.params["theta"], state.params["theta"])
    with pytest.raises(UsageError, match=r"learner\.options: NoClosure needs lr; give it, as in learner\.options\.lr="):
        learner_of(f"{__name__}.NoClosure", {}, given)


def test_a_look_at_another_place_is_on_the_episodes_own_batch_and_counts():
    given = Quadratic(dimension=2, horizon=T)
    learner = learner_of(f"{__name__}.Sharp", {}, given)
    batch = given.sample(E, 0, Phase.META_TRAIN).batch(0)
    state = learner.init(E, generator(0))
    after, _ = learner.step(state, batch)

    def gradient(at):
        at = at.clone().requires_grad_()
        return torch.autograd.grad(given.loss(given.model({"theta": at}, batch.inputs), batch.targets).sum(), at)[0]

    theta = state.params["theta"]
    torch.testing.assert_close(after.params["theta"], theta - 0.1 * gradient(theta + gradient(theta)))
    assert learner.extra_evaluations(after).tolist() == [1.0] * E


def test_what_a_class_draws_is_a_function_of_the_seed_and_other_in_each_step_and_episode():
    given = Quadratic(dimension=2, horizon=T)
    learner = learner_of(f"{__name__}.Langevin", {}, given)
    check_learner(learner)
    one, again, other = (score(learner, 2, 5, seed, Phase.TUNE).losses for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    state = learner.init(E, generator(0))
    moves = []
    for _ in range(2):
        flat = Batch(torch.zeros(E, 2, 2), torch.zeros(E, 2))
        after, _ = learner.step(state, flat)
        moves += (after.params["theta"] - state.params["theta"]).tolist()
        state = after
    assert len({tuple(move) for move in moves}) == 2 * E


def test_a_class_that_fails_at_finite_numbers_is_refused_and_at_others_the_episode_is_lost():
    given = Quadratic(dimension=2, horizon=T)
    with pytest.raises(UsageError, match="Breaks fails in its step: ArithmeticError: no eigenvalues"):
        score(learner_of(f"{__name__}.Breaks", {"lr": 0.1}, given), 1, 2, 0, Phase.TUNE)
    lost = score(learner_of(f"{__name__}.Breaks", {"lr": 1e30, "slow": 0}, given), 2, T, 0, Phase.TUNE)
    assert not lost.losses[-1].isfinite().any()


REFUSED = {
    "torch.optim.Nadam": r"torch\.optim has no class 'Nadam'; did you mean 'NAdam'\?",
    "torch.nn.Linear": r"torch\.nn\.Linear is not a subclass of Optimizer",
    "Adam": r"learner\.optimizer must be package\.module\.Class, not 'Adam'",
    "torch.optim.Muon": r"Muon only supports 2D.*\[10\]\)$",
    "nowhere.At": r"learner\.optimizer: there is no module 'nowhere'",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_class_that_cannot_be_used_is_refused_in_one_line(name):
    with pytest.raises(UsageError, match=REFUSED[name]) as refused:
        build({"_target_": TARGET, "optimizer": name}, "learner", task=Quadratic())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "torch.optim.Adam",
            {"eps": 1e-8, "etas": 1},
            r"learner\.options\.etas: Adam has no such option; did you mean",
        ),
        ("torch.optim.Adam", {"lr": -1.0}, "Adam refuses the options.*Invalid learning rate: -1.0$"),
        ("torch.optim.Adam", {"beta3": 0.9}, "Adam has 2 betas"),
        ("torch.optim.SGD", {"beta1": 0.9}, r"learner\.options\.beta1: SGD has no such option"),
        ("pytorch_optimizer.Lion", {"lr": 0.1, "decay": 1}, r"learner\.options\.decay: Lion has no such option"),
    ],
)
def test_an_option_that_a_class_does_not_have_is_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        learner_of(name, options)


def test_others_take_what_is_no_matrix_at_the_same_rate_and_need_matrices_beside_them():
    learner = learner_of("torch.optim.Muon", {"lr": 0.02}, others="torch.optim.SGD", others_options={"momentum": 0.5})
    fit = learner._new({name: value[0] for name, value in learner.task.model.init(1, generator(0)).items()})
    muon, sgd = (one.param_groups[0] for one in fit.optimizers)
    assert {value.dim() for value in muon["params"]} == {2}
    assert {value.dim() for value in sgd["params"]} == {1}
    assert (sgd["lr"], sgd["momentum"]) == (0.02, 0.5)
    with pytest.raises(UsageError, match="Muon is to move the matrices, but the network of Quadratic has none"):
        learner_of("torch.optim.Muon", {"lr": 0.02}, Quadratic(), others="torch.optim.SGD")
    with pytest.raises(
        UsageError, match=r"2D.*; it takes only matrices, and learner\.others=torch\.optim\.AdamW takes"
    ):
        learner_of("torch.optim.Muon", {"lr": 0.02})
    with pytest.raises(UsageError, match="others_options need a class in others"):
        learner_of("torch.optim.SGD", {"lr": 0.02}, others_options={"lr": 0.1})


def test_a_saved_configuration_needs_trust_for_any_class_but_those_of_torch_optim():
    node = {"_target_": TARGET, "optimizer": f"{__name__}.NoClosure", "options": {"lr": 0.1}}
    with pytest.raises(UsageError, match=r"the saved learner names tests.*pass --trust tests"):
        Builder([])(node, "learner", task=Quadratic())
    assert Builder(["tests"])(node, "learner", task=Quadratic())
    assert Builder([])({"_target_": TARGET, "optimizer": "torch.optim.Adam"}, "learner", task=Quadratic())
    with pytest.raises(UsageError, match=r"the saved learner names torch\.jit\.ScriptModule"):
        Builder([])({**node, "optimizer": "torch.jit.ScriptModule"}, "learner", task=Quadratic())
    with pytest.raises(UsageError, match=r"the saved learner names torch\.optim\.SGD"):
        Builder([])({"_target_": "torch.optim.SGD", "lr": 0.1}, "learner")
    with pytest.raises(UsageError, match="the saved learner names tests"):
        Builder([])({**node, "optimizer": "torch.optim.SGD", "others": f"{__name__}.NoClosure"}, "learner", task=task())


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(monkeypatch):
    known = importlib.import_module

    def without(name, package=None):
        if name.startswith("schedulefree"):
            raise ModuleNotFoundError(name="schedulefree")
        return known(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(
        UsageError, match=r"schedulefree is not installed; get it by pip install 'l2l-cli\[optimizers\]'"
    ):
        build({"_target_": TARGET, "optimizer": "schedulefree.Any"}, "learner.x", task=task())


def test_a_class_is_made_once_for_each_episode_and_shown_its_own_batch_alone():
    given = Quadratic(dimension=2, horizon=T)
    learner = TorchOptim(given, torch.optim.SGD, {"lr": 0.1})
    batch = given.sample(E, 0, Phase.META_TRAIN).batch(0)
    start = learner.init(E, generator(0))
    shown = Batch(*batch[:2], torch.tensor([0.0, 1.0]))
    after, _ = learner.step(start, shown)
    assert torch.equal(after.params["theta"][0], start.params["theta"][0])
    assert not torch.equal(after.params["theta"][1], start.params["theta"][1])


@pytest.mark.slow
@pytest.mark.parametrize("tune", ["standard", "all"])
@pytest.mark.parametrize("name", ["adamw", *OF_CLASSES])
def test_every_preset_is_tuned_by_options_that_its_class_has(name, tune):
    if missing := missing_package(name):
        pytest.skip(f"{missing} is not installed")
    settings = compose("compare", ["task=digits", f"learner={name}", f"tune={tune}"])
    points, made = tunable(settings), build_task(settings)
    assert len(points) >= {"standard": 8, "all": 16}[tune]
    for point in points[:2]:
        changes = {key.removeprefix("learner."): value for key, value in point.items()}
        build_learner(settings, made, node=changed(settings.learner, changes, "learner"))
