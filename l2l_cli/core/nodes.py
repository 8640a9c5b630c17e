"""Names for what YAML and JSON hold; values are checked where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Node = Mapping[str, Any]
"""A mapping that is only read, such as a node of a configuration with its ``_target_``."""

Entries = dict[str, Any]
"""A mapping that whoever holds it may change."""
