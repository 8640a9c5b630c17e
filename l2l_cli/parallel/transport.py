"""Tensors between processes: sums, broadcasts and gathering by gloo, and by NCCL where they lie on GPUs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

C10D: Any = torch.distributed
"""The module as an untyped name: its stubs lack its stores and the calls of a group."""

LOOPBACK = "127.0.0.1"

ALIGNED = 16
"""Alignment in bytes; every tensor of a message begins at a multiple of it."""

SLICE = timedelta(seconds=0.2)
"""Time after which a waiting process checks for signals and for others that have left."""

CONNECT = timedelta(seconds=60)
"""Time within which processes that are all present must connect."""

PATIENCE = timedelta(hours=24)
"""Time after which a collective call gives up; long, since an update of the slowest rank may take long."""

Formats = Sequence[tuple[Sequence[int], torch.dtype]]
"""Shapes and types of consecutive tensors."""


class Disconnected(Exception):
    """Another process of the group is gone."""


def store_on_loopback(port: int = 0) -> Any:
    """Return a store that this process serves on a free port, or that another one serves on ``port``."""
    return C10D.TCPStore(LOOPBACK, port, None, port == 0, wait_for_workers=False)


class Transport:
    """The connections between N processes, which all make the same calls in the same order.

    Args:
        store: Store of torch.distributed that all processes share.
        rank: Number of this process, from 0.
        size: Number N of processes.
        local: Whether all of them run on this machine.
        meanwhile: Function that is called now and then while this process waits, and may raise.
    """

    def __init__(
        self, store: Any, rank: int, size: int, local: bool, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        self._store, self._rank, self._size, self._meanwhile = store, rank, size, meanwhile
        gloo = C10D.ProcessGroupGloo
        options = gloo._Options()
        options._timeout = CONNECT
        options._devices = [gloo.create_device(hostname=LOOPBACK) if local else gloo.create_default_device()]
        try:
            self._gloo = gloo(store, rank, size, options)
        except RuntimeError as error:
            raise Disconnected(str(error)) from error
        self._nccl: Any = None

    def total(self, vector: Tensor) -> None:
        """Replace a vector by its sum over all processes, which is bitwise identical in all of them."""
        if vector.is_cuda:
            self._finish(lambda: _OnGpu(self._on_gpu().allreduce([vector])))
        else:
            self._finish(lambda: self._gloo.allreduce([vector], _patient(C10D.AllreduceOptions())))

    def broadcast(self, content: Tensor) -> None:
        """Replace a tensor on the CPU by the one of process 0."""
        self._finish(lambda: self._gloo.broadcast([content], _patient(C10D.BroadcastOptions())))

    def gathered(self, content: Tensor, everywhere: bool) -> list[Tensor]:
        """Return the bytes of all processes, equally many each, in process 0 or ``everywhere``; others get nothing."""
        parts = [torch.empty_like(content) for _ in range(self._size if everywhere or self._rank == 0 else 0)]
        if everywhere:
            self._finish(
                lambda: self._gloo.allgather([parts], [content], _patient(C10D.distributed_c10d.AllgatherOptions()))
            )
        else:
            options = _patient(C10D.GatherOptions())
            options.rootRank = 0
            self._finish(lambda: self._gloo.gather([parts] if parts else [], [content], options))
        return parts

    def wait(self, work: Any) -> None:
        """Wait for what was sent or is being received, which only a lost connection can delay.

        Raises:
            Disconnected: The other process is gone.
        """
        try:
            work.wait()
        except RuntimeError as error:
            raise Disconnected(str(error)) from error

    def _finish(self, begin: Callable[[], Any]) -> None:
        """Begin a collective call and wait for its end in slices, since no signal is handled within a slice.

        Raises:
            Disconnected: Another process is gone.
        """
        work = self._begun(begin)
        while True:
            try:
                work.wait(SLICE)
            except RuntimeError:  # it has failed, or is not complete yet
                if work.is_completed():
                    return self.wait(work)
                self._meanwhile()
            else:
                return None

    def _begun(self, begin: Callable[[], Any]) -> Any:
        try:
            return begin()
        except RuntimeError as error:
            raise Disconnected(str(error)) from error

    def _on_gpu(self) -> Any:
        """Return NCCL's group, which is created when it is first needed."""
        if self._nccl is None:
            store = C10D.PrefixStore("nccl", self._store)
            options = C10D.ProcessGroupNCCL.Options()
            self._nccl = C10D.ProcessGroupNCCL(store, self._rank, self._size, options)
        return self._nccl


def _patient(options: Any) -> Any:
    """Return options of a call with a long timeout."""
    options.timeout = PATIENCE
    return options


class _OnGpu:
    """A pending NCCL call whose ``wait`` waits like that of gloo; NCCL's own makes only the GPU's queue wait."""

    def __init__(self, work: Any) -> None:
        self._work = work

    def wait(self, longest: timedelta = PATIENCE) -> None:
        """Wait until the sum is complete, and make the GPU's queue wait for it."""
        until = time.monotonic() + longest.total_seconds()
        while not self._work.is_completed():
            if time.monotonic() > until:
                raise RuntimeError("the sum is not there yet")
            time.sleep(1e-5)
        self._work.wait()

    def is_completed(self) -> bool:
        """Return whether the sum is complete, or has failed."""
        return bool(self._work.is_completed())


def size_of(formats: Formats) -> int:
    """Return the number of bytes that ``packed`` tensors of the given formats take."""
    return sum(_bytes(shape, dtype) for shape, dtype in formats)


def packed(tensors: Sequence[Tensor], into: Tensor) -> Tensor:
    """Copy tensors from any device one after another to the beginning of ``into``, bytes on the CPU; return it."""
    for view, value in zip(unpacked(into, formats_of(tensors)), tensors, strict=True):
        view.copy_(value.detach())
    return into


def unpacked(content: Tensor, formats: Formats) -> list[Tensor]:
    """Return tensors of the given formats as views of bytes on the CPU."""
    views, start = [], 0
    for shape, dtype in formats:
        count = math.prod(shape) * dtype.itemsize
        views.append(content[start : start + count].view(dtype).view(*shape))
        start += _bytes(shape, dtype)
    return views


def formats_of(tensors: Sequence[Tensor]) -> list[tuple[torch.Size, torch.dtype]]:
    """Return the shapes and types of tensors."""
    return [(value.shape, value.dtype) for value in tensors]


def _bytes(shape: Sequence[int], dtype: torch.dtype) -> int:
    return -(-math.prod(shape) * dtype.itemsize // ALIGNED) * ALIGNED
