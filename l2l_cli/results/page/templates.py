"""The page templates, and the style sheets and scripts that pages contain; no pandas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent


def environment(filters: Mapping[str, Callable[..., object]]) -> Environment:
    """Return Jinja's environment for the templates, with some filters; whatever is inserted is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= filters
    made.globals["static"] = static
    return made


@cache
def static(name: str) -> Markup:
    """Return a style sheet or script, ours or uPlot's, to be embedded in a page."""
    return Markup((HERE / "static" / name).read_text(encoding="utf-8"))
