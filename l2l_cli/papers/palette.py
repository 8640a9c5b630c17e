"""Line properties by contender, in every figure of every paper: by what a row is, never by what it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l2l_cli.config.schema import Row
from l2l_cli.results.plot import COLOURS, LIMIT, STROKES

Style = Mapping[str, Any]
"""Properties of a line, as Matplotlib takes them."""

LEARNED, OURS = COLOURS[0], COLOURS[7]
"""Colours of the paper's learned rows, and of those that are ours."""

RIVALS = COLOURS[1:7]

LIMIT_STYLE: Style = {"color": LIMIT, "linestyle": (0, (4, 2)), "zorder": 3}
"""Line of the best that is possible."""


def styles_of(rows: Mapping[str, Row], origin: Mapping[str, str]) -> dict[str, Style]:
    """Return line properties by contender.

    The paper's learned rows are blue, ours black, limits grey and dashed; all others take the other colours in their
    order, those of one group the same, and so do learned rows of another group than the paper's first.  What shares a
    colour is told apart by the stroke.

    Args:
        rows: What the row of each contender says of itself.
        origin: Name of the row of each contender; what one row was measured as in several ways shares its colour.
    """
    colours: dict[str, str] = {}
    strokes: dict[str, int] = {}
    styles: dict[str, Style] = {}
    first = next((row.group for row in rows.values() if row.role == "learned" and not row.ours), "")
    for name, row in rows.items():
        if row.role == "limit":
            styles[name] = LIMIT_STYLE
            continue
        learned = row.role == "learned"
        family = row.group or origin[name]
        colour = OURS if learned and row.ours else LEARNED if learned and row.group == first else colours.get(family)
        if colour is None:
            colour = RIVALS[len(colours) % len(RIVALS)]
            colours[family] = colour
        index = strokes.get(colour, 0)
        strokes[colour] = index + 1
        styles[name] = {"color": colour, "linestyle": STROKES[index % len(STROKES)], "zorder": 4 if learned else 2}
    return styles
