"""What a run spends: seconds, and memory at its peak."""

from __future__ import annotations

import time

import torch

from l2l_cli.results.provenance import forget_peak_memory, own_peak_memory


def now() -> float:
    """Return the CPU-seconds of this process or, on a GPU, which runs asynchronously, wall-clock seconds once idle."""
    if torch.get_default_device().type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def held_from_now() -> int:
    """Reset the peak of the memory, and return the bytes that are held now."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        forget_peak_memory()
    return peak()


def peak() -> int:
    """Return the peak of the bytes held since ``held_from_now``, or since the start if the system cannot reset it."""
    cuda = torch.get_default_device().type == "cuda"
    return torch.cuda.max_memory_allocated() if cuda else own_peak_memory()
