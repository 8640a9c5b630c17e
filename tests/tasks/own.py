"""Networks, data and losses as a user has them, whom nobody told of tasks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset


class Net(nn.Module):
    """Four numbers to three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.first(inputs).tanh())


def pair(count: int = 60) -> tuple[Tensor, Tensor]:
    """Inputs (count, 4) and classes (count,), the same each time."""
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    return inputs, inputs[:, :3].argmax(1)


def numbers() -> tuple[Tensor, Tensor]:
    """Inputs and sums of them (60,)."""
    return pair()[0], pair()[0].sum(1)


def unseeded() -> tuple[Tensor, Tensor]:
    """Data from the global generator."""
    return torch.randn(60, 4), torch.randint(3, (60,))


def arrays() -> Any:
    return tuple(value.numpy() for value in pair())


def batches() -> Any:
    inputs, targets = pair()
    for begin in range(0, 60, 7):
        yield inputs[begin : begin + 7], targets[begin : begin + 7]


def endless() -> Any:
    while True:
        yield pair()


def loader() -> Any:
    return DataLoader(TensorDataset(*pair()), batch_size=11)


class Rows(Dataset):  # type: ignore[type-arg]
    """A data set of single examples."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        inputs, targets = pair()
        return inputs[row], int(targets[row])


class Stream(IterableDataset):  # type: ignore[type-arg]
    """A data set of single examples without a length."""

    def __iter__(self) -> Any:
        return zip(*pair(), strict=True)


few = pair(6)
listed = [pair(30), pair(31)]
by_phase = {phase: pair(20 + k) for k, phase in enumerate(("meta_train", "meta_valid", "tune", "test"))}
by_two = {"meta_train": pair(40), "test": batches}


class Habits(nn.Module):
    """Buffers, dropout, batch normalisation, and a part that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 6).requires_grad_(False)
        self.rest = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 3))
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.rest(self.scale * self.body(inputs))
        return out


class Reader(nn.Module):
    """A recurrent network over four numbers, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.last(self.cell(inputs[:, :, None])[0][:, -1])
        return out


class Words(nn.Module):
    """A language model of five words: (N, 6) to logits (N, 6, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(5, 4), nn.Linear(4, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.last(self.table(inputs))
        return out


class Pixels(Words):
    """The same with the classes along the second axis, as torch's own losses take them."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).movedim(-1, 1)


def text() -> tuple[Tensor, Tensor]:
    words = torch.randint(5, (60, 7), generator=torch.Generator().manual_seed(0))
    return words[:, :-1], words[:, 1:]


class Single(nn.Module):
    """Four numbers to one."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.last(inputs)
        return out


class Needy(Net):
    """A network that needs an argument."""

    def __init__(self, width: int) -> None:
        super().__init__()


class Answers(Net):
    """A network that returns two things."""

    def forward(self, inputs: Tensor) -> Any:
        return super().forward(inputs), inputs


def huber(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.huber_loss(outputs[:, 0], targets)


def each(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets).square()


def made() -> nn.Module:
    """A network by a function."""
    return nn.Sequential(nn.Linear(4, 3))


network = made()
