"""Reports: one content, as Markdown, as a self-contained HTML page, and as tables in the terminal."""

from __future__ import annotations

import base64
import html
import math
import numbers
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.table import Table
from rich.text import Text

from l2l_cli.results.frame import RULE, Result
from l2l_cli.results.page import PAGE
from l2l_cli.results.run import atomic_write

VERDICT_STYLE = {"better": "green", "reproduced": "green", "worse": "red", "differs": "yellow", "not run": "dim"}


@dataclass(frozen=True)
class Figure:
    """A picture, by its file under the report's folder, and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then tables, then figures.

    Attributes:
        title: The heading.
        text: Paragraphs and lists ("* …"), with *emphasis*, **weight**, `code` and [links](https://…).
        tables: Shown with three significant digits,
        formats: or as asked for here: by column, such as ".1%" or ",d".
        figures: Shown last.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[pd.DataFrame] = ()
    figures: Sequence[Figure] = ()
    formats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A title, opening paragraphs and sections.

    Attributes:
        title: The heading of all.
        opening: Paragraphs.
        sections: In their order.
        results: Where given, a section with all of them comes first, with the count of verdicts and their rule.
        deviations: Where given, a section that lists where the work departs from its source comes after the others.
        provenance: Where given, a table of command, versions, machine, seconds and seeds comes last.
    """

    title: str
    opening: Sequence[str]
    sections: Sequence[Section] = ()
    results: Sequence[Result] = ()
    deviations: Sequence[str] = ()
    provenance: Mapping[str, object] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write report.md and report.html."""
        atomic_write(folder / "report.md", self.markdown(folder))
        atomic_write(folder / "report.html", self.html(folder))

    def markdown(self, folder: Path) -> str:
        """Return the report as Markdown, figures linked relative to ``folder``."""
        parts = [f"# {self.title}", *self.opening]
        for section in self._all_sections():
            parts += [f"## {section.title}", *section.text]
            parts += [markdown_table(table, section.formats) for table in section.tables]
            for figure in section.figures:
                link = figure.path.relative_to(folder).as_posix()
                parts.append(f"![{figure.caption}]({link})\n\n*{figure.caption}*")
        return "\n\n".join(parts) + "\n"

    def html(self, folder: Path) -> str:
        """Return the report as one HTML page with its figures inside."""
        del folder
        parts = [f"<h1>{html.escape(self.title)}</h1>", *map(_paragraph, self.opening)]
        for section in self._all_sections():
            parts += [f"<h2>{html.escape(section.title)}</h2>", *map(_paragraph, section.text)]
            parts += [_html_table(table, section.formats) for table in section.tables]
            for figure in section.figures:
                data = base64.b64encode(figure.path.with_suffix(".png").read_bytes()).decode()
                caption = html.escape(figure.caption)
                parts.append(
                    f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
                    f"<figcaption>{caption}</figcaption></figure>"
                )
        return PAGE.format(title=html.escape(self.title), body="\n".join(parts))

    def _all_sections(self) -> list[Section]:
        sections = list(self.sections)
        if self.results:
            text = [f"{verdict_line(self.results)}.  {RULE}"]
            sections.insert(0, Section("All numbers", text, [results_table(self.results)]))
        if self.deviations:
            sections.append(Section("Where this departs from its source", ["* " + "\n* ".join(self.deviations)]))
        if self.provenance:
            facts = [{"fact": name, "value": _fact(value)} for name, value in self.provenance.items()]
            sections.append(Section("Provenance", tables=[pd.DataFrame(facts)]))
        return sections


def number(value: object) -> str:
    """Format a whole number as such, another with three significant digits, and anything else as it is."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return str(value)
    size = abs(float(value))
    if isinstance(value, numbers.Integral):
        return str(value)
    if size < 1e6 and float(value).is_integer():
        return str(int(float(value)))
    if 99.95 <= size < 99999.5:
        return f"{float(value):.0f}"  # "1.23e+03" would be harder to read than its fourth digit
    return f"{float(value):#.3g}" if 1e-3 <= size < 1e4 else f"{float(value):.2e}"


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
                "ours ÷ limit": "–" if result.ratio_to_limit is None else f"{result.ratio_to_limit:#.3g}",
                "verdict": result.verdict,
                "note": result.note,
            }
            for result in results
        ]
    )


