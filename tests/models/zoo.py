"""Networks as users write them, each of which asks for something that a multi-layer perceptron does not."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch, Spec, Split
from l2l_cli.models.model import Initializer, Model, gaussian
from l2l_cli.tasks.base import Episode, Regression

N, D = 4, 3


class Drawn(Episode):
    """Inputs and targets that a step draws anew."""

    def __init__(self, episodes, seed, words):
        self.episodes, self.seed, self.words = episodes, seed, words

    def batch(self, step, split=Split.TRAIN):
        rng = generator(self.seed, step, split)
        inputs, targets = (normal((self.episodes, N, width), rng) for width in (D, 2))
        return Batch((inputs > 0).long() if self.words else inputs, targets)


class Own(Regression):
    """A user's task with a network of his."""

    def __init__(self, module: nn.Module, initializer: Initializer | None = None, **options):
        self.model, self.horizon = Model(module, initializer, **options), 4
        self.words = any(isinstance(part, (nn.Embedding, nn.EmbeddingBag)) for part in module.modules())
        self.spec = Spec((D,), (2,), N)

    def sample(self, episodes, seed, phase):
        return Drawn(episodes, seed, self.words)


class Function(nn.Module):
    """Layers, and what is done with them."""

    def __init__(self, forward: Callable[[nn.Module, torch.Tensor], torch.Tensor], **layers: nn.Module):
        super().__init__()
        self.compute = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, inputs):
        return self.compute(self, inputs)


def mlp():
    return nn.Sequential(nn.Linear(D, 3), nn.Tanh(), nn.Linear(3, 2))


def frozen(module, *names):
    for name in names:
        module.get_submodule(name).requires_grad_(False)
    return module


def half_backbone():
    back = nn.Linear(D, 3).bfloat16().requires_grad_(False)
    return Function(lambda self, x: self.head(self.back(x.bfloat16()).float()), back=back, head=nn.Linear(3, 2))


