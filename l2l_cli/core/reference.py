"""Objects of the user that a configuration names, as in ``task.model=my_net:Net``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

GIVEN = "python"
"""Replaces the module in the name of an object that a program has passed in, as in "python:Net_1a2b3c4d"."""


class Reference(NamedTuple):
    """An object named as "package.module:name": a class, a function, data or anything else."""

    name: str
    found: object


def is_reference(value: object) -> bool:
    """Return whether a value of a configuration has the form of such a name."""
    return isinstance(value, str) and re.fullmatch(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*", value) is not None


_OBJECTS: dict[str, object] = {}
"""Objects that a program has passed in, by their full names, while a command runs on its behalf."""


@contextmanager
def giving(objects: Mapping[str, object]) -> Iterator[None]:
    """Let names in ``GIVEN`` refer to a program's own objects within the block."""
    before = dict(_OBJECTS)
    _OBJECTS.update(objects)
    try:
        yield
    finally:
        _OBJECTS.clear()
        _OBJECTS.update(before)


def given(name: str) -> object:
    """Return an object that a program has passed in.

    Raises:
        KeyError: There is no object of that name at present.
    """
    return _OBJECTS[name]
