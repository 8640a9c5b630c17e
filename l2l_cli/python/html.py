"""Display of results in a notebook: a headline, a table and figures, all within the cell."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

import pandas as pd

from l2l_cli.results.page.render import as_data
from l2l_cli.results.tables import are_numeric, cells_of

RIGHT = ' style="text-align: right"'


def page(title: str, lines: Iterable[str], frame: pd.DataFrame, figures: Iterable[Path] = ()) -> str:
    """Return an HTML fragment.

    Args:
        title: Title as one line of text.
        lines: Paragraphs of text.
        frame: Table.
        figures: PNG files of figures; an SVG of the same name is preferred.
    """
    said = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    drawn = "".join(
        f'<img src="{as_data(path)}" alt="{escape(path.stem)}" style="max-width: 100%">' for path in figures
    )
    return f"<div><p><b>{escape(title)}</b></p>{said}{table(frame)}{drawn}</div>"


def table(frame: pd.DataFrame) -> str:
    """Return a frame as an HTML table, with numbers formatted as in reports."""
    sides = [RIGHT if right else "" for right in are_numeric(frame).values()]
    head = "".join(f"<th{side}>{escape(str(name))}</th>" for name, side in zip(frame, sides, strict=True))
    rows = (
        "".join(f"<td{side}>{escape(cell)}</td>" for cell, side in zip(row, sides, strict=True))
        for row in cells_of(frame, None)
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