class Buffers(nn.Module):
    """Counts its calls in a buffer in place, in one by assignment, in an attribute, and in one that it makes."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(D, 2)
        self.register_buffer("inside", torch.zeros(()))
        self.register_buffer("assigned", torch.zeros(()))
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        self.inside += 1
        self.assigned = self.assigned + 1
        if "late" not in self._buffers:
            self.register_buffer("late", torch.zeros(()))
        self.late += 1
        return self.layer(inputs) * (self.inside + self.assigned + self.late + self.calls) / 4


def norm(training):
    module = nn.Sequential(nn.Linear(D, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2))
    module[1].running_mean += 0.5
    return module.train(training)


def recurrent(kind):
    return Function(
        lambda self, x: self.head(self.body(x[..., None])[0][:, -1]),
        body=kind(1, 3, batch_first=True),
        head=nn.Linear(3, 2),
    )


def branch(self, x):
    y = self.layer(x)
    return y if x.sum() > 0 else -2 * y


def chosen(self, x):
    return self.layer(x) + self.layer(x[x[:, 0] > 0]).sum(0)


def in_place(self, x):
    x -= 1.0
    return self.layer(x.relu_())


def tied():
    module = Function(
        lambda self, x: self.out(self.down(torch.tanh(self.up(x)))),
        up=nn.Linear(D, 4),
        down=nn.Linear(4, D),
        out=nn.Linear(D, 2),
    )
    module.up.weight = nn.Parameter(torch.randn(4, D))
    module.down.weight = nn.Parameter(torch.randn(D, 4))
    module.twin = nn.Linear(D, 4)
    module.twin.weight = module.up.weight
    module.compute = lambda self, x: self.out(self.down(torch.tanh(self.up(x) + self.twin(2 * x))))
    return module


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(D, D), nn.ModuleDict({"a": nn.Linear(D, 2), "b": nn.Linear(D, 2)})])
        self.scales = nn.ParameterList([torch.ones(2), torch.ones(2)])

    def forward(self, inputs):
        hidden = self.layers[0](inputs).sigmoid()
        return self.scales[0] * self.layers[1]["a"](hidden) + self.scales[1] * self.layers[1]["b"](hidden)


def attention():
    layer = nn.TransformerEncoderLayer(2, 1, 3, dropout=0.0, batch_first=True)
    return Function(lambda self, x: self.layer(x[..., None].expand(-1, -1, 2)).mean(1), layer=layer)


def backbone():
    block = nn.Sequential(nn.Linear(D, D), nn.Tanh())
    return frozen(nn.Sequential(block, nn.Linear(D, D), copy.deepcopy(block), nn.Sequential(nn.Linear(D, 2))), "0", "2")


ZOO: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp,
    "frozen": lambda: frozen(mlp(), "0"),
    "frozen_bias": lambda: Function(lambda self, x: self.layer(x), layer=_without(nn.Linear(D, 2), "bias")),
    "frozen_weight": lambda: Function(lambda self, x: self.layer(x), layer=_without(nn.Linear(D, 2), "weight")),
    "frozen_blocks": backbone,
    "frozen_half": half_backbone,
    "double": lambda: mlp().double(),
    "buffers": Buffers,
    "norm": lambda: norm(True),
    "norm_evaluated": lambda: norm(False),
    "gru": lambda: recurrent(nn.GRU),
    "lstm": lambda: recurrent(nn.LSTM),
    "rnn": lambda: recurrent(nn.RNN),
    "branch": lambda: Function(branch, layer=nn.Linear(D, 2)),
    "item": lambda: Function(lambda self, x: self.layer(x) * x.mean().item(), layer=nn.Linear(D, 2)),
    "list": lambda: Function(lambda self, x: self.layer(x) * x.tolist()[0][0], layer=nn.Linear(D, 2)),
    "numpy": lambda: Function(lambda self, x: self.layer(x) * float(x.numpy().max()), layer=nn.Linear(D, 2)),
    "chosen": lambda: Function(chosen, layer=nn.Linear(D, 2)),
    "in_place": lambda: Function(in_place, layer=nn.Linear(D, 2)),
    "unreached": lambda: Function(lambda self, x: self.layer(x), layer=nn.Linear(D, 2), spare=nn.Linear(2, 2)),
    "dead_end": lambda: Function(
        lambda self, x: (self.spare(x), self.layer(x))[1], layer=nn.Linear(D, 2), spare=nn.Linear(D, 2)
    ),
    "detached": lambda: nn.Sequential(Function(lambda self, x: self.layer(x).detach(), layer=nn.Linear(D, D)), mlp()),
    "uncalled": lambda: Function(lambda self, x: functional.linear(x, self.layer.weight), layer=nn.Linear(D, 2)),
    "listed": Listed,
    "tied": tied,
    "twice": lambda: Function(
        lambda self, x: self.head(self.layer(self.layer(x))), layer=nn.Linear(D, D), head=nn.Linear(D, 2)
    ),
    "embedding": lambda: Function(
        lambda self, x: self.head(self.body(x).tanh().mean(1)), body=nn.Embedding(2, 3), head=nn.Linear(3, 2)
    ),
    "frozen_embedding": lambda: frozen(ZOO["embedding"](), "body"),
    "weight_norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(D, 3)), nn.Tanh(), nn.Linear(3, 2)),
    "spectral_norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(D, 3)), nn.Linear(3, 2)),
    "layer_norm": lambda: nn.Sequential(nn.Linear(D, 3), nn.LayerNorm(3), nn.Linear(3, 2)),
    "attention": attention,
}


def _without(module, name):
    getattr(module, name).requires_grad_(False)
    return module


def zoo(name: str, initializer: Initializer | None = None, **options) -> Own:
    """A task with a network of the zoo, from its own values; these are the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Own(ZOO[name](), initializer, **options)


DRAWN = gaussian(0.5)