def terminal_table(results: Sequence[Result] | pd.DataFrame, title: str) -> Table:
    """Return results, or any frame, as a rich table; the notes of results are left to the report."""
    if isinstance(results, pd.DataFrame):
        return frame_table(results, title)
    frame = results_table(results).drop(columns="note", errors="ignore")
    table = _rich_table(title, {name: name not in ("artefact", "row", "metric", "verdict") for name in frame.columns})
    for row in frame.itertuples(index=False):
        *cells, verdict = map(str, row)
        style = VERDICT_STYLE.get(verdict, "")
        # Text, for a name in brackets would be read as markup and vanish.
        shown = [Text(cell, style="dim" if style == "dim" else "") for cell in cells]
        table.add_row(*shown, Text(verdict, style=style))
    return table


def frame_table(frame: pd.DataFrame, title: str) -> Table:
    """Return any frame as a rich table."""
    table = _rich_table(title, _are_numeric(frame))
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(number(cell)) for cell in row))
    return table


def _rich_table(title: str, numeric: Mapping[str, bool]) -> Table:
    table = Table(title=Text(title), title_justify="left", header_style="bold")
    for name, right in numeric.items():
        table.add_column(Text(name), justify="right" if right else "left")
    return table


def verdict_line(results: Sequence[Result]) -> str:
    """Count the verdicts: "14 published numbers: 9 better, 3 reproduced, 2 differs"."""
    counts = Counter(result.verdict for result in results if result.verdict)
    judged = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    total = sum(counts.values())
    return f"{total} published number{'s' if total > 1 else ''}: {judged}" if counts else "no published number"


def markdown_table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    """Return a frame as an aligned Markdown table, pipes escaped."""

    def plain(cell: str) -> str:
        return " ".join(cell.split()).replace("|", "\\|")

    numeric = list(_are_numeric(frame).values())
    header, *rows = [[plain(cell) for cell in row] for row in [list(map(str, frame.columns)), *_cells(frame, formats)]]
    widths = [max(3, *(len(row[index]) for row in [header, *rows])) for index in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def _cells(frame: pd.DataFrame, formats: Mapping[str, str] | None) -> list[list[str]]:
    """Return the text of each cell, row by row."""
    chosen = [(formats or {}).get(str(column)) for column in frame.columns]
    return [
        [
            format(cell, form) if form is not None and isinstance(cell, numbers.Real) and cell == cell else number(cell)
            for cell, form in zip(row, chosen, strict=True)
        ]
        for row in frame.itertuples(index=False)
    ]


def _are_numeric(frame: pd.DataFrame) -> dict[str, bool]:
    """Say of each column whether it is set to the right: numbers, and numbers that are formatted already."""

    def looks(cell: object) -> bool:
        return isinstance(cell, str) and re.fullmatch(r"–|[-−]?[\d.]+(e[-+]\d+)?( ± \S+)?", cell) is not None

    return {
        str(name): pd.api.types.is_numeric_dtype(column) or (len(column) > 0 and all(map(looks, column)))
        for name, column in frame.items()
    }


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact(one)}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_fact, value))
    return number(value)


def _ours(result: Result) -> str:
    spread = f" ± {number(result.sd)}" if result.sd is not None else ""
    return number(result.ours) + spread


def _paragraph(text: str) -> str:
    """Turn one paragraph of our Markdown into HTML: lists, *emphasis*, `code` and links."""
    if text.startswith("* "):
        items = (f"<li>{_inline(item)}</li>" for item in text.removeprefix("* ").split("\n* "))
        return "<ul>" + "".join(items) + "</ul>"
    return f"<p>{_inline(text)}</p>"


_MARKS = (
    (r"\[([^\]]+)\]\((https?://[^)\s]+)\)", r'<a href="\2">\1</a>'),
    (r"\*\*(?=\S)(.+?)(?<=\S)\*\*", r"<strong>\1</strong>"),
    (r"\*(?=\S)([^*]+?)(?<=\S)\*", r"<em>\1</em>"),
)


def _inline(text: str) -> str:
    """Mark up all but code, in which a star is a star."""
    pieces = re.split(r"`([^`]+)`", text)
    for index, piece in enumerate(pieces):
        pieces[index] = html.escape(piece)
        if index % 2:
            pieces[index] = f"<code>{pieces[index]}</code>"
        else:
            for mark, tag in _MARKS:
                pieces[index] = re.sub(mark, tag, pieces[index])
    return "".join(pieces)


def _html_table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    numeric = _are_numeric(frame)
    sides = [" class=n" if right else "" for right in numeric.values()]
    head = "".join(f"<th{side}>{html.escape(name)}</th>" for name, side in zip(numeric, sides, strict=True))
    body = "".join("<tr>" + "".join(map(_html_cell, row, sides)) + "</tr>" for row in _cells(frame, formats))
    return f"<div class=table><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _html_cell(cell: str, side: str) -> str:
    verdict = f" class={VERDICT_STYLE[cell]}" if cell in VERDICT_STYLE else side
    return f"<td{verdict}>{html.escape(cell)}</td>"
