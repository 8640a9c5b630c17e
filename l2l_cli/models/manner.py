"""How a network has to be called, which its first call on inputs of a shape shows; and what no network may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from l2l_cli.autodiff.chain import Chain, trained
from l2l_cli.autodiff.layer_traces import ObservedPass
from l2l_cli.autodiff.pure import Attributes, Habits, NetworkFunction, Watch, pure
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Params

DTYPES = (torch.float32, torch.float64)
"""The types of parameters that can be fitted."""


class Calls(NamedTuple):
    """A network as functions, for one episode and for all side by side: its outputs, and passes that observe layers."""

    one: Chain
    side_by_side: Chain
    observe: Callable[[Params, Tensor, Params], ObservedPass]
    observe_side_by_side: Callable[[Params, Tensor, Params], ObservedPass]


class Manner(NamedTuple):
    """How a network has to be called.

    Attributes:
        in_turn: Whether one episode is computed after another.
        draws: Whether a call draws random numbers.
        calls: The network as functions.
    """

    in_turn: bool
    draws: bool
    calls: Calls


def habits_of(module: nn.Module, parts: Sequence[nn.Module], params: Params, inputs: Tensor, recompute: bool) -> Habits:
    """Call a network for the first of E episodes, and return what it does.

    Args:
        module: The network.
        parts: Its segments, one after the other.
        params: Parameters (E, ...).
        inputs: Inputs (E, N, ...).
        recompute: Whether only the inputs of its segments may be in memory.

    Raises:
        UsageError: It returns anything but a tensor, changes its parameters, or makes no use of them.
        Exception: Whatever the network raises.
    """
    own = {name: value[0].detach().clone().requires_grad_() for name, value in params.items()}
    attributes = Attributes(module)
    try:
        with torch.enable_grad(), Watch() as watch:
            outputs: Any = Chain(parts, pure, recompute)(own, inputs[0].clone())
        copies = _changes_inputs(parts, own, inputs[0].clone())
    finally:
        remembers = attributes.set_back()
    if not isinstance(outputs, Tensor):
        raise UsageError(
            f"{_name(module)}.forward returns a {type(outputs).__name__}, and a task's network must return one "
            "tensor; let it return that by which the task's loss is computed"
        )
    if changed := [name for name, value in own.items() if not _same(value, params[name][0])]:
        raise UsageError(
            f"{_name(module)}.forward changes its parameter {changed[0]} in place, and nobody but the learner "
            "moves parameters; compute with a changed copy, as self.weight.clamp(min=0)"
        )
    if not outputs.requires_grad:
        raise UsageError(
            f"the outputs of {_name(module)} do not depend on any of its parameters that are to be fitted "
            f"({', '.join(own)}); leave .detach(), .item() and torch.no_grad() out of its forward"
        )
    return Habits(bool(watch.draws), bool(watch.fused), copies, remembers)


@torch.no_grad()
def _changes_inputs(parts: Sequence[nn.Module], params: Params, inputs: Tensor) -> bool:
    """Return whether a segment of a network changes what it is given."""
    for part in parts:
        kept = inputs.clone()
        outputs = pure(part)({name: params[name] for name in trained(part)}, inputs)
        if inputs.shape != kept.shape or not _same(inputs, kept):
            return True
        inputs = outputs
    return False


def accepts(side_by_side: NetworkFunction, params: Params, inputs: Tensor) -> bool:
    """Return whether a network that can be called for one episode can be called for all at once."""
    with torch.no_grad():
        try:
            side_by_side({name: value.detach() for name, value in params.items()}, inputs)
        except Exception:  # whatever vmap objects to, of which it has no list
            return False
    return True


def check(module: nn.Module, fitted: Mapping[str, nn.Parameter]) -> None:
    """Refuse networks whose parameters cannot be fitted.

    Args:
        module: The network.
        fitted: Its parameters that are to be fitted.

    Raises:
        UsageError: Parameters have no values yet, other types than float32 or float64, or several; or a layer lies in a
            plain list, where torch does not find it.
    """
    if lazy := [name for name, value in module.named_parameters() if nn.parameter.is_lazy(value)]:
        raise UsageError(
            f"{_name(module)} has no values for {lazy[0]} yet, since it is lazy; call it once on an example first"
        )
    types = {value.dtype: name for name, value in reversed(list(fitted.items()))}  # the first name of each
    for dtype, name in types.items():
        if dtype not in DTYPES or len(types) > 1:
            others = "".join(f", and {other} {kind}" for kind, other in types.items() if other != name)
            raise UsageError(
                f"{_name(module)}: parameter {name} is {dtype}{others}; parameters that are fitted are all float32 or "
                "all float64: call .float() or .double() on the network, or freeze the others by requires_grad_(False)"
            )
    registered = {id(value) for part in module.modules() for value in (part, *part._parameters.values())}
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name.startswith("_"):  # torch's own
                continue
            if any(id(found) not in registered for found in _layers_within(value)):
                where = f"{path}.{name}" if path else name
                raise UsageError(
                    f"{_name(module)}: {where} is a plain {type(value).__name__} of layers or parameters, which torch "
                    "does not find there, so that nobody would fit them; use nn.ModuleList, nn.ModuleDict or "
                    "nn.ParameterList"
                )


def _layers_within(value: object) -> Iterator[object]:
    """Yield the modules, and the parameters that are not frozen, within nested plain containers."""
    if isinstance(value, nn.Module) or (isinstance(value, nn.Parameter) and value.requires_grad):
        yield value
    elif type(value) in (list, tuple, dict, set):
        container: Any = value
        for part in container.values() if isinstance(value, dict) else container:
            yield from _layers_within(part)


def _name(module: nn.Module) -> str:
    return type(module).__name__


def _same(one: Tensor, other: Tensor) -> bool:
    """Return whether tensors are the same, a NaN being the same as another."""
    return bool(((one == other) | ((one != one) & (other != other))).all())
