"""Names for what YAML and JSON hold; values are checked where they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from l2l_cli.core.reference import is_reference

Node = Mapping[str, Any]
"""A mapping that is only read, such as a node of a configuration with its ``_target_``."""

Entries = dict[str, Any]
"""A mapping that whoever holds it may change."""

CLASS_KEYS = ("optimizer", "others")
"""Keys of a node whose values are classes, where its class takes them, beside ``_target_``."""

REFERENCE_KEYS = ("model", "data", "loss")
"""Keys of a node whose values are names of objects, as in ``my_net:Net``, where its class takes them."""

TORCH_OPTIMIZERS = "torch.optim"
"""Module whose classes are a learner's optimizers without further ado: part of torch, as all that this program does."""


def classes_in(node: object) -> Iterator[str]:
    """Yield the dotted name of every class or other object that a node, or one within it, names."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name == "_target_" or (name in CLASS_KEYS and isinstance(value, str) and "." in value):
                yield str(value)
            elif name in REFERENCE_KEYS and is_reference(value):
                yield str(value).replace(":", ".")
            else:
                yield from classes_in(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from classes_in(value)
