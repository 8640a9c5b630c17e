"""Named streams of random numbers: every draw is a pure function of a seed and a purpose."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Generator, Tensor

TRUNCATED = 0.8796256610342398
"""Standard deviation of N(0, 1) truncated at ± 2: √(1 − 4 ϕ(2) / (2 Φ(2) − 1))."""


def derive(seed: int, *labels: object) -> int:
    """Return a 63-bit seed for a purpose, independent over labels.

    It is a hash and not a sum, so that ``seed + 1`` for one purpose never coincides with ``seed`` for another.
    """
    text = "/".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *labels: object) -> Generator:
    """Return a CPU generator for a purpose."""
    return Generator("cpu").manual_seed(derive(seed, *labels))


# The draws below are made on the CPU and then moved to torch's default device, so that one seed gives one
# episode on every machine.


def uniform(shape: tuple[int, ...], low: float, high: float, rng: Generator) -> Tensor:
    """Draw uniform numbers in [low, high) in the default dtype."""
    draw = torch.rand(shape, generator=rng, device="cpu") * (high - low) + low
    return draw.to(torch.get_default_device())


def normal(shape: tuple[int, ...], rng: Generator, scale: float = 1.0) -> Tensor:
    """Draw from N(0, scale²) in the default dtype."""
    return (torch.randn(shape, generator=rng, device="cpu") * scale).to(torch.get_default_device())


def truncated_normal(shape: tuple[int, ...], rng: Generator, scale: float = 1.0) -> Tensor:
    """Draw from a normal distribution truncated at ± 2 of its standard deviations; draws have variance ``scale``²."""
    edge = math.erf(math.sqrt(2.0))
    draw = torch.erfinv((2.0 * torch.rand(shape, generator=rng, device="cpu") - 1.0) * edge)
    return (draw * (math.sqrt(2.0) * scale / TRUNCATED)).to(torch.get_default_device())


def integers(shape: tuple[int, ...], high: int, rng: Generator) -> Tensor:
    """Draw integers uniformly from 0 … high − 1."""
    return torch.randint(high, shape, generator=rng, device="cpu").to(torch.get_default_device())
