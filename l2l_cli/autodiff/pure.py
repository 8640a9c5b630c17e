"""A network as a pure function of its parameters and inputs: what a call changes in its module does not last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from l2l_cli.core.types import Params

NetworkFunction = Callable[[Params, Tensor], Tensor]
"""(parameters (E, ...), inputs (E, N, ...)) -> outputs (E, N, ...)."""

_TABLES = ("_parameters", "_buffers", "_modules")
"""A module's tables of what belongs to it, which a call may add to."""


def pure(module: nn.Module) -> NetworkFunction:
    """Return a module as a function of its parameters, or of some of them, and its inputs.

    Every call sees the buffers and the attributes that the module has.  What it changes in them, as running statistics
    or a counter, is forgotten when it returns, so that nothing counts on over calls; within lists and other containers
    changes stay.  Parameters that are not given have the module's own values.
    """
    parts = list(module.modules())
    recurrent = any(isinstance(part, nn.RNNBase) for part in parts)

    def call(params: Params, inputs: Tensor) -> Tensor:
        attributes = [_attributes(part) for part in parts]
        buffers = {}
        if any(own["_buffers"] for own in attributes):
            buffers = {name: value.clone() for name, value in module.named_buffers()}
        try:
            with ExitStack() as settings:
                if recurrent:  # the fused layers have no second derivatives, and Jacobian products take them
                    settings.enter_context(torch.backends.mkldnn.flags(enabled=False))
                    settings.enter_context(torch.backends.cudnn.flags(enabled=False))
                outputs: Tensor = functional_call(module, {**buffers, **params}, (inputs,))
                return outputs
        finally:
            for part, own in zip(parts, attributes, strict=True):
                vars(part).clear()
                vars(part).update(own)

    return call


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return a copy of a module's attributes and tables."""
    attributes = vars(module).copy()
    for table in _TABLES:
        attributes[table] = attributes[table].copy()
    return attributes


def kept_draws(device: torch.device) -> AbstractContextManager[None]:
    """Return a context whose random numbers are drawn again by whoever comes next, as if it had drawn none."""
    return torch.random.fork_rng([] if device.type == "cpu" else [device], device_type="cuda")


def draws_numbers(function: Callable[[], object]) -> bool:
    """Return whether a function draws random numbers by torch."""
    with torch.no_grad(), _Watch() as watch:
        function()
    return bool(watch.draws)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches for operations that draw random numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draws = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # hiding from the compiler would import it, which takes a second

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        self.draws = self.draws or is_random(func)
        return func(*args, **(kwargs or {}))


def is_random(operation: Any) -> bool:
    """Return whether an operation of torch draws random numbers."""
    return bool(torch.Tag.nondeterministic_seeded in operation.tags)
