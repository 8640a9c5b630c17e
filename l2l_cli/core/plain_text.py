"""JSON and YAML that anybody may have written, read as plain values of bounded size, without signs that a terminal obeys."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from l2l_cli.core.files import read_file

LARGEST_TEXT = 16 << 20
"""Bytes of a file of text."""

LARGEST_TREE = 200_000
"""Values of a YAML file, those counted again that it repeats by an alias."""

WIDEST = 128
"""Bits of a whole number."""

DEEPEST = 60
"""Levels of a YAML file, one inside the other."""

# Controls but for tab and newline, marks that turn the direction of writing, other ends of lines, halves of characters.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def printable(text: str) -> str:
    """Return text without the characters that a terminal obeys and no reader sees; tabs and newlines stay."""
    return _UNSEEN.sub("", text)


def in_one_line(error: object, longest: int = 200) -> str:
    """Return text, or what an error says, as one short printable line."""
    text = " ".join(printable(str(error)).split())
    return text if len(text) <= longest else f"{text[:longest]}…"


def read_text(path: Path) -> str:
    """Return the printable text of a file.

    Raises:
        UsageError: It is too large, or no file.
        OSError, ValueError: It cannot be read, or is no text.
    """
    return printable(read_file(path, LARGEST_TEXT).decode())


def parsed_json(text: str) -> object:
    """Return the values of a JSON text, all strings in it printable.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return _cleaned(json.loads(text))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parsed_yaml(text: str) -> object:
    """Return the values of a YAML text, all strings in it printable.

    Raises:
        ValueError: It is no YAML of plain values, has a key twice, or is too large or too deep when its aliases are
            expanded.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _measure(text, loader)
        return _cleaned(yaml.load(text, Loader=loader))
    except (yaml.YAMLError, RecursionError, TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error


def _measure(text: str, loader: Any) -> None:
    """Count the values of a YAML text, aliases expanded, before anything is built of them."""
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int, set[str] | None]] = []  # anchor, size before, keys of a mapping
    total, turn = 0, [0]
    for event in yaml.parse(text, Loader=loader):
        match event:
            case yaml.CollectionEndEvent():
                anchor, before, _ = open_.pop()
                turn.pop()
                if anchor:
                    sizes[anchor] = total - before
                continue
            case yaml.AliasEvent():
                if event.anchor not in sizes:
                    raise ValueError(f"the alias *{event.anchor} stands within itself, or for nothing")
                total += sizes[event.anchor]
            case yaml.NodeEvent():
                total += 1
            case _:
                continue
        _count_key(event, open_, turn)
        if total > LARGEST_TREE:
            raise ValueError(f"more than {LARGEST_TREE} values")
        if isinstance(event, yaml.ScalarEvent) and event.anchor:
            sizes[event.anchor] = 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, total - 1, set() if isinstance(event, yaml.MappingStartEvent) else None))
            turn.append(0)
            if len(open_) > DEEPEST:
                raise ValueError(f"more than {DEEPEST} levels deep")


def _count_key(event: Any, open_: list[tuple[str | None, int, set[str] | None]], turn: list[int]) -> None:
    """Note a key of the innermost mapping, in which keys and values take turns."""
    keys = open_[-1][2] if open_ else None
    if keys is not None and turn[-1] % 2 == 0 and isinstance(event, yaml.ScalarEvent):
        if event.value in keys:
            raise ValueError(f"the key {event.value!r} stands twice in one mapping")
        keys.add(event.value)
    turn[-1] += 1


def _cleaned(value: object) -> Any:
    """Return a value in which every string is printable.

    Raises:
        ValueError: It holds a number that nothing here can need, and that even a message could not show.
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
