"""How little the work could cost on this machine: operations at a matrix product's rate, bytes at that of a copy."""

from __future__ import annotations

import time

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from tests.bench.samples import Case, Sample, Work, by_round

SIZE = 1536
"""Of the matrices: 28 MB in float32, as fast as larger ones."""

COPIED = 64_000_000
"""Numbers that are copied, 256 MB: more than caches hold."""

FLOAT = 4
"""Bytes of a float32."""


def forward_flops(layers: int, hidden: int, features: int) -> int:
    """Return the operations of one coordinate's step: two for each weight of a matrix product, and nothing else."""
    gates = 4 * hidden * (features + hidden) + (layers - 1) * 4 * hidden * 2 * hidden
    return 2 * (gates + hidden)


def backward_flops(layers: int, hidden: int, features: int) -> int:
    """Return those of its backward pass: errors and weights' gradients; nothing is pulled back to the features."""
    return 2 * forward_flops(layers, hidden, features) - 2 * 4 * hidden * features


def forward_bytes(layers: int, hidden: int) -> int:
    """Return the bytes of one coordinate's step: h and c read and written, the gradient read, θ read and written."""
    return FLOAT * (2 * 2 * layers * hidden + 1 + 2)


def backward_bytes(layers: int, hidden: int) -> int:
    """Return those of its backward pass: h, c and the gradient read again; all else is recomputed in cache."""
    return FLOAT * (2 * layers * hidden + 1)


def applying_work(rule: CoordinatewiseLSTM, coordinates: int) -> Work:
    """Return the work of one step of a rule that is not trained."""
    layers, hidden, features = len(rule.cells), rule.hidden, rule.preprocess.width
    return Work(coordinates * forward_flops(layers, hidden, features), coordinates * forward_bytes(layers, hidden))


def meta_step_work(rule: CoordinatewiseLSTM, coordinates: int, steps: int) -> Work:
    """Return the work of one meta-step, without the functions that are optimized."""
    layers, hidden, features = len(rule.cells), rule.hidden, rule.preprocess.width
    flops = forward_flops(layers, hidden, features) + backward_flops(layers, hidden, features)
    moved = forward_bytes(layers, hidden) + backward_bytes(layers, hidden)
    return Work(coordinates * steps * flops, coordinates * steps * moved)


def machine() -> list[Case]:
    """Return the rates of this machine as cases: products in two libraries, because the better one differs by CPU."""
    matrix = torch.rand(SIZE, SIZE)
    other, result = torch.rand(SIZE, SIZE), torch.empty(SIZE, SIZE)
    source, target = torch.rand(COPIED), torch.zeros(COPIED)

    def product() -> dict[str, float]:
        began = time.process_time()
        torch.mm(matrix, other, out=result)
        return {"GFLOP/s": 2e-9 * SIZE**3 / (time.process_time() - began)}

    def numpy_product() -> dict[str, float]:
        with threadpool_limits(1):
            began = time.process_time()
            np.matmul(matrix.numpy(), other.numpy(), out=result.numpy())
            return {"GFLOP/s": 2e-9 * SIZE**3 / (time.process_time() - began)}

    def copy() -> dict[str, float]:
        began = time.process_time()
        target.copy_(source)
        return {"GB/s": 2e-9 * FLOAT * COPIED / (time.process_time() - began)}

    return [
        Case("machine", "matrix product", {"torch": product, "numpy": numpy_product}),
        Case("machine", "copy", {"torch": copy}),
    ]


class Floors:
    """The least times of some work, by the rates of each round.

    Args:
        samples: Those of ``machine`` among others.
    """

    def __init__(self, samples: list[Sample]) -> None:
        products = [by_round(samples, "machine", "matrix product", name, "GFLOP/s") for name in ("torch", "numpy")]
        self.flops = {number: 1e9 * max(found[number] for found in products) for number in products[0]}
        copies = by_round(samples, "machine", "copy", "torch", "GB/s")
        self.moved = {number: 1e9 * rate for number, rate in copies.items()}

    def arithmetic(self, work: Work) -> dict[int, float]:
        """Return the ms of the operations, by round."""
        return {number: 1e3 * work.flops / rate for number, rate in self.flops.items()}

    def memory(self, work: Work) -> dict[int, float]:
        """Return the ms of the bytes, by round."""
        return {number: 1e3 * work.moved / rate for number, rate in self.moved.items()}
