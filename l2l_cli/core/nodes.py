"""Types of what YAML and JSON hold; values are checked where they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from l2l_cli.core.reference import is_reference

Node = Mapping[str, Any]
"""A mapping that is only read, such as a node of a configuration with its ``_target_``."""

Entries = dict[str, Any]
"""A mapping that its holder may change."""

CLASS_KEYS = ("optimizer", "others")
"""Keys of a node, besides ``_target_``, whose values name classes, if the node's own class takes them."""

REFERENCE_KEYS = ("model", "data", "loss")
"""Keys of a node whose values name objects, as in ``my_net:Net``, if the node's own class takes them."""

TORCH_OPTIMIZERS = "torch.optim"
"""Module whose classes may be a learner's optimizers without being trusted explicitly: torch is trusted anyway."""


def classes_in(node: object) -> Iterator[str]:
    """Yield the dotted name of every class or other object that a node names, at any depth."""
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
