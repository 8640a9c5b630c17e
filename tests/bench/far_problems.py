"""Problems that no rule of the package was trained on: networks of torch, as everybody writes them, on data at hand."""

from __future__ import annotations

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional

from l2l_cli.core.reference import Reference
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


def task_of(name: str) -> ModuleTask:
    """Return a problem as a task."""
    network, data = PROBLEMS[name]
    place = f"{__name__}:"
    return ModuleTask(Reference(place + network.__name__, network), Reference(place + data.__name__, data))
