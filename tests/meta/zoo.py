"""Classes as users write them: right ones, and each mistake that the contracts refuse."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch, Spec, Split
from l2l_cli.learners.base import Learner
from l2l_cli.meta.backprop import Backprop
from l2l_cli.models.model import Model, gaussian
from l2l_cli.optimizers.base import FirstOrder
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.tasks.base import Episode, Task, mean_squared_error

# --- Tasks ------------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers) if layers else nn.Linear(3, 1)

    def forward(self, inputs):
        return self.layers(inputs)


class Data(Episode):
    """Noisy linear functions, new at each step."""

    def __init__(self, episodes, seed, phase):
        self.episodes, self.labels = episodes, (seed, "fit", phase)
        self.weight = normal((episodes, 3, 1), generator(*self.labels))

    def batch(self, step, split=Split.TRAIN):
        inputs = normal((self.episodes, 4, 3), generator(*self.labels, step, split))
        return Batch(inputs, inputs @ self.weight)


class Fit(Task):
    """A task that does all it owes; the others inherit from it and do one thing wrong."""

    def __init__(self, horizon: int = 10):
        self.horizon = horizon
        self.spec = Spec(inputs=(3,), targets=(1,), examples=4)
        self.model = Model(self.network(), gaussian(0.3))

    def network(self) -> nn.Module:
        return Net()

    def sample(self, episodes, seed, phase):
        return Data(episodes, seed, phase)

    def loss(self, outputs, targets):
        return mean_squared_error(outputs, targets)


class FixedSet(Fit):
    """One problem for all; θ₀ alone is drawn."""

    def sample(self, episodes, seed, phase):
        inputs = torch.arange(12.0).view(1, 4, 3).expand(episodes, 4, 3) / 12
        return Constant(Batch(inputs, inputs.sum(-1, keepdim=True)))


class Constant(Episode):
    def __init__(self, data):
        self.data = data

    def batch(self, step, split=Split.TRAIN):
        return self.data


class NoSpec(Fit):
    def __init__(self):
        super().__init__()
        del self.spec


class NoHorizon(Fit):
    def __init__(self):
        super().__init__()
        self.horizon = "soon"


class GlobalDraw(Fit):
    def sample(self, episodes, seed, phase):
        inputs = torch.randn(episodes, 4, 3)
        return Constant(Batch(inputs, inputs.sum(-1, keepdim=True)))


class Seeds(Fit):
    def sample(self, episodes, seed, phase):
        torch.manual_seed(seed + len(phase))
        inputs = torch.randn(episodes, 4, 3)
        return Constant(Batch(inputs, inputs.sum(-1, keepdim=True)))


class NumpyDraw(Fit):
    def sample(self, episodes, seed, phase):
        inputs = torch.from_numpy(np.random.rand(episodes, 4, 3)).float()  # noqa: NPY002
        return Constant(Batch(inputs, inputs.sum(-1, keepdim=True)))


class FreshData(Data):
    rng = torch.Generator()

    def batch(self, step, split=Split.TRAIN):
        inputs = torch.randn(self.episodes, 4, 3, generator=self.rng)
        return Batch(inputs, inputs @ self.weight)


class FreshBatches(Fit):
    """Each call of batch(t) draws anew."""

    def sample(self, episodes, seed, phase):
        return FreshData(episodes, seed, phase)


class InOrderData(Data):
    """Right only if it is read from the first step to the last."""

    def __init__(self, *args):
        super().__init__(*args)
        self.rng = generator(*self.labels)

    def batch(self, step, split=Split.TRAIN):
        inputs = normal((self.episodes, 4, 3), self.rng)
        return Batch(inputs, inputs @ self.weight)


class InOrder(Fit):
    def sample(self, episodes, seed, phase):
        return InOrderData(episodes, seed, phase)


class IgnoresPhase(Fit):
    def sample(self, episodes, seed, phase):
        return Data(episodes, seed, "always")


class IgnoresSeed(Fit):
    def sample(self, episodes, seed, phase):
        return Data(episodes, 0, phase)


class ScalarLoss(Fit):
    def loss(self, outputs, targets):
        return (outputs - targets).square().mean()


class MixedLoss(Fit):
    def loss(self, outputs, targets):
        return (outputs - targets).square().mean().expand(len(outputs))


class NumberLoss(Fit):
    def loss(self, outputs, targets):
        return torch.tensor([one.item() for one in mean_squared_error(outputs, targets)])


class FailingLoss(Fit):
    def loss(self, outputs, targets):
        return outputs.squared()


class NanLoss(Fit):
    def loss(self, outputs, targets):
        return (-1.0 - mean_squared_error(outputs, targets)).sqrt()


class ChangesTargets(Fit):
    def loss(self, outputs, targets):
        return targets.sub_(outputs).square().flatten(1).mean(1)


class WrongShape(Fit):
    def __init__(self):
        super().__init__()
        self.spec = Spec(inputs=(3,), targets=(2,), examples=4)


class WrongMetrics(Fit):
    def metrics(self, outputs, targets):
        return {"error": (outputs - targets).abs().mean()}


class ListNet(Net):
    def __init__(self):
        super().__init__()
        self.more = [nn.Linear(1, 1)]

    def forward(self, inputs):
        return self.more[0](self.layers(inputs))


class DictNet(Net):
    def __init__(self):
        super().__init__()
        self.more = {"scale": nn.Parameter(torch.ones(1))}

    def forward(self, inputs):
        return self.more["scale"] * self.layers(inputs)


class NoisyNet(Net):
    def forward(self, inputs):
        return self.layers(inputs) + np.random.rand()  # noqa: NPY002


class Noisy(Fit):
    def network(self):
        return NoisyNet()


class WrongInitializer(Fit):
    def __init__(self):
        super().__init__()
        self.model = Model(Net(), lambda name, shape, rng: torch.randn(shape))


class OtherBatches(Fit):
    def sample(self, episodes, seed, phase):
        return OtherStacked(episodes, seed, phase)


class OtherStacked(Data):
    def batches(self, start, stop, split=Split.TRAIN):
        return super().batches(start + 1, stop + 1, split)


GOOD_TASKS: dict[str, Any] = {
    "fit": Fit,
    "fixed_set": FixedSet,
    "mlp": lambda: _with(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))),
    "module_list": lambda: _with(Net(*nn.ModuleList([nn.Linear(3, 2), nn.Linear(2, 1)]))),
}

BAD_TASKS: dict[Any, str] = {
    NoSpec: "has no `spec`",
    NoHorizon: "has a str for `horizon`",
    GlobalDraw: "draws from torch's global generator: randn at",
    Seeds: "seeds torch's global generator",
    NumpyDraw: "draws from a global generator, of torch, NumPy or Python",
    FreshBatches: "returns something else when it is called again",
    InOrder: "step 2 differs when it is read again",
    IgnoresPhase: "ignores `phase`",
    IgnoresSeed: "ignores `seed`",
    ScalarLoss: "returns shape () for outputs of 2 episodes",
    MixedLoss: "mixes episodes",
    NumberLoss: "does not depend on the outputs in a differentiable way",
    FailingLoss: "AttributeError: 'Tensor' object has no attribute 'squared'",
    NanLoss: "it must be finite",
    ChangesTargets: "changes its arguments in place",
    WrongShape: "gives targets of shape (2, 4, 1), but spec says (2, 4, 2)",
    WrongMetrics: "does not return tensors (episodes,) by name",
    Noisy: "draws from a global generator",
    WrongInitializer: "draws from torch's global generator: randn at",
    OtherBatches: "gives other inputs and targets at step 0 than batch(0)",
}


def _with(network: nn.Module) -> Fit:
    task = Fit()
    task.model = Model(network, gaussian(0.3))
    return task


# --- Rules ------------------------------------------------------------------------------------------------------------


class Empty(NamedTuple):
    pass


class Gated(FirstOrder[Empty]):
    """A learned rule that does all it owes."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(1, 4), nn.Linear(4, 1)

    def init(self, params):
        return Empty()

    def network(self, grad):
        return self.outer(torch.tanh(self.inner(grad)))

    def move(self, grad):
        return -0.1 * self.network(grad.unsqueeze(-1)).squeeze(-1)

    def update(self, grad, memory):
        return {name: self.move(value) for name, value in grad.items()}, memory


