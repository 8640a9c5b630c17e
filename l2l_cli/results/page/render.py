"""Reports as HTML pages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup

from l2l_cli.core.files import read_file
from l2l_cli.results.content import ABOUT, Chart, Curve, Figure, Report, Section
from l2l_cli.results.page.frames import page_claims, page_table
from l2l_cli.results.page.prose import block, inline
from l2l_cli.results.page.templates import environment

if TYPE_CHECKING:
    from jinja2 import Environment

SHOWN = 4
"""Significant digits of the points of a chart."""

SLIM = 4
"""Largest number of columns of a first table that leaves room for a figure beside it."""

LARGEST = 1_500_000
"""Characters of a page above which charts within details link to their still images instead of containing them."""


@cache
def _environment() -> Environment:
    filters: dict[str, Callable[..., object]] = {
        "block": block,
        "inline": inline,
        "table": page_table,
        "claims": page_claims,
        "charts": _charts,
        "still": _still,
        "anchor": anchor,
    }
    return environment(filters)


def report_page(report: Report) -> str:
    """Return a report as one page with its figures inside."""
    shown = list(report.sections)
    figures = [figure for section in shown for figure in section.figures]
    lead = report.lead.figure if report.lead else None
    has_charts = any(figure.charts for figure in [*figures, *([lead] if lead else [])])
    content = {"report": report, "groups": _groups(shown), "has_charts": has_charts, "slim": SLIM}
    template = _environment().get_template("report.html")
    whole = template.render(content, lean=False)
    return whole if len(whole) <= LARGEST else template.render(content, lean=True)


def is_head(section: Section) -> bool:
    """Return whether a section is listed in the contents: it answers a question, or belongs to no artefact."""
    return bool(section.question) or section.part in ("", ABOUT)


def _groups(sections: Sequence[Section]) -> list[tuple[str, list[tuple[Section, list[Section]]]]]:
    """Return the sections by part, each with its details."""
    groups: list[tuple[str, list[tuple[Section, list[Section]]]]] = []
    for section in sections:
        if not groups or groups[-1][0] != section.part:
            groups.append((section.part, []))
        entries = groups[-1][1]
        if entries and not is_head(section):
            entries[-1][1].append(section)
        else:
            entries.append((section, []))
    return groups


def anchor(title: str) -> str:
    """Return the anchor of a heading, for links to it."""
    return re.sub(r"\W+", "-", title.lower()).strip("-") or "part"


def _still(figure: Figure) -> str:
    return as_data(figure.path)


def as_data(path: Path) -> str:
    """Return a figure, given its PNG file, as a data URL: of the SVG beside it, or of the PNG if there is none."""
    drawn = path.with_suffix(".svg")
    if drawn.is_file():
        text = " ".join(read_file(drawn).decode().split())  # a URL loses its line breaks
        return "data:image/svg+xml," + quote(text, safe=" !$&'()*+,-./:;=?@[]_~")
    import base64

    return "data:image/png;base64," + base64.b64encode(read_file(path)).decode()


def _charts(figure: Figure) -> Markup:
    """Return a figure's charts as JSON that is safe inside a page."""
    text = json.dumps([_chart(chart) for chart in figure.charts], separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _chart(chart: Chart) -> dict[str, object]:
    """Return a chart's fields; each curve refers by index to a list of positions, which most curves share."""
    places = [_short(curve.x) for curve in chart.curves]
    shared = [place for index, place in enumerate(places) if place not in places[:index]]
    curves = [_curve(curve, shared.index(place)) for curve, place in zip(chart.curves, places, strict=True)]
    numbers = {name: _short(getattr(chart, name)) for name in ("range_x", "range_y", "across", "level")}
    return chart._asdict() | numbers | {"places": shared, "curves": curves}


def _curve(curve: Curve, place: int) -> dict[str, object]:
    numbers = {name: _short(getattr(curve, name)) for name in ("y", "low", "high")}
    fields = {name: value for name, value in (curve._asdict() | numbers).items() if value not in ([], (), "")}
    return fields | {"x": place}


def _short(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None or not math.isfinite(value) else float(f"{value:.{SHOWN}g}") for value in values]
