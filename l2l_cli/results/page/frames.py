"""Data frames and claims as the tables of a page, with the style of every cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from l2l_cli.results.content import Claim, counted_verdict
from l2l_cli.results.tables import VERDICT_STYLE, are_numeric, cells_of

SIGNS = {"holds": "✓", "fails": "✗", "open": "?", "not run": "–", "not judged": "–"}
"""Symbol of each verdict on a claim, for readers who cannot tell its colour."""

WORST = ("fails", "open", "holds", "not run", "not judged")
"""Verdicts by precedence: the first of those on one statement decides its colour."""

STYLES = {"holds": "green", "fails": "red", "open": "yellow", "not run": "dim", "not judged": "dim"}

LONG = 48
"""Number of characters above which a cell keeps a minimal width."""

BRIEF, BRIEF_NAME, BRIEF_HEAD = 40, 15, 16
"""Largest number of characters that stay in one line: of a cell, of the first cell of a row, and of a column's head."""

FEW = 4
"""Largest number of main columns that fit a narrow screen with their numbers in one line."""

_WITH_INTERVAL = re.compile(r"(\S+) (\[[^\]]*\]|± \S+|\([^)]* … [^)]*\))")


class PageCell(NamedTuple):
    """A cell: its text, what follows in small type, and its CSS classes."""

    text: str
    small: str
    style: str


class PageTable(NamedTuple):
    """A table.

    Attributes:
        head: Name and CSS classes of every column.
        rows: For every row, the verdict by which it may be filtered, and its cells.
        folds: Whether a narrow screen shows its main columns and folds the others below them.
        is_few: Whether its main columns are so few that their numbers need not break on a narrow screen.
        verdicts: Verdicts that its rows have, in alphabetical order.
    """

    head: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[PageCell]]]
    folds: bool
    is_few: bool
    verdicts: Sequence[str]


def page_table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> PageTable:
    """Return a data frame as a table, which folds on a narrow screen if it has verdicts on our numbers."""
    names = [str(name) for name in frame.columns]
    main = [index == 0 or _is_main(name) for index, name in enumerate(names)]
    folds = "verdict" in names and any(map(_is_ours, names))
    if folds:
        main = [one or name in ("row", "metric") for one, name in zip(main, names, strict=True)]
    sides = ["n" if right or _is_ours(name) else "" for name, right in are_numeric(frame).items()]
    styles = [" ".join(filter(None, [side, "" if one else "minor"])) for side, one in zip(sides, main, strict=True)]
    rows = []
    for texts in cells_of(frame, formats):
        longest = [BRIEF_NAME, *[BRIEF] * (len(names) - 1)]
        cells = [_cell(*each) for each in zip(texts, styles, names, longest, strict=True)]
        rows.append((_word(texts[names.index("verdict")]) if "verdict" in names else "", cells))
    verdicts = sorted({verdict for verdict, _ in rows if verdict})
    heads = [
        f"{style} broad".strip() if len(name) > BRIEF_HEAD else style for name, style in zip(names, styles, strict=True)
    ]
    return PageTable(list(zip(names, heads, strict=True)), rows, folds, sum(main) <= FEW, verdicts)


def _is_ours(name: str) -> bool:
    return name == "ours" or name.startswith("ours [")


def _is_main(name: str) -> bool:
    return _is_ours(name) or name in ("paper", "best tuned rival", "verdict") or ("÷" in name and "paper" not in name)


def _word(verdict: str) -> str:
    """Return a verdict without the number of seeds that would decide it."""
    return verdict.partition(" (")[0]


def _cell(text: str, style: str, label: str, longest: int) -> PageCell:
    if label == "verdict" and (colour := VERDICT_STYLE.get(_word(text), "yellow" if text else "")):
        return PageCell(_word(text), text.removeprefix(_word(text)).strip(), f"{style} {colour}")
    size = "long" if len(text) > LONG else "brief" if len(text) <= longest else ""
    style = f"{style} {size}".strip()
    split = _WITH_INTERVAL.fullmatch(text)
    if split:
        return PageCell(split[1], split[2], style)
    return PageCell(text, "", style)


class PageVerdict(NamedTuple):
    """The verdict on a claim: symbol, words, colour, and the number that decides it."""

    sign: str
    word: str
    style: str
    number: str


class PageClaim(NamedTuple):
    """A statement and the verdicts on it.

    Attributes:
        verdict: Overall verdict, which is shown before the statement, so that nobody takes the latter for true.
        statement: The statement.
        by_variant: Verdict for each variant; None for a variant that the statement is not about.
        evidence: Pairs of a variant and the evidence for it; the variant is empty if there is only one.
    """

    verdict: PageVerdict
    statement: str
    by_variant: Sequence[PageVerdict | None]
    evidence: Sequence[tuple[str, str]]


class PageClaims(NamedTuple):
    """Claims as one table: the names of the variants, if any, and a row for each statement."""

    variants: Sequence[str]
    rows: Sequence[PageClaim]


def page_claims(claims: Sequence[Claim]) -> PageClaims:
    """Return claims as a table of statements and variants."""
    variants = list(dict.fromkeys(claim.variant for claim in claims if claim.variant))
    rows: dict[str, list[Claim]] = {}
    for claim in claims:
        rows.setdefault(claim.statement or claim.text, []).append(claim)
    return PageClaims(variants, [_claim(statement, each, variants) for statement, each in rows.items()])


def _claim(statement: str, claims: Sequence[Claim], variants: Sequence[str]) -> PageClaim:
    known = {claim.variant: _verdict(claim.verdict, claim.number) for claim in claims}
    words = [claim.verdict for claim in claims]
    counts = {word: words.count(word) for word in SIGNS if word in words}
    worst = next(word for word in WORST if word in counts)
    said = " · ".join(counted_verdict(count, word) for word, count in counts.items()) if len(counts) > 1 else worst
    in_all = known[""] if set(known) == {""} else _verdict(worst, "")._replace(word=said)
    evidence = [(claim.variant, claim.evidence) for claim in claims if claim.evidence]
    return PageClaim(in_all, statement, [known.get(variant) for variant in variants], evidence)


def _verdict(word: str, number: str) -> PageVerdict:
    return PageVerdict(SIGNS[word], word, STYLES[word], number)