class ZeroHead(Gated):
    """The layers below a head that starts at zero have no gradient at first."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.outer.weight)


class Frozen(Gated):
    def __init__(self):
        super().__init__()
        self.inner.requires_grad_(False)


class Dropping(Gated):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def network(self, grad):
        return self.outer(self.dropout(torch.tanh(self.inner(grad))))


class Double(Gated):
    def __init__(self):
        super().__init__()
        self.double()

    def move(self, grad):
        return super().move(grad.double()).to(grad.dtype)


class Buffered(Gated):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.rand(1))

    def move(self, grad):
        return self.scale * super().move(grad)


class Listed(Gated):
    def __init__(self):
        super().__init__()
        cells = nn.ModuleList([nn.Linear(1, 1)])
        self.cells = [cells[0], cells[0]]

    def move(self, grad):
        return super().move(self.cells[0](grad.unsqueeze(-1)).squeeze(-1))


class Enclosed(Gated):
    def __init__(self):
        super().__init__()
        cell = nn.Linear(1, 1)
        self.before = lambda grad: cell(grad)

    def move(self, grad):
        return super().move(self.before(grad.unsqueeze(-1)).squeeze(-1))


class PlainTensor(Gated):
    def __init__(self):
        super().__init__()
        self.rate = torch.ones(1, requires_grad=True)

    def move(self, grad):
        return self.rate * super().move(grad)


class Lazy(Gated):
    def __init__(self):
        super().__init__()
        self.inner = nn.LazyLinear(4)


class Detached(Gated):
    def move(self, grad):
        return super().move(grad).detach()


class HalfDetached(Gated):
    def network(self, grad):
        return self.outer(torch.tanh(self.inner(grad)).detach())


class Rate(Gated):
    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.1))


class ItemRate(Rate):
    def move(self, grad):
        return self.rate.item() * super().move(grad)


class DataRate(Rate):
    def move(self, grad):
        return self.rate.data * super().move(grad)


class FloatRate(Rate):
    def move(self, grad):
        return float(self.rate) * super().move(grad)


class Forgotten(Rate):
    """A parameter that nothing uses."""


class Signs(Gated):
    def move(self, grad):
        return 0.1 * super().move(grad).sign()


class NoGrad(Gated):
    @torch.no_grad()
    def move(self, grad):
        return super().move(grad)


class Forgetful(Gated):
    def update(self, grad, memory):
        return {}, memory


class WrongMove(Gated):
    def move(self, grad):
        return super().move(grad).sum()


class DoubleMove(Gated):
    def move(self, grad):
        return super().move(grad).double()


class NanMove(Gated):
    def move(self, grad):
        return super().move(grad) / (grad - grad)


class AloneMove(Gated):
    def update(self, grad, memory):
        return {name: self.move(value) for name, value in grad.items()}


class GlobalNoise(Gated):
    def move(self, grad):
        return super().move(grad) + 0.01 * torch.randn_like(grad)


class MeanOfAll(Gated):
    def move(self, grad):
        return super().move(grad / grad.abs().mean())


class Momentum(NamedTuple):
    velocity: dict[str, torch.Tensor]
    steps: Any


class WithMemory(Gated):
    def init(self, params):
        return Momentum({name: torch.zeros_like(value) for name, value in params.items()}, torch.zeros(()))

    def update(self, grad, memory):
        velocity = {name: 0.5 * memory.velocity[name] + self.move(value) for name, value in grad.items()}
        return velocity, Momentum(velocity, memory.steps + 1)


class InPlace(WithMemory):
    def update(self, grad, memory):
        velocity = {name: memory.velocity[name].mul_(0.5) + self.move(value) for name, value in grad.items()}
        return velocity, Momentum(velocity, memory.steps + 1)


class PythonCount(WithMemory):
    def init(self, params):
        return super().init(params)._replace(steps=0)


class ListMemory(WithMemory):
    def init(self, params):
        return [torch.zeros(())]

    def update(self, grad, memory):
        return {name: self.move(value) for name, value in grad.items()}, memory


class NoisyStart(WithMemory):
    def init(self, params):
        return Momentum({name: torch.randn_like(value) for name, value in params.items()}, torch.zeros(()))


class OnSelf(Gated):
    def __init__(self):
        super().__init__()
        self.seen = 0

    def update(self, grad, memory):
        self.seen += 1
        return super().update(grad, memory)


class LeakingBuffer(Gated):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def update(self, grad, memory):
        self.mean.mul_(0.9).add_(0.1)
        return super().update(grad, memory)


class LeakingNorm(Gated):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def network(self, grad):
        hidden = torch.tanh(self.inner(grad))
        return self.outer(self.norm(hidden.flatten(0, -2)).view_as(hidden))


class Unseeded(Gated):
    """Keeps what nobody can draw again, and saves it nowhere."""

    def __init__(self):
        super().__init__()
        self.scale = np.random.default_rng().random()

    def move(self, grad):
        return self.scale * super().move(grad)


class NoisyEstimator(Backprop):
    def estimate(self, learner, progress, done):
        progress, estimate = super().estimate(learner, progress, done)
        grad = {name: value + torch.randn(value.shape) for name, value in estimate.grad.items()}
        return progress, estimate._replace(grad=grad)


class Caches(Gated):
    @cached_property
    def scale(self):
        return torch.tensor(0.5)

    def move(self, grad):
        return self.scale * super().move(grad)


class TrainsItself(Rate):
    """Moves φ within an episode."""

    def move(self, grad):
        self.rate.data.mul_(0.9)
        return self.rate * super().move(grad)


class HalfLSTM(CoordinatewiseLSTM):
    """Moves half as far as the rule whose compiled steps it inherits."""

    def __init__(self):
        super().__init__(hidden=3)

    def update(self, grad, memory):
        displacement, memory = super().update(grad, memory)
        return {name: 0.5 * value for name, value in displacement.items()}, memory


GOOD_RULES: list[Any] = [Gated, ZeroHead, Frozen, Dropping, Double, Buffered, WithMemory, HalfLSTM, Caches]

BAD_RULES: dict[Any, str] = {
    Listed: "keeps a module in self.cells[0]",
    Enclosed: "keeps a module in self.before['cell']",
    PlainTensor: "keeps a tensor with requires_grad in self.rate",
    Lazy: "has no shape for rule.inner.weight yet",
    Detached: "no meta-gradient for any φ in 6 steps; remove detach at",
    HalfDetached: "no meta-gradient for inner.weight, inner.bias in 6 steps; remove detach at",
    ItemRate: "no meta-gradient for rate in 6 steps; remove item at",
    DataRate: "no meta-gradient for rate in 6 steps; remove data at",
    FloatRate: "no meta-gradient for rate in 6 steps; remove float at",
    Forgotten: "no meta-gradient for rate in 6 steps; let the updates of θ or the answers",
    NoGrad: "no meta-gradient for any φ",
    Signs: "zero everywhere, as after sign",
    Forgetful: "returns no displacement layers.bias",
    WrongMove: "returns () for layers.weight",
    DoubleMove: "returns torch.float64 for layers.weight",
    NanMove: "is not finite at the first step",
    AloneMove: "does not return (displacement by name, memory)",
    GlobalNoise: "draws from torch's global generator: randn_like at",
    MeanOfAll: "mixes episodes",
    InPlace: "changes its arguments in place",
    PythonCount: "a Python number",
    ListMemory: "cannot be saved",
    NoisyStart: "draws from torch's global generator: randn_like at",
    OnSelf: "changes self.rule.seen",
    LeakingBuffer: "changes self.rule.mean, which leaks from one episode into the next",
    TrainsItself: "changes self.rule.rate",
    LeakingNorm: "use track_running_stats=False",
}


# --- Learners ---------------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    sums: torch.Tensor


class Averages(Learner[Seen]):
    """Answers with a learned share of the mean target so far."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.share = nn.Parameter(torch.tensor(0.5))

    def init(self, episodes, rng):
        return Seen(torch.zeros(episodes, 1, 1))

    def predict(self, state, inputs):
        return (self.share * state.sums).expand(*inputs.shape[:2], 1)

    def step(self, state, batch):
        answer = self.predict(state, batch.inputs)
        return Seen(0.5 * state.sums + batch.targets.mean(1, keepdim=True)), answer


class Peeks(Averages):
    def step(self, state, batch):
        state, _ = super().step(state, batch)
        return state, self.predict(state, batch.inputs)


class Remembers(Averages):
    def step(self, state, batch):
        state, answer = super().step(state, batch)
        self.last = state
        return state, answer


class AnswersOnce(Averages):
    def predict(self, state, inputs):
        return (self.share * state.sums)[:, 0]


class OtherUnroll(Averages):
    def unroll(self, state, batches):
        state, answers = super().unroll(state, batches)
        return state, answers + 1


class Mixes(Averages):
    def step(self, state, batch):
        state, answer = super().step(state, batch)
        return Seen(state.sums - state.sums.mean(0)), answer


class OtherLosses(Averages):
    def losses(self, state, batches):
        state, losses = super().losses(state, batches)
        return state, losses + 1


BAD_LEARNERS: dict[Any, str] = {
    Peeks: "gives another answer when only the targets of the same step differ",
    Remembers: "changes self.last",
    AnswersOnce: "answers (2, 1) for 2 episodes of 4 examples",
    OtherUnroll: "gives other answers than the loop over step",
    OtherLosses: "gives other losses than the loop over step",
    Mixes: "mixes episodes",
}
