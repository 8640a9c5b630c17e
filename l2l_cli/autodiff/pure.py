"""A network as a pure function of its parameters and inputs: whatever a call changes in the module is undone."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from l2l_cli.core.types import Params

NetworkFunction = Callable[[Params, Tensor], Tensor]
"""(parameters (E, ...), inputs (E, N, ...)) -> outputs (E, N, ...)."""

_FUSED = ("mkldnn_rnn_layer", "_cudnn_rnn", "_scaled_dot_product")
"""Parts of the names of operations without second derivatives, for which torch has alternatives."""


class Habits(NamedTuple):
    """What a network does when it is called, as far as calls must allow for it.

    Attributes:
        draws: Whether it draws random numbers, as dropout does.
        fused: Whether it uses operations without the second derivatives that Jacobian products need, where torch has
            alternatives.
        copies: Whether it changes its inputs in place, so that it must be given copies.
        remembers: Whether it changes attributes of its modules, which must be restored.
    """

    draws: bool = False
    fused: bool = False
    copies: bool = False
    remembers: bool = False


NONE = Habits()


def pure(module: nn.Module, habits: Habits = NONE) -> NetworkFunction:
    """Return a module as a function of its parameters, or of some of them, and its inputs.

    Every call sees the buffers and the attributes that the module has.  What it changes in them, such as running
    statistics or a counter, is forgotten when it returns, so that nothing accumulates over calls.  Parameters that are
    not given have the module's own values.
    """
    has_buffers = next(module.buffers(), None) is not None

    def call(params: Params, inputs: Tensor) -> Tensor:
        if has_buffers:
            params = {**{name: value.clone() for name, value in module.named_buffers()}, **params}
        outputs: Tensor = functional_call(module, params, (inputs.clone() if habits.copies else inputs,))
        return outputs

    def call_with_care(params: Params, inputs: Tensor) -> Tensor:
        with unfused() if habits.fused else nullcontext():
            attributes = Attributes(module)
            try:
                return call(params, inputs)
            finally:
                attributes.set_back()

    return call_with_care if habits.remembers or habits.fused else call


class Attributes:
    """The attributes of a module and of all modules within it, as they are when this object is made."""

    def __init__(self, module: nn.Module) -> None:
        self._parts = list(module.modules())
        self._before = [_attributes(part) for part in self._parts]

    def set_back(self) -> bool:
        """Restore all attributes, and return whether any had changed."""
        after = [_attributes(part) for part in self._parts]
        for part, before in zip(self._parts, self._before, strict=True):
            vars(part).clear()
            vars(part).update(before)
        return not all(
            one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
            for one, other in zip(self._before, after, strict=True)
        )


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return a module's attributes, and a copy of each plain container among them, such as the table of its buffers."""
    return {name: value.copy() if type(value) in (dict, list, set) else value for name, value in vars(module).items()}


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are one object, or plain containers of the same objects."""
    if type(one) is not type(other) or type(one) not in (dict, list, set):
        return one is other
    if type(one) is dict:
        return one.keys() == other.keys() and all(value is other[name] for name, value in one.items())
    return len(one) == len(other) and all(map(operator.is_, one, other))


@contextmanager
def unfused() -> Iterator[None]:
    """While this context is active, torch uses operations that have second derivatives, if there are any."""
    libraries = torch.backends.mkldnn, torch.backends.cudnn
    enabled = [library.set_flags(False)[0] for library in libraries]
    try:
        with sdpa_kernel([SDPBackend.MATH]):
            yield
    finally:
        for library, before in zip(libraries, enabled, strict=True):
            library.set_flags(before)


def kept_draws(device: torch.device) -> AbstractContextManager[None]:
    """Return a context that restores the random generators at its end, as if nothing had been drawn in it."""
    on_gpu = device.type == "cuda" and torch.cuda.is_available()
    return torch.random.fork_rng([device] if on_gpu else [], device_type="cuda")


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches what the calls of a network do while this mode is active.

    Attributes:
        draws: Whether they drew random numbers.
        fused: Whether they used operations without second derivatives.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draws = self.fused = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # hiding from the compiler would import it, which takes a second

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        self.draws = self.draws or is_random(func)
        self.fused = self.fused or any(name in func.name() for name in _FUSED)
        return func(*args, **(kwargs or {}))


def is_random(operation: OpOverload) -> bool:
    """Return whether an operation of torch draws random numbers."""
    return bool(torch.Tag.nondeterministic_seeded in operation.tags)
