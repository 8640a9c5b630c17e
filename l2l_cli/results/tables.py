"""Tables of reports: numbers as text, results as a data frame, and data frames in the terminal."""

from __future__ import annotations

import math
import numbers
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd
from rich.text import Text

from l2l_cli.core.printable import printable
from l2l_cli.results.terminal import FoldingTable
from l2l_cli.results.verdicts import Result

VERDICT_STYLE = {"better": "green", "reproduced": "green", "worse": "red", "differs": "yellow", "not run": "dim"}
"""Style of a verdict; one that is open has none."""


def number(value: object) -> str:
    """Format whole numbers as such, other numbers with three significant digits, and anything else as it is."""
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


def plain_number(value: float | None) -> str:
    """Format a number with three significant digits and, down to a hundred-thousandth, without a power of ten."""
    if value is None or not 1e-5 <= abs(value) < 1e-3:
        return number(value)
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


def results_table(results: Sequence[Result], study: Mapping[tuple[str, str, str], str] | None = None) -> pd.DataFrame:
    """Return results as a table for readers, beside our numbers of a ``study`` by artefact, row and metric."""
    frame = pd.DataFrame(
        [
            {
                "artefact": result.artefact,
                "row": result.row,
                "metric": result.metric,
                "paper": number(result.paper),
                "ours [95 %]": _ours(result),
                "seeds": result.seeds,
                "limit": number(result.limit),
                "ours ÷ limit": "–" if result.ratio_to_limit is None else f"{result.ratio_to_limit:#.3g}",
                "verdict": f"{result.verdict} ({result.needs})" if result.needs else result.verdict,
                "note": result.note,
            }
            for result in results
        ]
    )
    if study:
        known = [study.get((result.artefact, result.row, result.metric), "–") for result in results]
        frame.insert(list(frame).index("seeds"), "study [95 %]", known)
    return frame


def terminal_table(
    results: Sequence[Result], title: str, study: Mapping[tuple[str, str, str], str] | None = None
) -> FoldingTable:
    """Return results as a rich table; their notes are left to the report."""
    frame = results_table(results, study).drop(columns="note", errors="ignore")
    rows = []
    for row in frame.itertuples(index=False):
        *cells, verdict = map(str, row)
        style = VERDICT_STYLE.get(verdict, "")
        rows.append([*(Text(printable(cell), "dim" if style == "dim" else "") for cell in cells), Text(verdict, style)])
    return FoldingTable(
        title, {name: name not in ("artefact", "row", "metric", "verdict") for name in map(str, frame)}, rows
    )


def with_interval(value: float | None, low: float, high: float) -> str:
    """Return a number with the ends of its interval, such as "0.0150 [0.0149, 0.0151]"."""
    return f"{number(value)} [{number(low)}, {number(high)}]"


def frame_table(frame: pd.DataFrame, title: str) -> FoldingTable:
    """Return any data frame as a rich table."""
    rows = [[number(cell) for cell in row] for row in frame.itertuples(index=False)]
    return FoldingTable(title, are_numeric(frame), rows)


def counted_verdicts(results: Sequence[Result]) -> Counter[str]:
    """Return how many published numbers have each verdict, every number counted once."""
    return Counter(result.verdict for result in results if result.counts)


def verdict_line(results: Sequence[Result]) -> str:
    """Count the verdicts on each published number once: "14 published numbers: 9 better, 3 reproduced, 2 open"."""
    counts = counted_verdicts(results)
    judged = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    total = sum(counts.values())
    if not counts:
        return (
            "no published number is judged here"
            if any(result.paper is not None for result in results)
            else "no published number"
        )
    return f"{total} published number{'s' if total > 1 else ''}: {judged}"


def cells_of(frame: pd.DataFrame, formats: Mapping[str, str] | None) -> list[list[str]]:
    """Return the text of each cell, row by row."""
    chosen = [(formats or {}).get(str(column)) for column in frame.columns]
    return [
        [
            format(cell, form) if form is not None and isinstance(cell, numbers.Real) and cell == cell else number(cell)
            for cell, form in zip(row, chosen, strict=True)
        ]
        for row in frame.itertuples(index=False)
    ]


def are_numeric(frame: pd.DataFrame) -> dict[str, bool]:
    """Return, by column, whether it is right-aligned: if it holds numbers, or numbers that are already formatted."""

    def is_number(cell: object) -> bool:
        return isinstance(cell, str) and re.fullmatch(r"–|[-−]?[\d.]+(e[-+]\d+)?( ± \S+)?", cell) is not None

    return {
        str(name): pd.api.types.is_numeric_dtype(column) or (len(column) > 0 and all(map(is_number, column)))
        for name, column in frame.items()
    }


def _ours(result: Result) -> str:
    """Return our number with its interval, or else with its standard deviation over seeds."""
    if result.low is not None and result.high is not None:
        return with_interval(result.ours, result.low, result.high)
    return number(result.ours) + (f" ± {number(result.sd)}" if result.sd is not None else "")
