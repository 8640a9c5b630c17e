"""Update rules as torch optimizers, for training loops outside this project.

A rule's memory is kept in ``state`` under the number of the group, as plain tensors by name, so that ``state_dict`` can
be saved by ``torch.save`` and read with ``weights_only=True``.  To the rule, the training is a single episode.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.nodes import Entries
from l2l_cli.core.tree import flatten, unflatten
from l2l_cli.core.types import Params
from l2l_cli.optimizers.base import Optimizer
from l2l_cli.optimizers.schedule import at_rate, rate_of

OPTIONS = ("lr", "horizon")
"""Options of a group of parameters."""

OF_TORCH = ("params", "param_names", "initial_lr")
"""Entries of a group that torch and its schedulers add."""

HALF = (torch.float16, torch.bfloat16)
"""Types of parameters that are moved in float32, after which the result is rounded once."""

Given = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
"""Parameters, groups of them, or named ones, as torch optimizers accept them."""


class Part(NamedTuple):
    """The parameters of a group that entered the training together, which the rule treats as a separate network.

    Attributes:
        key: Numbers of the group and of the part within it, under which its memory is kept.
        group: Their group.
        params: The parameters by name, in the order of the group.
    """

    key: tuple[int, int]
    group: Entries
    params: dict[str, Tensor]

    @property
    def device(self) -> torch.device:
        """The device of all of them."""
        return next(iter(self.params.values())).device


class TorchForm(torch.optim.Optimizer):
    """An update rule as a torch optimizer.

    Options of a group are ``lr`` and ``horizon``.  ``lr`` is the rule's own learning rate where it has one, as
    hand-made rules do, and otherwise a factor on the displacement, by default 1; schedulers change either.
    ``horizon`` is the number of steps that the training will have, for rules that plan for the end; others ignore it.

    Args:
        params: Parameters or groups of them.
        rule: The rule.
        lr: Learning rate, or factor on the displacement; None takes the rule's own rate, or 1.
        horizon: Number of steps of the training.

    Raises:
        UsageError: A group has an option that rules do not have, a horizon is missing, or a parameter is of a type that
            rules do not move.
    """

    def __init__(
        self, params: Given, rule: Optimizer[Any], lr: float | None = None, horizon: int | None = None
    ) -> None:
        own = rate_of(rule)
        self.rule = rule
        self._places: dict[torch.device, Optimizer[Any]] = {}
        self._live: dict[tuple[int, int], tuple[dict[str, Tensor], torch.device, Any]] = {}
        super().__init__(params, {"lr": (1.0 if own is None else own) if lr is None else lr, "horizon": horizon})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, which the rule treats as a separate network.

        Raises:
            UsageError: See the class.
        """
        for name in param_group:
            if name not in (*OPTIONS, *OF_TORCH):
                raise UsageError(
                    f"{type(self.rule).__name__} has no option {name!r} for a group{did_you_mean(name, OPTIONS)} (it "
                    f"has {', '.join(OPTIONS)})"
                )
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            self._see_that_it_is_moved(group)
        except UsageError:
            self.param_groups.pop()
            raise

    def _see_that_it_is_moved(self, group: Entries) -> None:
        name, horizon = type(self.rule).__name__, group["horizon"]
        if self.rule.is_told and (not isinstance(horizon, int) or horizon < 1):
            raise UsageError(
                f"{name} plans for the end of the training; say how many steps it has, as in horizon=1000, not "
                f"{horizon!r}"
            )
        for value in group["params"]:
            if not value.is_floating_point() and value.requires_grad:
                raise UsageError(f"{name} moves no parameters of type {value.dtype}; use real ones")

    def state_bytes(self) -> int:
        """Return the size of the rule's memory in bytes."""
        return sum(value.numel() * value.element_size() for value in self._remembered())

    def _remembered(self) -> Iterable[Tensor]:
        for kept in self.state.values():
            for part in kept["parts"]:
                yield from part["memory"].values()

    def _kept(self, index: int) -> list[Entries]:
        """Return what is kept for each part of a group: the places of its parameters in the group, and its memory."""
        state: dict[Any, Any] = self.state
        return [*state.get(_key(index), {"parts": ()})["parts"]]

    def _keep(self, index: int, parts: list[Entries]) -> None:
        """Replace the parts of a group."""
        state: dict[Any, Any] = self.state  # torch saves entries whose keys are not parameters as they are
        state[_key(index)] = {"parts": parts}

    def _parts(self, index: int, group: Entries) -> list[Part]:
        """Return the parts of a group, after beginning one for new parameters if any of these has a gradient."""
        kept = self._kept(index)
        known = {place for part in kept for place in part["places"]}
        new = [k for k, value in enumerate(group["params"]) if value.requires_grad and k not in known]
        if any(group["params"][k].grad is not None for k in new):
            for device in dict.fromkeys(group["params"][k].device for k in new):
                places = [k for k in new if group["params"][k].device == device]
                kept = [*kept, {"places": places, "memory": {}}]
            self._keep(index, kept)
        return [
            Part((index, number), group, {str(k): group["params"][k] for k in part["places"]})
            for number, part in enumerate(kept)
        ]

    def _memory(self, part: Part) -> object:
        """Return the rule's memory for a part.

        Raises:
            UsageError: The loaded state does not belong to this rule and these parameters.
        """
        device = part.device
        kept = self._kept(part.key[0])[part.key[1]]["memory"]
        flat, place, memory = self._live.get(part.key, ({}, device, None))
        if memory is not None and flat is kept and place == device:
            return memory
        begun = self._rule(device).begin(shown(part.params), part.group["horizon"] or 0)
        if not kept:
            return begun
        wanted = {name: value.shape for name, value in flatten(begun).items()}
        if wanted != {name: value.shape for name, value in kept.items()}:
            raise UsageError(
                f"the loaded state is not that of {type(self.rule).__name__} on these parameters; load the state "
                "of an optimizer that was made by the same run for a network of the same shapes"
            )
        return unflatten(begun, kept)

    def _remember(self, part: Part, memory: object) -> None:
        (index, number), kept = part.key, flatten(memory)
        parts = self._kept(index)
        parts[number] = parts[number] | {"memory": kept}
        self._keep(index, parts)
        self._live[part.key] = kept, part.device, memory

    def _rule(self, device: torch.device, rate: float | None = None) -> Optimizer[Any]:
        """Return the rule on a device, at a learning rate if it has one."""
        if device.type == "cpu":
            rule = self.rule
        else:
            rule = self._places.setdefault(device, copy.deepcopy(self.rule).to(device))
        return rule if rate is None or rate_of(rule) is None else at_rate(rule, rate)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the memory, since later steps may overwrite the original, and of the groups' options."""
        found = super().state_dict()
        return {**found, "state": copy.deepcopy(found["state"])}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a copy of what ``state_dict`` returned."""
        super().load_state_dict(copy.deepcopy(dict(state_dict)))

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled, which includes the rule."""
        return {**super().__getstate__(), "rule": self.rule}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was pickled or loaded; memories are then read from ``state``."""
        self._live, self._places = {}, {}
        super().__setstate__(state)


def _key(index: int) -> str:
    return f"group {index}"


def shown(params: Mapping[str, Tensor]) -> Params:
    """Return tensors as parameters (1, ...), with those of half precision as float32."""
    return {
        name: (value.detach().float() if value.dtype in HALF else value.detach()).unsqueeze(0)
        for name, value in params.items()
    }


@torch.no_grad()
def moved(params: Mapping[str, Tensor], after: Params, factor: float = 1.0) -> None:
    """Move parameters in place to where a rule has moved them (1, ...), or by a multiple of that displacement."""
    targets = [after[name].view_as(value) for name, value in params.items()]
    if factor != 1.0:
        at = [value[0] for value in shown(params).values()]
        targets = [one.to(other.dtype).lerp(other, factor) for one, other in zip(at, targets, strict=True)]
    if targets:
        torch._foreach_copy_([*params.values()], targets)
