"""Ranges of numbers that a search draws from, each with its own stream of random numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """A range to draw from.

    Attributes:
        low: Lowest value
        high: Highest value
        stream: Label of its random numbers, which keeps them the same if the option is renamed
    """

    low: float
    high: float
    stream: str | int


def ranges_of(given: Mapping[str, object], where: str) -> dict[str, Range]:
    """Read ranges as they are configured, leaving out those that are null.

    Args:
        given: Range by option: [low, high], whose stream is its position in the mapping, or [low, high, stream]
        where: Key of the mapping in the configuration, for messages

    Raises:
        ValueError: A range has neither form, or its ends are not increasing numbers.
    """
    found = {}
    for position, (key, value) in enumerate(given.items()):
        if value is not None:
            match value:
                case [int() | float() as low, int() | float() as high, *label] if (
                    low < high < math.inf and len(label) < 2
                ):
                    found[str(key)] = Range(low, high, str(label[0]) if label else position)
                case _:
                    raise ValueError(f"{where} must give {key} as [low, high] with 0 < low < high, not {value}")
    return found


def rungs_of(given: Mapping[str, Any], where: str) -> list[tuple[int, int]]:
    """Read the rungs of successive halving as they are configured, each as (settings, episodes).

    Args:
        given: Lists of ``settings`` and ``episodes``, rung by rung
        where: Key of the mapping in the configuration, for messages

    Raises:
        ValueError: The lists are malformed, or settings increase or episodes decrease from rung to rung.
    """
    match given:
        case {"settings": [*settings], "episodes": [*episodes], **others} if (
            not others
            and 0 < len(settings) == len(episodes)
            and all(isinstance(one, int) and one > 0 for one in [*settings, *episodes])
            and (settings, episodes) == (sorted(settings, reverse=True), sorted(episodes))
        ):
            return list(zip(settings, episodes, strict=True))
    raise ValueError(
        f"{where} must give lists of settings and episodes, with fewer settings on more episodes from rung to rung, as "
        f"in {{settings: [32, 8, 2], episodes: [1, 4, 8]}}, not {dict(given)}"
    )


def shown(values: Mapping[str, float]) -> str:
    """Return drawn values as text, as in "optimizer.lr=0.00812"."""
    return ", ".join(f"{key}={value:.4g}" for key, value in values.items())


def at_least(low: int, **values: int | None) -> None:
    """Check that numbers are at least ``low``; keys are their names, with ``__`` for dots, and None is accepted.

    Raises:
        ValueError: One is smaller.
    """
    for name, value in values.items():
        if value is not None and value < low:
            raise ValueError(f"{name.replace('__', '.')} must be at least {low}, not {value}")
