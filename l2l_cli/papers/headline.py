"""The headline of a paper: its question, the few numbers that answer it, and the figure that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from l2l_cli.results.tables import plain_number
from l2l_cli.results.verdicts import NOT_RUN, Result

Key = tuple[str, str, str]
"""Artefact, row and metric."""


@dataclass(frozen=True)
class Headline:
    """What a reader sees first of a paper.

    Attributes:
        question: What the paper asks, in one sentence.
        head: Name of the first column, which says what the numbers are.
        lines: Artefact, row and metric of each line, by its name for readers.
        figure: Name of the figure's files, without their suffix.
        rivals: Names that take the place of ``who`` in a line's row; the best of them is shown, and no limit.
        who: Contender that the lines are about; needed for ``rivals``.
        beside: Metric of the line's row, by further column; a column of ratios is named by what its notes divide by.
        about: What a reader must know about the numbers, in one short sentence.
        decided_by: Beginning of the claim that answers the question; empty if none does.
    """

    question: str
    head: str
    lines: Mapping[str, Key]
    figure: str
    rivals: Sequence[str] = ()
    who: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)
    about: str = ""
    decided_by: str = ""

    def results(self, results: Sequence[Result]) -> dict[str, Result]:
        """Return the result of every line that was run."""
        known = _by_key(results)
        return {name: known[key] for name, key in self.lines.items() if key in known}

    def table(self, results: Sequence[Result]) -> pd.DataFrame | None:
        """Return the table without its empty columns; None if none of its lines was run."""
        known = _by_key(results)
        rows = [self._row(name, known[key], known) for name, key in self.lines.items() if key in known]
        if not rows:
            return None
        frame = pd.DataFrame(rows)
        if self.rivals:
            frame = frame.drop(columns=["limit", "ours ÷ limit"])
        return frame[[name for name in frame if not frame[name].isin(["–", ""]).all()]]

    def ahead_of_rivals(self, results: Sequence[Result]) -> tuple[int, int]:
        """Return the number of lines on which our mean is lower than the best rival's, and of lines with a rival."""
        known = _by_key(results)
        pairs = [
            (result.ours, min(rival.ours for rival in rivals.values() if rival.ours is not None))
            for result in self.results(results).values()
            if result.ours is not None and (rivals := self._rivals(result, known))
        ]
        return sum(ours < best for ours, best in pairs), len(pairs)

    def _row(self, name: str, result: Result, known: Mapping[Key, Result]) -> dict[str, str]:
        rivals = self._rivals(result, known)
        best = min(rivals, key=lambda rival: rivals[rival].ours or 0.0) if rivals else ""
        key = (result.artefact, result.row)
        others = {
            self._named(column, known): plain_number(found.ours) if (found := known.get((*key, metric))) else ""
            for column, metric in self.beside.items()
        }
        return {
            self.head: name,
            "paper": plain_number(result.paper),
            "ours [95 %]": _with_ends(result),
            "ours ÷ paper": f"{result.ours / result.paper:.2f}" if result.ours and result.paper else "–",
            "best tuned rival": f"{plain_number(rivals[best].ours)} ({best})" if best else "–",
            "limit": plain_number(result.limit),
            "ours ÷ limit": "–" if result.ratio_to_limit is None else f"{result.ratio_to_limit:.2f}",
            **others,
            "verdict": result.verdict,
        }

    def _named(self, column: str, known: Mapping[Key, Result]) -> str:
        """Return the name of a further column; if all its ratios are to the same rival, after that ("÷ Adam")."""
        lines = [(artefact, row, self.beside[column]) for artefact, row, _ in self.lines.values()]
        to = {known[line].note.rpartition(", ")[0] for line in lines if line in known}
        return to.pop() if len(to) == 1 and all(to) else column

    def _rivals(self, result: Result, known: Mapping[Key, Result]) -> dict[str, Result]:
        keys = {rival: result.row.replace(self.who, rival, 1) for rival in self.rivals}
        found = {rival: known.get((result.artefact, row, result.metric)) for rival, row in keys.items()}
        return {rival: one for rival, one in found.items() if one is not None}


def _by_key(results: Sequence[Result]) -> dict[Key, Result]:
    return {(one.artefact, one.row, one.metric): one for one in results if one.verdict != NOT_RUN}


def _with_ends(result: Result) -> str:
    if result.low is not None and result.high is not None:
        return f"{plain_number(result.ours)} [{plain_number(result.low)}, {plain_number(result.high)}]"
    return plain_number(result.ours)
