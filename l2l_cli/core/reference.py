"""Objects of the user's that a configuration names, as in ``task.model=my_net:Net``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

GIVEN = "python"
"""Stands for the module of an object that has none: one that a program has given, as in "python:Net_1a2b3c4d"."""


class Reference(NamedTuple):
    """What a name "package.module:name" stands for: any object, as a class, a function or data."""

    name: str
    found: object


def is_reference(value: object) -> bool:
    """Say whether a value of a configuration reads like such a name."""
    return isinstance(value, str) and re.fullmatch(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*", value) is not None


_OBJECTS: dict[str, object] = {}
"""What a program has given, by the whole name, while a command is carried out for it."""


@contextmanager
def giving(objects: Mapping[str, object]) -> Iterator[None]:
    """Let names of ``GIVEN`` stand for a program's own objects."""
    before = dict(_OBJECTS)
    _OBJECTS.update(objects)
    try:
        yield
    finally:
        _OBJECTS.clear()
        _OBJECTS.update(before)


def given(name: str) -> object:
    """Return an object that a program has given.

    Raises:
        KeyError: It has given none of that name, or not now.
    """
    return _OBJECTS[name]
