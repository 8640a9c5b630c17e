"""The paper's claims and ours, as an experiment states them, each judged by our numbers.

Source: Chen and Lu 2018, §4; no claim there has a criterion, so each is ours and is said with its verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from l2l_cli.papers.claims import at_most, below, goes_on, shown
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.mlhf2018.diagnostics import DOWNHILL
from l2l_cli.papers.mlhf2018.track import LOSS, SECONDS
from l2l_cli.results.content import Claim
from l2l_cli.results.standings import Standings

FELL = 0.01
"""Nats by which the loss must still fall over the last half of a run for progress to go on."""


class Statements:
    """What is claimed of a rule; ``{rule}`` in a statement stands for its name.

    Args:
        lowest: Groups of rivals, by statement that the rule is below all of them; ``{unit}`` in it stands for "sample",
            judged over every tenth of the run, and for "second", judged when the quickest is through.
        at_most: Shares by group of rivals, by statement that the rule ends at or below that share of the best one.
        progress: Statement that the rule goes on making progress; empty if that is not claimed.
    """

    def __init__(self, lowest: dict[str, list[str]], at_most: dict[str, dict[str, float]], progress: str = "") -> None:
        self.lowest, self.at_most, self.progress = lowest, at_most, progress

    @property
    def groups(self) -> set[str]:
        """Names of all groups of rivals that are referred to."""
        return {name for names in (*self.lowest.values(), *self.at_most.values()) for name in names}

    def judged(
        self, measured: Measured, standings: Standings, who: str, rivals: Mapping[str, Sequence[str]], problem: str
    ) -> Iterator[Claim]:
        """Yield the verdicts on one rule and problem; ``rivals`` holds the rows of each group."""
        for text, names in self.lowest.items():
            rows = [row for name in names for row in rivals[name]]
            per_sample, per_time = (text.format(rule=who, unit=unit) for unit in ("sample", "second"))
            yield below(per_sample, standings, who, rows, problem, standings.marks(problem))
            yield per_second(per_time, measured, who, rows, problem)
        if self.progress:
            yield progresses(self.progress.format(rule=who), standings, who, problem)
        for text, shares in self.at_most.items():
            for name, share in shares.items():
                end = standings.last(problem)
                yield at_most(text.format(rule=who), standings, who, rivals[name], problem, end, share)


def per_second(text: str, measured: Measured, who: str, rivals: Collection[str], problem: str) -> Claim:
    """Judge whether a contender has the lowest loss when the quickest of all has used up its samples."""
    loss, seconds = (
        {name: part.groupby("updates").value.mean() for name, part in table.groupby("contender", sort=False)}
        for table in (measured.curves(problem, LOSS), measured.curves(problem, SECONDS))
    )
    run = [name for name in rivals if name in loss]
    if who not in loss or not run:
        return Claim(text, None)
    until = min(float(seconds[name].max()) for name in run)
    reached = {name: float(np.interp(until, seconds[name], loss[name])) for name in [who, *run]}
    best = min(run, key=lambda name: reached[name])
    price = seconds[who].max() / seconds[best].max()
    evidence = f"after {until:.3g} s, when the quickest is through, {reached[who]:.3g} against {reached[best]:.3g}"
    evidence += f" of {best}; one of its steps takes {price:.1f} times as long"
    return Claim(text, reached[who] < reached[best], evidence)


def progresses(text: str, standings: Standings, who: str, problem: str) -> Claim:
    """Judge whether the loss still falls over the last half of a run."""
    marks = [mark for mark in standings.marks(problem) if standings.has(who, problem, mark)]
    if len(marks) < 2:
        return Claim(text, None)
    return goes_on(text, standings, who, [problem], marks[(len(marks) - 1) // 2], marks[-1], FELL)


def downhill(measured: Measured, problem: str) -> Claim:
    """Judge whether ⟨g, x_n⟩ > 0 at every step that was diagnosed."""
    text, table = "Claim 5, ⟨g, xₙ⟩ > 0", measured.curves(problem, DOWNHILL)
    if not len(table):
        return Claim(text, None)
    shares = {str(name): float(part.value.mean()) for name, part in table.groupby("contender", sort=False)}
    return Claim(text, set(shares.values()) == {1.0}, f"share of the steps diagnosed: {shown(shares, '.1%')}")


def stays_finite(text: str, lost: Mapping[str, Sequence[float]]) -> Claim:
    """Judge whether no loss of some contenders was ever not finite, from their number by seed."""
    if not lost:
        return Claim(text, None)
    bad = {name: sum(counts) for name, counts in lost.items() if any(counts)}
    return Claim(text, not bad, f"losses that were not finite: {shown(bad, '.0f') or 'none'}")
