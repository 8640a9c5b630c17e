"""YAML files written by users: errors are reported in one line, with the file's name and the line number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries


class _Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A loader that refuses duplicate keys, as Hydra does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping, after checking that its keys are distinct."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} occurs twice", key.start_mark
                    )
                seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def read_yaml(path: Path) -> tuple[Entries, str]:
    """Return the entries of a file, none if it is empty, and its text.

    Raises:
        UsageError: It is not a mapping in valid YAML and UTF-8; the message gives the line.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file in UTF-8"
        ) from error
    try:
        found = yaml.load(text, Loader=_Strict)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError is raised for dates that do not exist
        raise UsageError(f"{path}{_described(error)}") from error
    if found is None:
        return {}, text
    if not isinstance(found, dict):
        raise UsageError(f"{path}: it must hold keys with values, as in `horizon: 100`, not a {_kind(found)}")
    return found, text


def _described(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    problem = " ".join(str(problem).split())
    if "'\\t'" in problem or "tab character" in problem:
        return f"{place}: a tab, where YAML allows only spaces; indent with spaces"
    return f"{place}: {problem}"


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else "text" if isinstance(value, str) else type(value).__name__
