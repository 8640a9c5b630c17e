"""JSON and YAML from untrusted sources, as plain values of bounded size without terminal control characters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from l2l_cli.core.files import read_file
from l2l_cli.core.printable import printable

LARGEST_TEXT = 16 << 20
"""Largest size of a text file in bytes."""

LARGEST_TREE = 200_000
"""Largest number of values in a YAML file, with aliases expanded."""

WIDEST = 128
"""Largest number of bits of an integer."""

DEEPEST = 60
"""Largest nesting depth of a YAML file."""


def in_one_line(error: object, longest: int = 200) -> str:
    """Return a text, or the message of an error, as one short printable line."""
    text = " ".join(printable(str(error)).split())
    return text if len(text) <= longest else f"{text[:longest]}…"


def read_text(path: Path) -> str:
    """Return the printable text of a file.

    Raises:
        UsageError: It is too large, or not a regular file.
        OSError, ValueError: It cannot be read, or is not UTF-8.
    """
    return printable(read_file(path, LARGEST_TEXT).decode())


def parsed_json(text: str) -> object:
    """Return the values of a JSON text, all strings in it printable.

    Raises:
        ValueError: The text is not valid JSON, is nested too deeply, or holds too large an integer.
    """
    try:
        return _cleaned(json.loads(text))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parsed_yaml(text: str) -> object:
    """Return the values of a YAML text, all strings in it printable.

    Raises:
        ValueError: The text is not YAML of plain values, has a duplicate key, or is too large or too deep with its
            aliases expanded.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        measure = _Measure()
        for event in yaml.parse(text, Loader=loader):
            measure.see(event)
        return _cleaned(yaml.load(text, Loader=loader))
    except (yaml.YAMLError, RecursionError, TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error


@dataclass
class _Level:
    """A collection being read: its anchor, the values before it, the keys of a mapping, and the number of items."""

    anchor: str | None
    before: int
    keys: set[str] | None
    items: int = 0


class _Measure:
    """Counts the values of a YAML text, with aliases expanded, before any object is built from them."""

    def __init__(self) -> None:
        self._total = 0
        self._sizes: dict[str, int] = {}
        self._levels: list[_Level] = []

    def see(self, event: Any) -> None:
        """Count the values that an event of the parser adds.

        Raises:
            ValueError: The text is too large or too deep, repeats a key, or has an invalid alias.
        """
        if isinstance(event, yaml.CollectionEndEvent):
            level = self._levels.pop()
            if level.anchor:
                self._sizes[level.anchor] = self._total - level.before
        elif isinstance(event, yaml.NodeEvent):
            self._count(event)
            if self._levels:
                self._as_item(event, self._levels[-1])
            if isinstance(event, yaml.CollectionStartEvent):
                keys: set[str] | None = set() if isinstance(event, yaml.MappingStartEvent) else None
                self._levels.append(_Level(event.anchor, self._total - 1, keys))
            if self._total > LARGEST_TREE or len(self._levels) > DEEPEST:
                raise ValueError(f"more than {LARGEST_TREE} values, or {DEEPEST} levels")

    def _count(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._sizes:
                raise ValueError(f"the alias *{event.anchor} refers to itself, or to nothing")
            self._total += self._sizes[event.anchor]
            return
        self._total += 1
        if isinstance(event, yaml.ScalarEvent) and event.anchor:
            self._sizes[event.anchor] = 1

    def _as_item(self, event: Any, level: _Level) -> None:
        """Count an item of a collection; in a mapping, keys and values alternate."""
        if level.keys is not None and level.items % 2 == 0 and isinstance(event, yaml.ScalarEvent):
            if event.value in level.keys:
                raise ValueError(f"the key {event.value!r} occurs twice in one mapping")
            level.keys.add(event.value)
        level.items += 1


def _cleaned(value: object) -> Any:
    """Return a value in which every string is printable.

    Raises:
        ValueError: It holds an integer of more than ``WIDEST`` bits, which even a message could not show.
    """
    match value:
        case str():
            return printable(value)
        case dict():
            return {_cleaned(key): _cleaned(entry) for key, entry in value.items()}
        case list():
            return [*map(_cleaned, value)]
        case int() if value.bit_length() > WIDEST:
            raise ValueError(f"a whole number of {value.bit_length()} bits")
    return value
