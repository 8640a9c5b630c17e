"""Checks that a network's parameters can be fitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from l2l_cli.core.errors import UsageError

DTYPES = (torch.float32, torch.float64)
"""The types of parameters that can be fitted."""


def check(module: nn.Module, fitted: Mapping[str, nn.Parameter]) -> None:
    """Refuse a network whose parameters cannot be fitted.

    Args:
        module: The network.
        fitted: Its parameters that are to be fitted.

    Raises:
        UsageError: Parameters have no values yet, a type other than float32 and float64, or different types; a layer
            has sparse gradients, is compiled by torch.jit, or is in a plain list, where torch does not find it.
    """
    name = type(module).__name__
    for parameter, value in module.named_parameters():
        if nn.parameter.is_lazy(value):
            raise UsageError(
                f"{name} has no values for {parameter} yet, as it is lazy; call it once on an example first"
            )
    _check_types(name, fitted)
    registered = {id(value) for part in module.modules() for value in (part, *part._parameters.values())}
    for path, part in module.named_modules():
        where = f"{path or 'the network itself'} ({type(part).__name__})"
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.sparse and part.weight.requires_grad:
            raise UsageError(f"{where} has sparse gradients, which no rule takes; make it with sparse=False")
        if isinstance(part, torch.jit.ScriptModule):
            raise UsageError(f"{where} is compiled by torch.jit, and its parameters are fixed; give the module itself")
        for attribute, value in vars(part).items():
            own = () if attribute.startswith("_") else _layers_within(value)  # attributes of torch itself
            if any(id(found) not in registered for found in own):
                raise UsageError(
                    f"{name}: {f'{path}.{attribute}' if path else attribute} is a plain {type(value).__name__} of "
                    "layers or parameters, which torch does not find there, so they would never be fitted; use "
                    "nn.ModuleList, nn.ModuleDict or nn.ParameterList"
                )


def _check_types(name: str, fitted: Mapping[str, nn.Parameter]) -> None:
    """Refuse types that cannot be fitted."""
    types = {value.dtype: parameter for parameter, value in reversed(list(fitted.items()))}  # the first name of each
    for dtype, parameter in types.items():
        if dtype not in DTYPES or len(types) > 1:
            others = "".join(f", and {other} {kind}" for kind, other in types.items() if kind != dtype)
            raise UsageError(
                f"{name}: parameter {parameter} is {dtype}{others}; fitted parameters must be all float32 or all "
                "float64: call .float() or .double() on the network, or freeze the others with requires_grad_(False)"
            )


def _layers_within(value: object) -> Iterator[object]:
    """Yield the modules, and the parameters that are not frozen, within nested plain containers."""
    if isinstance(value, nn.Module) or (isinstance(value, nn.Parameter) and value.requires_grad):
        yield value
    elif type(value) in (list, tuple, dict, set):
        container: Any = value
        for part in container.values() if isinstance(value, dict) else container:
            yield from _layers_within(part)
