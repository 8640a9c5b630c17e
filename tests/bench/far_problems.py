"""Problems that no rule of the package was trained on: networks of torch, as everybody writes them, on data at hand."""

from __future__ import annotations

import pydoc_data.topics
from collections import Counter
from itertools import pairwise

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional

from l2l_cli.core.reference import Reference
from l2l_cli.tasks.images.datasets import default_folder, load
from l2l_cli.tasks.module import ModuleTask

WINDOW, SYMBOLS, WIDTH = 16, 64, 24
"""Characters of a window of text, different characters, and units of the transformer."""


class Transformer(nn.Module):
    """One block of causal attention over characters, and a network after it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.places = nn.Embedding(SYMBOLS, WIDTH), nn.Parameter(0.02 * torch.randn(WINDOW, WIDTH))
        self.first, self.attention, self.joined = (
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, 3 * WIDTH),
            nn.Linear(WIDTH, WIDTH),
        )
        self.second = nn.LayerNorm(WIDTH)
        self.network = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, symbols: Tensor) -> Tensor:
        """Return logits of the next character (N, WINDOW, SYMBOLS)."""
        x = self.embedding(symbols) + self.places
        query, key, value = self.attention(self.first(x)).chunk(3, -1)
        scores = query @ key.transpose(-1, -2) / WIDTH**0.5
        later = torch.ones(WINDOW, WINDOW, dtype=torch.bool).triu(1)
        x = x + self.joined(scores.masked_fill(later, -1e9).softmax(-1) @ value)
        return self.head(x + self.network(self.second(x)))


class Convnet(nn.Module):
    """Two convolutions and a linear layer on 8 × 8 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.last = nn.Linear(16 * 4, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, 10) of pixels (N, 64)."""
        x = functional.max_pool2d(self.first(pixels.unflatten(-1, (1, 8, 8))).relu(), 2)
        return self.last(functional.max_pool2d(self.second(x).relu(), 2).flatten(1))


def mlp_of_digits() -> nn.Module:
    """64–32–10, ReLU."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def mlp_of_cancer() -> nn.Module:
    """30–16–2, ReLU."""
    return nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))


def mlp_of_diabetes() -> nn.Module:
    """10–16–1, ReLU."""
    return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))


def digits() -> tuple[Tensor, Tensor]:
    """Pixels of 0 … 16, as they come."""
    inputs, targets = datasets.load_digits(return_X_y=True)
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets)


def cancer() -> tuple[Tensor, Tensor]:
    """Thirty measurements of 0.0 … 4254, as they come."""
    inputs, targets = datasets.load_breast_cancer(return_X_y=True)
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets)


def diabetes() -> tuple[Tensor, Tensor]:
    """Ten measurements, and the progress of the disease as a number of 25 … 346, as they come."""
    inputs, targets = datasets.load_diabetes(return_X_y=True)
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32)


def text() -> tuple[Tensor, Tensor]:
    """Windows of scikit-learn's own descriptions of its data sets, and the characters that come next."""
    whole = "".join(
        load().DESCR for load in (datasets.load_digits, datasets.load_breast_cancer, datasets.load_diabetes)
    )
    known = {symbol: index for index, symbol in enumerate(sorted({*whole})[: SYMBOLS - 1])}
    symbols = torch.tensor([known.get(symbol, SYMBOLS - 1) for symbol in whole])
    windows = symbols[: len(symbols) // (WINDOW + 1) * (WINDOW + 1)].view(-1, WINDOW + 1)
    return windows[:, :-1], windows[:, 1:]


PROBLEMS = {
    "digits, MLP": (mlp_of_digits, digits),
    "breast cancer, MLP": (mlp_of_cancer, cancer),
    "diabetes, MLP": (mlp_of_diabetes, diabetes),
    "digits, convnet": (Convnet, digits),
    "text, transformer": (Transformer, text),
}
"""Network and data by problem; each is drawn anew for an episode, of minibatches of 32 examples."""


CONTEXT, KNOWN, UNITS, HEADS, BLOCKS = 64, 96, 64, 4, 2
"""Characters of a window of the manual, different characters, units, heads and blocks of the larger transformer."""


class LargerTransformer(nn.Module):
    """Two blocks of causal attention with four heads, as nn.TransformerEncoder has them; 116 576 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.places = nn.Embedding(KNOWN, UNITS), nn.Parameter(0.02 * torch.randn(CONTEXT, UNITS))
        options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        block = nn.TransformerEncoderLayer(UNITS, HEADS, 4 * UNITS, **options)  # type: ignore[arg-type]
        self.blocks = nn.TransformerEncoder(block, BLOCKS, nn.LayerNorm(UNITS), enable_nested_tensor=False)
        self.head = nn.Linear(UNITS, KNOWN)

    def forward(self, symbols: Tensor) -> Tensor:
        """Return logits of the next character (N, CONTEXT, KNOWN)."""
        mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
        return self.head(self.blocks(self.embedding(symbols) + self.places, mask=mask))


class LargerConvnet(nn.Module):
    """Three convolutions and two linear layers on CIFAR-10; 122 570 weights."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 32, 64, 64]
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in pairwise(widths))
        self.inner, self.last = nn.Linear(64 * 16, 64), nn.Linear(64, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, 10) of bytes (N, 3, 32, 32)."""
        x = pixels.float() / 255.0
        for convolution in self.convolutions:
            x = functional.max_pool2d(convolution(x).relu(), 2)
        return self.last(self.inner(x.flatten(1)).relu())


def manual() -> tuple[Tensor, Tensor]:
    """Windows of Python's own manual, which comes with it, and the characters that come next."""
    whole = "".join(pydoc_data.topics.topics.values())
    frequent = [symbol for symbol, _ in Counter(whole).most_common(KNOWN - 1)]
    known = {symbol: index for index, symbol in enumerate(frequent)}
    symbols = torch.tensor([known.get(symbol, KNOWN - 1) for symbol in whole])
    windows = symbols[: len(symbols) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1)
    return windows[:, :-1], windows[:, 1:]


def cifar() -> tuple[Tensor, Tensor]:
    """The training images of CIFAR-10, in bytes; see ``l2l meta-train task=cifar10`` for where the files belong."""
    train = load("cifar10", default_folder(), None, 1).train
    return train.images, train.labels.long()


LARGE = {
    "CIFAR-10, convnet": (LargerConvnet, cifar),
    "Python's manual, transformer": (LargerTransformer, manual),
}
"""The same for networks of more than 100 000 weights."""


def task_of(name: str) -> ModuleTask:
    """Return a problem as a task."""
    network, data = (PROBLEMS | LARGE)[name]
    place = f"{__name__}:"
    return ModuleTask(Reference(place + network.__name__, network), Reference(place + data.__name__, data))
