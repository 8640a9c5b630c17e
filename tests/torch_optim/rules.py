"""Rules, networks and data that tests of the torch form share."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from l2l_cli import load_optimizer

EXPORTED = Path(__file__).parents[1] / "runs" / "exported" / "schema_1"

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("adam", {}),
    "coordinatewise_lstm": (str(EXPORTED / "coordinatewise_lstm.safetensors"), {}),
    "tensorwise_mixture": (str(EXPORTED / "tensorwise_mixture.safetensors"), {"horizon": 12}),
}
"""Rules that take gradients: source, and options that they need."""

CURVED: dict[str, tuple[str, dict[str, Any]]] = {
    "hessian_free": ("hessian_free", {}),
    "hessian_free_lm": ("hessian_free_lm", {"lr": 0.3}),
    "kfac": ("kfac", {}),
    "lbfgs": ("lbfgs", {}),
    "mlhf": (str(EXPORTED / "mlhf.safetensors"), {}),
}
"""Rules that ask for curvature."""


@cache
def _loaded(source: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """An optimizer that is loaded once: to compose a configuration takes longer than a test."""
    return load_optimizer(source, net(), **dict(options))


def made(name: str, params: Any, **options: Any) -> Any:
    """An optimizer of one of the rules."""
    source, needed = (RULES | CURVED)[name]
    given = needed | options
    own = {key: given.pop(key) for key in ("lr", "horizon", "compiled") if key in given}
    if isinstance(params, nn.Module) or given:  # by the door that everybody takes
        return load_optimizer(source, params, **own, **given)
    found = _loaded(source, tuple(needed.items()))
    return type(found)(params, copy.deepcopy(found.rule), **own)


def net(dtype: torch.dtype = torch.float32, seed: int = 1) -> nn.Sequential:
    """A small network, the same each time."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)


def data(step: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Inputs (10, 4) and classes (10,) of a step."""
    rng = torch.Generator().manual_seed(100 + step)
    inputs = torch.randn(10, 4, generator=rng)
    return inputs.to(dtype), inputs[:, :3].argmax(1)


def loss_of(network: nn.Module, step: int) -> Tensor:
    """The loss of a step's data."""
    inputs, targets = data(step, next(network.parameters()).dtype)
    return nn.functional.cross_entropy(network(inputs), targets)


def trained(optimizer: Any, network: nn.Module, steps: range) -> list[float]:
    """Losses of steps of a plain loop."""
    losses = []
    for step in steps:
        optimizer.zero_grad()
        loss = loss_of(network, step)
        loss.backward()
        optimizer.step(loss=loss)
        losses.append(loss.item())
    return losses


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same parameters, bit by bit."""
    return all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))
