"""Figures as files: the same bytes for the same figure, and its panels as charts."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from matplotlib.axis import Axis
from matplotlib.category import StrCategoryFormatter
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from l2l_cli.core.files import atomic_write, make_folder
from l2l_cli.results import content
from l2l_cli.results.charts import charts_of
from l2l_cli.results.ticks import finish

DPI = 150
"""Dots per inch of a figure's PNG."""

FORMATS: Mapping[str, Mapping[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}
"""Formats in which every figure is written, each without the metadata that depend on the date and the software."""


def saved(figure: Figure, path: Path, caption: str) -> content.Figure:
    """Write a figure with ``save``, and return it with its panels as charts."""
    written = save(figure, path)
    return content.Figure(written[0], caption, charts_of(figure))


def save(figure: Figure, path: Path) -> list[Path]:
    """Write ``path``.png, .pdf and .svg, the same bytes for the same figure."""
    make_folder(path.parent)
    finish(figure)
    _wrap_titles(figure)
    _take_literally(figure)
    written = []
    figure.set_dpi(DPI)
    if (layout := figure.get_layout_engine()) is not None:  # as slow as all the drawing, so done once for all files
        layout.execute(figure)
        figure.set_layout_engine("none")
    for kind, metadata in FORMATS.items():
        target = path.with_name(f"{path.name}.{kind}")  # a name may hold a dot, as in "lr0.1"
        drawn = io.BytesIO()
        figure.savefig(drawn, format=kind, dpi=DPI, metadata=dict(metadata))
        atomic_write(target, _shortened(drawn.getvalue().decode()) if kind == "svg" else drawn.getvalue())
        written.append(target)
    return written


_DECIMAL = re.compile(r"\d+\.\d{2,}")

_PATH = re.compile(r'd="([ML\d.\s-]{80,}z?\s*)"')
"""A long path of straight lines."""

_CORNER = re.compile(r"([ML]) (-?[\d.]+) (-?[\d.]+)")

WITHIN, LETTER = 0.82, 0.56
"""Share of a panel's width that its axes take; mean width of a letter, as a multiple of its font size."""

CLOSE = 3
"""Tenths of a point, in either direction, by which a vertex must differ from the last one to be kept."""


def _relative(path: str) -> str:
    """Write a path in relative coordinates, without the vertices that nobody can tell apart."""
    written, last = list[str](), (0, 0)
    corners = _CORNER.findall(path)
    for index, (kind, *place) in enumerate(corners):
        x, y = (round(10 * float(value)) for value in place)
        ends = index + 1 == len(corners) or corners[index + 1][0] == "M"
        if kind == "M":
            written.append(f"M{x / 10:g} {y / 10:g}l")
        elif not ends and abs(x - last[0]) < CLOSE and abs(y - last[1]) < CLOSE:
            continue
        else:
            written.append(f"{(x - last[0]) / 10:g} {(y - last[1]) / 10:g} ")
        last = x, y
    return "".join(written).strip().removesuffix("l") + ("z" if path.rstrip().endswith("z") else "")


def _shortened(drawing: str) -> str:
    """Shorten the numbers in an SVG, and add a fallback font with the same widths as ours."""
    # Only within tags: what stands between them is text that a reader sees.
    short = re.sub(r"<[^>]*>", lambda tag: _DECIMAL.sub(_to_a_tenth, tag[0]), drawing)
    short = _PATH.sub(lambda path: f'd="{_relative(path[1])}"', short)
    return short.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


def _to_a_tenth(number: re.Match[str]) -> str:
    """Round a number to a tenth of a point, or to a hundredth if it is below 1."""
    value = float(number[0])
    return f"{value:.{2 if value < 1 else 1}f}".rstrip("0").rstrip(".")


def _wrap_titles(figure: Figure) -> None:
    """Wrap titles that are wider than their panels, which would run into the titles of the neighbours."""
    for axes in figure.axes:
        place, title = axes.get_subplotspec(), axes.get_title(loc="left")
        if place is None or not title:
            continue
        share = len(place.colspan) / place.get_gridspec().ncols
        for text in axes.get_children():
            if isinstance(text, Text) and text.get_text() == title:
                room = int(figure.get_figwidth() * 72 * share * WITHIN / (float(text.get_fontsize()) * LETTER))
                text.set_text("\n".join(textwrap.wrap(title, max(room, 8))))


def _take_literally(figure: Figure) -> None:
    """Draw names literally: text between two dollar signs would be read as a formula."""
    named = [*figure.texts, *chain(*(legend.get_texts() for legend in figure.legends))]
    for child in chain(*(axes.get_children() for axes in figure.axes)):
        if not isinstance(child, Axis):
            named += child.findobj(Text)
            continue
        named.append(child.label)
        if isinstance(
            child.get_major_formatter(), FixedFormatter | FuncFormatter | StrCategoryFormatter
        ):  # other formatters write powers as formulas
            named += child.get_ticklabels()
    for text in named:
        text.set_parse_math(False)
