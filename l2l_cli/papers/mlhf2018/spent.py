"""What a run spends: seconds, and memory at its peak."""

from __future__ import annotations

import time

import torch

from l2l_cli.results.provenance import forget_peak_memory, own_peak_memory


def now() -> float:
    """Return seconds of this process, or on a GPU, which works on its own, those on the wall when it is done."""
    if torch.get_default_device().type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def held_from_now() -> int:
    """Return the bytes that are held now, and count the peak from here on."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        forget_peak_memory()
    return peak()


def peak() -> int:
    """Return the most bytes that were held since ``held_from_now``; where the system does not say, since the start."""
    cuda = torch.get_default_device().type == "cuda"
    return torch.cuda.max_memory_allocated() if cuda else own_peak_memory()
