"""A search for what a module keeps where torch, training and checkpoints do not find it."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from l2l_cli.meta.contracts.refusal import is_foreign, refuse

_OWN = frozenset(vars(nn.Module()))
"""Attributes that every module has."""

DEEPEST = 5
"""Largest depth of nested containers that is searched."""


def check_nothing_hidden(module: nn.Module, besides: tuple[str, ...] = ()) -> None:
    """Check that all modules and parameters within a module are registered with it.

    Args:
        module: Module that is searched, with all modules within it.
        besides: Attributes that are left out.

    Raises:
        ContractError: A module, parameter or tensor that requires gradients lies in a plain container or object.
    """
    for name, value in module.named_parameters():
        if isinstance(value, nn.parameter.UninitializedParameter):
            owner = next((part for part in module.modules() if is_foreign(part)), module)
            refuse(owner, "__init__", f"has no shape for {name} yet", "use nn.Linear in place of nn.LazyLinear")
    known = {id(value) for value in (*module.modules(), *module.parameters())}
    seen: set[int] = set()
    for part in module.modules():
        for name, value in vars(part).items():
            if name in _OWN or name in besides:
                continue
            for path, found in _unregistered(value, f"self.{name}", known, seen):
                what = "a module" if isinstance(found, nn.Module) else "a parameter"
                cure = "hold modules in nn.ModuleList or nn.ModuleDict, parameters in nn.ParameterList"
                if isinstance(found, Tensor) and not isinstance(found, nn.Parameter):
                    what, cure = "a tensor with requires_grad", "make it an nn.Parameter"
                problem = f"keeps {what} in {path}, where it is neither trained nor saved"
                refuse(part, "__init__", problem, cure)


def _unregistered(
    value: object, path: str, known: set[int], seen: set[int], depth: int = 0
) -> Iterator[tuple[str, object]]:
    """Yield the modules, parameters and tensors with gradients that are not known, each with the path to it."""
    if isinstance(value, nn.Module | Tensor):
        if id(value) not in known and (not isinstance(value, Tensor) or (value.requires_grad and value.is_leaf)):
            yield path, value
        return
    if id(value) in seen or depth > DEEPEST:
        return
    seen.add(id(value))
    inside: Mapping[Any, object] = {}
    if isinstance(value, Mapping):
        inside = value
    elif isinstance(value, list | tuple | set | frozenset):
        inside = dict(enumerate(value))
    elif inspect.isfunction(value):
        inside = inspect.getclosurevars(value).nonlocals
    elif is_foreign(value):
        yield from (
            found
            for name, one in getattr(value, "__dict__", {}).items()
            for found in _unregistered(one, f"{path}.{name}", known, seen, depth + 1)
        )
    for key, one in inside.items():
        yield from _unregistered(one, f"{path}[{key!r}]", known, seen, depth + 1)


def attributes_of(module: nn.Module) -> dict[str, object]:
    """Return all tensors within a module and all attributes of users' modules, in a form that can be compared."""
    found: dict[str, object] = {}
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        values: dict[str, object] = {**part._parameters, **part._buffers}
        if is_foreign(part):
            values |= {name: value for name, value in vars(part).items() if _counts(type(part), name)}
        found |= {f"{prefix}{name}": _comparable(value) for name, value in values.items()}
    return found


def _counts(kind: type, name: str) -> bool:
    return name not in _OWN and name != "task" and not isinstance(getattr(kind, name, None), cached_property)


def _comparable(value: object) -> object:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        case np.ndarray():
            return value.tobytes()
        case torch.Generator():
            return value.get_state().numpy().tobytes()
        case np.random.Generator():
            return str(value.bit_generator.state)
        case random.Random():
            return value.getstate()
        case Mapping():
            return {str(key): _comparable(one) for key, one in value.items()}
        case list() | tuple():
            return [_comparable(one) for one in value]
        case set() | frozenset():
            return len(value)
    return None


def changed_attributes(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Return the names of the attributes that are new or differ from before."""
    return [name for name, value in after.items() if name not in before or before[name] != value]
