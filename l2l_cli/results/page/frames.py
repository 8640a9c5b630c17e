"""Frames and claims as the tables of a page, which say of every cell how it is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from l2l_cli.results.content import Claim
from l2l_cli.results.tables import VERDICT_STYLE, are_numeric, cells_of

SIGNS = {"holds": "✓", "fails": "✗", "open": "?", "not run": "–", "not judged": "–"}
"""Sign of what a claim came to, for those who cannot tell its colour."""

STYLES = {"holds": "green", "fails": "red", "open": "yellow", "not run": "dim", "not judged": "dim"}

_WITH_INTERVAL = re.compile(r"(\S+) (\[[^\]]*\]|± \S+|\([^)]* … [^)]*\))")


class PageCell(NamedTuple):
    """A cell: its text, what follows in small type, and its classes."""

    text: str
    small: str
    style: str


class PageTable(NamedTuple):
    """A table.

    Attributes:
        head: Name and classes of every column.
        rows: Cells of every row, and the verdict by which it may be filtered.
        folds: Whether a narrow screen shows its main columns and folds the others below them.
        verdicts: Verdicts that its rows have, in their order.
    """

    head: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[PageCell]]]
    folds: bool
    verdicts: Sequence[str]


def page_table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> PageTable:
    """Return a frame as a table; one that has a verdict for our numbers folds on a narrow screen."""
    names = [str(name) for name in frame.columns]
    main = [index == 0 or _is_main(name) for index, name in enumerate(names)]
    folds = "verdict" in names and any(map(_is_ours, names))
    if folds:
        main = [one or name in ("row", "metric") for one, name in zip(main, names, strict=True)]
    sides = ["n" if right or _is_ours(name) else "" for name, right in are_numeric(frame).items()]
    styles = [" ".join(filter(None, [side, "" if one else "minor"])) for side, one in zip(sides, main, strict=True)]
    rows = []
    for texts in cells_of(frame, formats):
        cells = [_cell(*each) for each in zip(texts, styles, names, strict=True)]
        rows.append((_word(texts[names.index("verdict")]) if "verdict" in names else "", cells))
    verdicts = sorted({verdict for verdict, _ in rows if verdict})
    return PageTable(list(zip(names, styles, strict=True)), rows, folds, verdicts)


def _is_ours(name: str) -> bool:
    return name == "ours" or name.startswith("ours [")


def _is_main(name: str) -> bool:
    return _is_ours(name) or name in ("paper", "verdict") or ("÷" in name and "paper" not in name)


def _word(verdict: str) -> str:
    """Return a verdict without the number of seeds that would decide it."""
    return verdict.partition(" (")[0]


def _cell(text: str, style: str, label: str) -> PageCell:
    if label == "verdict" and (colour := VERDICT_STYLE.get(_word(text), "yellow" if text else "")):
        return PageCell(_word(text), text.removeprefix(_word(text)).strip(), f"{style} {colour}")
    split = _WITH_INTERVAL.fullmatch(text)
    if split:
        return PageCell(split[1], split[2], style)
    return PageCell(text, "", f"{style} long" if len(text) > 48 else style)


class PageVerdict(NamedTuple):
    """What a claim came to for one variant: sign, word, colour, the number that decides it, and the evidence."""

    sign: str
    word: str
    style: str
    number: str
    evidence: str


class PageClaims(NamedTuple):
    """Claims as one table: the variants' names, and each statement with its verdicts; None where there is none."""

    variants: Sequence[str]
    rows: Sequence[tuple[str, Sequence[PageVerdict | None]]]


def page_claims(claims: Sequence[Claim]) -> PageClaims:
    """Return claims as a table of statements and variants; a claim of one alone stands in the first column."""
    variants = list(dict.fromkeys(claim.variant for claim in claims if claim.variant))
    columns = variants or [""]
    rows: dict[str, list[PageVerdict | None]] = {}
    for claim in claims:
        row = rows.setdefault(claim.statement or claim.text, [None] * len(columns))
        row[columns.index(claim.variant) if claim.variant else 0] = _verdict(claim)
    return PageClaims(columns, list(rows.items()))


def _verdict(claim: Claim) -> PageVerdict:
    word = claim.verdict
    return PageVerdict(SIGNS[word], word, STYLES[word], claim.number, claim.evidence)
