"""Tensors from one process to another: their numbers by shared memory, what is said about them by a pipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import Tensor

ALIGNED = 64
"""Bytes; every tensor in shared memory begins at a multiple of it."""

Layout = tuple[tuple[torch.Size, torch.dtype], ...]
"""Shapes and types of tensors that lie one after the other."""


class Letter(NamedTuple):
    """Tensors that lie in shared memory: a number by which the receiver knows the memory again, and what is in it."""

    number: int
    layout: Layout
    memory: Tensor


class Outbox:
    """The memories that a process writes into; each is used again by what has the same purpose and layout."""

    def __init__(self) -> None:
        self._written: dict[tuple[str, Layout], tuple[Letter, list[Tensor]]] = {}

    def put(self, purpose: str, tensors: Sequence[Tensor]) -> Letter:
        """Copy tensors from any device; what was put for this purpose before must have been read."""
        layout = tuple((value.shape, value.dtype) for value in tensors)
        if (purpose, layout) not in self._written:
            size = max(ALIGNED, sum(map(_bytes, layout)))  # there is no shared memory of no bytes
            memory = torch.empty(size, dtype=torch.uint8, device="cpu").share_memory_()  # type: ignore[no-untyped-call]
            fresh = Letter(len(self._written), layout, memory)
            self._written[purpose, layout] = fresh, _views(fresh)
        letter, places = self._written[purpose, layout]
        for place, value in zip(places, tensors, strict=True):
            place.copy_(value.detach())
        return letter


class Channel:
    """One end of a pipe that letters go through.

    Args:
        connection: To a process that has the other end.
    """

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.connection = connection
        self._sent: set[int] = set()
        self._received: dict[int, list[Tensor]] = {}

    def send(self, words: Any, *letters: Letter) -> None:
        """Send words, and letters out of one and the same outbox; a memory itself goes through the pipe once."""
        new = [letter for letter in letters if letter.number not in self._sent]
        self.connection.send((words, [letter.number for letter in letters], new))
        self._sent.update(letter.number for letter in new)

    def receive(self) -> tuple[Any, list[list[Tensor]]]:
        """Wait for words and letters; their tensors are on the CPU, and valid until the next are sent.

        Raises:
            EOFError: The other end is closed, or its process has ended.
        """
        words, numbers, new = self.connection.recv()
        self._received |= {letter.number: _views(letter) for letter in new}
        return words, [self._received[number] for number in numbers]


def _bytes(entry: tuple[torch.Size, torch.dtype]) -> int:
    """Return the room that a tensor takes."""
    shape, dtype = entry
    return -(-math.prod(shape) * dtype.itemsize // ALIGNED) * ALIGNED


def _views(letter: Letter) -> list[Tensor]:
    views, start = [], 0
    for entry in letter.layout:
        shape, dtype = entry
        views.append(letter.memory[start : start + math.prod(shape) * dtype.itemsize].view(dtype).view(shape))
        start += _bytes(entry)
    return views
