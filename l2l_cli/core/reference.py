"""Objects of the user's that a configuration names, as in ``task.model=my_net:Net``."""

from __future__ import annotations

import re
from typing import NamedTuple


class Reference(NamedTuple):
    """What a name "package.module:name" stands for: any object, as a class, a function or data."""

    name: str
    found: object


def is_reference(value: object) -> bool:
    """Say whether a value of a configuration reads like such a name."""
    return isinstance(value, str) and re.fullmatch(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*", value) is not None
