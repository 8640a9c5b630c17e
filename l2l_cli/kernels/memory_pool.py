"""Large arrays that are reused once nothing refers to them: fresh memory costs a page fault for every 4 KiB."""

from __future__ import annotations

import math
import weakref
from typing import Any

import torch
from torch import Tensor

from l2l_cli.kernels.simd.registers import Array, zeros


class Recycler:
    """Hands out uninitialised tensors, and reclaims their memory when the last reference to it is gone."""

    def __init__(self) -> None:
        self._free: list[Array] = []

    def empty_like(self, value: Tensor) -> Tensor:
        """Return a tensor shaped like another, on the CPU."""
        array = value.numpy()
        fitting = [k for k, found in enumerate(self._free) if (found.shape, found.dtype) == (array.shape, array.dtype)]
        memory = self._free.pop(fitting[0]) if fitting else zeros(array.shape, array.dtype)
        self._free = self._free[-1:]  # what no longer fits is released
        # The tensor holds the view, and the view the memory: once the view is gone, the memory is free.
        view = memory[...]
        weakref.finalize(view, self._free_again, memory).atexit = False
        return torch.from_numpy(view)

    def _free_again(self, memory: Array) -> None:
        self._free.append(memory)


class Arena:
    """Memory that unrolls of models of several sizes use in turn; it is only as large as the largest needs."""

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a contiguous array that starts on a cache line and holds whatever was last written there."""
        size = math.prod(shape)
        if name not in self._kept or self._kept[name].size < size or self._kept[name].dtype != dtype:
            self._kept[name] = zeros((size,), dtype)
        return self._kept[name][:size].reshape(shape)
