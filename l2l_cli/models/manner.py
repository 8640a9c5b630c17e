"""How a network has to be called, which is found out at its first call on inputs of each shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from l2l_cli.autodiff.chain import Chain, trained
from l2l_cli.autodiff.layer_traces import ObservedPass
from l2l_cli.autodiff.pure import Attributes, Habits, NetworkFunction, Watch, pure
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Params


class Calls(NamedTuple):
    """Functions that call a network for one episode or for all at once, and those that also observe its layers."""

    one: Chain
    side_by_side: Chain
    observe: Callable[[Params, Tensor, Params], ObservedPass]
    observe_side_by_side: Callable[[Params, Tensor, Params], ObservedPass]


class Manner(NamedTuple):
    """How a network has to be called.

    Attributes:
        in_turn: Whether episodes are computed one after another.
        draws: Whether a call draws random numbers.
        calls: The network as functions.
    """

    in_turn: bool
    draws: bool
    calls: Calls


def habits_of(module: nn.Module, parts: Sequence[nn.Module], params: Params, inputs: Tensor, recompute: bool) -> Habits:
    """Call a network for the first of E episodes, and return its habits.

    Args:
        module: The network.
        parts: Its segments, one after the other.
        params: Parameters (E, ...).
        inputs: Inputs (E, N, ...).
        recompute: Whether only the inputs of its segments may be kept in memory.

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
            f"{_name(module)}.forward returns a {type(outputs).__name__}, but a task's network must return one "
            "tensor; let it return the one from which the task's loss is computed"
        )
    if changed := [name for name, value in own.items() if not _same(value, params[name][0])]:
        raise UsageError(
            f"{_name(module)}.forward changes its parameter {changed[0]} in place, but only the learner may move "
            "parameters; compute with a changed copy, such as self.weight.clamp(min=0)"
        )
    if not outputs.requires_grad:
        raise UsageError(
            f"the outputs of {_name(module)} do not depend on any of its parameters that are to be fitted "
            f"({', '.join(own)}); leave .detach(), .item() and torch.no_grad() out of its forward"
        )
    return Habits(bool(watch.draws), bool(watch.fused), copies, remembers)


@torch.no_grad()
def _changes_inputs(parts: Sequence[nn.Module], params: Params, inputs: Tensor) -> bool:
    """Return whether a segment of a network changes its inputs in place."""
    for part in parts:
        kept = inputs.clone()
        outputs = pure(part)({name: params[name] for name in trained(part)}, inputs)
        if inputs.shape != kept.shape or not _same(inputs, kept):
            return True
        inputs = outputs
    return False


def accepts(side_by_side: NetworkFunction, params: Params, inputs: Tensor) -> bool:
    """Return whether a network can be called and differentiated for all episodes at once, given that it can for one."""
    with torch.enable_grad():
        at = {name: value.detach().requires_grad_() for name, value in params.items()}
        try:
            torch.autograd.grad(side_by_side(at, inputs).sum(), list(at.values()), allow_unused=True)
        except Exception:  # vmap has no list of what it refuses
            return False
    return True


def _name(module: nn.Module) -> str:
    return type(module).__name__


def _same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have equal values; NaNs count as equal."""
    return bool(((one == other) | ((one != one) & (other != other))).all())
