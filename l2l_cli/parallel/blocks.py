"""Tensors that two processes of one machine share: memory of torch.multiprocessing, known by numbers in messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.parallel.transport import Formats, formats_of, packed, size_of, unpacked


class Block(NamedTuple):
    """Tensors in a block of shared memory, in the form in which they are sent through a pipe.

    Attributes:
        number: Number by which the receiver recognises the block.
        formats: Shapes and types of the tensors.
        memory: Bytes of the block when it is sent to a receiver for the first time, None later.
    """

    number: int
    formats: Formats
    memory: Tensor | None


class Writer:
    """The blocks that a process writes to, one for each purpose and size; each is sent through a pipe only once."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, int], tuple[int, Tensor]] = {}
        self._told: set[tuple[int, int]] = set()

    def block(self, receiver: int, purpose: str, tensors: Sequence[Tensor], fresh: bool = True) -> Block:
        """Return tensors from any device as a block for a receiver.

        Args:
            receiver: Number of the receiver.
            purpose: Purpose of the block; its previous content must have been read.
            tensors: The tensors.
            fresh: Whether they must still be written; for another receiver they may have been written already.
        """
        formats = formats_of(tensors)
        key = purpose, max(1, size_of(formats))  # a block of 0 bytes cannot be shared
        if key not in self._blocks:
            memory = torch.empty(key[1], dtype=torch.uint8, device="cpu").share_memory_()  # type: ignore[no-untyped-call]
            self._blocks[key] = len(self._blocks), memory
        number, memory = self._blocks[key]
        if fresh:
            packed(tensors, into=memory)
        known = (receiver, number) in self._told
        self._told.add((receiver, number))
        return Block(number, formats, None if known else memory)


class Reader:
    """The blocks that a process has received through one pipe."""

    def __init__(self) -> None:
        self._blocks: dict[int, Tensor] = {}

    def tensors(self, block: Block) -> list[Tensor]:
        """Return the tensors of a block, on the CPU; they are valid until the next request to the writer."""
        if block.memory is not None:
            self._blocks[block.number] = block.memory
        return unpacked(self._blocks[block.number], block.formats)
