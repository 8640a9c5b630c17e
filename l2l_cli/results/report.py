"""Reports: one content, as Markdown, as a self-contained HTML page, and as tables in the terminal."""

from __future__ import annotations

import base64
import html
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.table import Table

from l2l_cli.results.frame import Result
from l2l_cli.results.run import atomic_write

VERDICT_STYLE = {"better": "green", "reproduced": "green", "worse": "red", "differs": "yellow", "not run": "dim"}


@dataclass(frozen=True)
class Figure:
    """A picture, by its file under the report's folder, and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then tables, then figures."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[pd.DataFrame] = ()
    figures: Sequence[Figure] = ()


@dataclass(frozen=True)
class Report:
    """A title, opening paragraphs and sections."""

    title: str
    opening: Sequence[str]
    sections: Sequence[Section] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write report.md and report.html."""
        atomic_write(folder / "report.md", self.markdown(folder))
        atomic_write(folder / "report.html", self.html(folder))

    def markdown(self, folder: Path) -> str:
        """Return the report as Markdown, figures linked relative to ``folder``."""
        parts = [f"# {self.title}", *self.opening]
        for section in self.sections:
            parts += [f"## {section.title}", *section.text, *map(markdown_table, section.tables)]
            for figure in section.figures:
                link = figure.path.relative_to(folder).as_posix()
                parts.append(f"![{figure.caption}]({link})\n\n*{figure.caption}*")
        return "\n\n".join(parts) + "\n"

    def html(self, folder: Path) -> str:
        """Return the report as one HTML page with its figures inside."""
        del folder
        parts = [f"<h1>{html.escape(self.title)}</h1>", *map(_paragraph, self.opening)]
        for section in self.sections:
            parts += [f"<h2>{html.escape(section.title)}</h2>", *map(_paragraph, section.text)]
            parts += [_html_table(table) for table in section.tables]
            for figure in section.figures:
                data = base64.b64encode(figure.path.with_suffix(".png").read_bytes()).decode()
                caption = html.escape(figure.caption)
                parts.append(
                    f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
                    f"<figcaption>{caption}</figcaption></figure>"
                )
        return _PAGE.format(title=html.escape(self.title), body="\n".join(parts))


def number(value: object) -> str:
    """Format a whole number as such, another with three significant digits, and anything else as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:#.3g}".rstrip(".") if 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"


def results_table(results: Sequence[Result]) -> pd.DataFrame:
    """Return results as the table that a reader sees."""
    return pd.DataFrame(
        [
            {
                "artefact": result.artefact,
                "row": result.row,
                "metric": result.metric,
                "paper": number(result.paper),
                "ours": _ours(result),
                "seeds": result.seeds,
                "limit": number(result.limit),
                "ours ÷ limit": number(result.ratio_to_limit),
                "verdict": result.verdict,
                "note": result.note,
            }
            for result in results
        ]
    )


def terminal_table(results: Sequence[Result], title: str) -> Table:
    """Return results as a rich table, notes left to the report."""
    table = Table(title=title, title_justify="left", header_style="bold")
    frame = results_table(results).drop(columns="note")
    for column in frame.columns:
        table.add_column(column, justify="left" if column in ("artefact", "row", "metric", "verdict") else "right")
    for row in frame.itertuples(index=False):
        *cells, verdict = map(str, row)
        style = VERDICT_STYLE.get(verdict)
        table.add_row(*cells, f"[{style}]{verdict}[/]" if style else verdict)
    return table


def frame_table(frame: pd.DataFrame, title: str) -> Table:
    """Return any frame as a rich table."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column, kind in frame.dtypes.items():
        table.add_column(str(column), justify="right" if pd.api.types.is_numeric_dtype(kind) else "left")
    for row in frame.itertuples(index=False):
        table.add_row(*map(number, row))
    return table


def verdict_line(results: Sequence[Result]) -> str:
    """Count the verdicts: "14 numbers: 9 better, 3 reproduced"."""
    counts = Counter(result.verdict for result in results if result.verdict)
    judged = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    return f"{sum(counts.values())} published numbers: {judged}" if counts else "no published number"


def markdown_table(frame: pd.DataFrame) -> str:
    """Return a frame as an aligned Markdown table, pipes escaped."""
    header = [str(column) for column in frame.columns]
    rows = [[number(cell).replace("|", "\\|") for cell in row] for row in frame.itertuples(index=False)]
    widths = [max(3, *(len(row[index]) for row in [header, *rows])) for index in range(len(header))]
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def _ours(result: Result) -> str:
    spread = f" ± {number(result.sd)}" if result.sd is not None else ""
    return number(result.ours) + spread


def _paragraph(text: str) -> str:
    """Turn one paragraph of our Markdown into HTML: lists, *emphasis* and `code`."""
    if text.startswith("* "):
        items = (f"<li>{_inline(item)}</li>" for item in text.removeprefix("* ").split("\n* "))
        return "<ul>" + "".join(items) + "</ul>"
    return f"<p>{_inline(text)}</p>"


def _inline(text: str) -> str:
    escaped = html.escape(text)
    for mark, tag in (("**", "strong"), ("*", "em"), ("`", "code")):
        pieces = escaped.split(mark)
        if len(pieces) % 2:
            escaped = pieces[0] + "".join(
                f"<{tag}>{piece}</{tag}>" if index % 2 else piece for index, piece in enumerate(pieces[1:], start=1)
            )
    return escaped


def _html_table(frame: pd.DataFrame) -> str:
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(number(cell))}</td>" for cell in row) + "</tr>"
        for row in frame.itertuples(index=False)
    )
    return f"<div class=table><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1, h2 {{ line-height: 1.2; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.85rem; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); }}
figure {{ margin: 1.5rem 0; }}
img {{ max-width: 100%; background: white; }}
figcaption {{ font-size: 0.85rem; opacity: 0.8; }}
</style></head><body>
{body}
</body></html>
"""
