"""Messages between processes: tensors go through shared memory, everything else through a pipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import Tensor

ALIGNED = 64
"""Alignment in bytes; every tensor in shared memory begins at a multiple of it."""

Formats = tuple[tuple[torch.Size, torch.dtype], ...]
"""Shapes and types of tensors that lie one after the other."""


class Message(NamedTuple):
    """Tensors in a block of shared memory, with the number by which the receiver recognises the block."""

    number: int
    formats: Formats
    memory: Tensor


class SendBuffer:
    """The blocks of shared memory that a process writes to, one for each purpose and formats."""

    def __init__(self) -> None:
        self._written: dict[tuple[str, Formats], tuple[Message, list[Tensor]]] = {}

    def put(self, purpose: str, tensors: Sequence[Tensor]) -> Message:
        """Copy tensors from any device; the last message of this purpose must have been read."""
        formats = tuple((value.shape, value.dtype) for value in tensors)
        if (purpose, formats) not in self._written:
            size = max(ALIGNED, sum(map(_bytes, formats)))  # a block of 0 bytes cannot be shared
            memory = torch.empty(size, dtype=torch.uint8, device="cpu").share_memory_()  # type: ignore[no-untyped-call]
            fresh = Message(len(self._written), formats, memory)
            self._written[purpose, formats] = fresh, _views(fresh)
        message, views = self._written[purpose, formats]
        for view, value in zip(views, tensors, strict=True):
            view.copy_(value.detach())
        return message


class Channel:
    """One end of a pipe between two processes."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.connection = connection
        self._sent: set[int] = set()
        self._received: dict[int, list[Tensor]] = {}

    def send(self, header: object, *messages: Message) -> None:
        """Send a header and messages from one buffer; a block itself goes through the pipe only once."""
        new = [message for message in messages if message.number not in self._sent]
        self.connection.send((header, [message.number for message in messages], new))
        self._sent.update(message.number for message in new)

    def receive(self) -> tuple[Any, list[list[Tensor]]]:
        """Wait for a header and messages, whose tensors are on the CPU and valid until the next are sent.

        Raises:
            EOFError: The other end is closed, or its process has ended.
        """
        header, numbers, new = self.connection.recv()
        self._received |= {message.number: _views(message) for message in new}
        return header, [self._received[number] for number in numbers]


def _bytes(entry: tuple[torch.Size, torch.dtype]) -> int:
    """Return the bytes that a tensor takes, rounded up to a multiple of the alignment."""
    shape, dtype = entry
    return -(-math.prod(shape) * dtype.itemsize // ALIGNED) * ALIGNED


def _views(message: Message) -> list[Tensor]:
    views, start = [], 0
    for entry in message.formats:
        shape, dtype = entry
        views.append(message.memory[start : start + math.prod(shape) * dtype.itemsize].view(dtype).view(shape))
        start += _bytes(entry)
    return views
