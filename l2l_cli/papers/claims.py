"""Judges of claims, shared by all papers: each looks at the standings and says whether a statement holds, and why.

The papers state their claims without a criterion; each judge's criterion is ours and is said with its verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

from l2l_cli.results.content import Claim
from l2l_cli.results.standings import Standings
from l2l_cli.results.statistics import Difference

LEVEL = 0.01
"""Level of significance of paired differences."""

ALIKE = 0.25
"""Relative distance from their mean within which losses count as about equal."""

LEARNS = 0.9
"""A rule learns if it brings the loss below this share of the first one."""


def against_the_best(standings: Standings, who: str, rivals: Collection[str], problem: str, mark: int) -> str:
    """Return a contender's loss beside that of its best rival, and the difference with its paired interval."""
    ours = standings.mean(who, problem, mark)
    best = standings.best([name for name in rivals if name != who], problem, mark)
    if best is None:
        return f"{ours:.4g} after {mark} updates"
    theirs, difference = standings.mean(best, problem, mark), standings.lead(who, best, problem, mark)
    return f"after {mark} updates {ours:.4g} against {theirs:.4g} of the best rival, {best}; difference {difference}"


def below(
    text: str, standings: Standings, who: str, rivals: Collection[str], problem: str, marks: Sequence[int]
) -> Claim:
    """Judge whether a contender has a lower mean loss than every rival at every mark; marks not run are passed over."""
    run = [mark for mark in marks if standings.has(who, problem, mark) and standings.scored(rivals, problem, mark)]
    if not run:
        return Claim(text, None)
    best = {mark: standings.best(rivals, problem, mark) for mark in run}
    lost = [
        f"{mark} (to {rival})"
        for mark, rival in best.items()
        if rival and not standings.mean(who, problem, mark) < standings.mean(rival, problem, mark)
    ]
    evidence = f"lowest mean loss at {len(run) - len(lost)} of {len(run)} numbers of updates"
    evidence += f", behind at {', '.join(lost)}" if lost else ""
    return Claim(text, not lost, f"{evidence}; {against_the_best(standings, who, rivals, problem, run[-1])}")


def significantly_below(
    text: str, standings: Standings, who: str, rivals: Collection[str], problem: str, mark: int
) -> Claim:
    """Judge whether a contender's mean loss is lower than that of all rivals, by a paired test at ``LEVEL``."""
    run = standings.scored(rivals, problem, mark)
    if not run or not standings.has(who, problem, mark):
        return Claim(text, None)
    differences = {name: standings.difference(who, name, problem, mark) for name in run}
    holds = all(one.interval.value < 0 and one.p < LEVEL for one in differences.values())
    return Claim(text, holds, "; ".join(f"less {name} {one}" for name, one in differences.items()))


def paired(
    text: str,
    standings: Standings,
    who: str,
    rival: str | None,
    problem: str,
    holds: Callable[[Difference], bool],
    remark: str = "",
) -> Claim:
    """Judge a contender's mean loss less a rival's at the end of a problem, by a criterion that is its own."""
    mark = standings.last(problem)
    if rival is None or len(standings.scored([who, rival], problem, mark)) < 2:
        return Claim(text, None)
    difference = standings.difference(who, rival, problem, mark)
    return Claim(text, holds(difference), f"{who} less {rival} {difference}{f'; {remark}' if remark else ''}")


def at_most(
    text: str, standings: Standings, who: str, rivals: Collection[str], problem: str, mark: int, share: float = 1.0
) -> Claim:
    """Judge whether a contender's loss is at or below a share of the best rival's."""
    best = standings.best(rivals, problem, mark)
    if best is None or not standings.has(who, problem, mark):
        return Claim(text, None)
    ours, theirs = (standings.mean(name, problem, mark) for name in (who, best))
    ratio = ours / theirs if theirs else math.inf
    evidence = against_the_best(standings, who, rivals, problem, mark)
    return Claim(text, ratio <= share, f"ratio {ratio:.3f} (mark: {share:g}); {evidence}")


def alike(text: str, standings: Standings, contenders: Collection[str], problem: str, mark: int) -> Claim:
    """Judge whether contenders end about equally: each within ``ALIKE`` of their mean."""
    if not all(standings.has(name, problem, mark) for name in contenders):
        return Claim(text, None)
    values = {name: standings.mean(name, problem, mark) for name in contenders}
    mean = sum(values.values()) / len(values)
    holds = all(abs(value - mean) <= ALIKE * mean for value in values.values())
    return Claim(text, holds, shown(values))


def fails(
    text: str, standings: Standings, who: str, rivals: Collection[str], problem: str, mark: int, start: float
) -> Claim:
    """Judge whether a rule learns nothing: its loss stays above ``LEARNS`` of the loss before the first update."""
    if not standings.has(who, problem, mark):
        return Claim(text, None)
    loss, best = standings.mean(who, problem, mark), standings.best(rivals, problem, mark)
    holds = not loss < LEARNS * start
    manner = "learns nothing" if holds else "learns, and is ahead of every tuned rule"
    if not holds and best is not None and loss > standings.mean(best, problem, mark):
        manner = "learns, and remains behind the best tuned rule"
    evidence = against_the_best(standings, who, rivals, problem, mark)
    return Claim(text, holds, f"the rule {manner}; {evidence}; first loss {start:.3g}")


def goes_on(
    text: str, standings: Standings, who: str, problems: Collection[str], before: int, end: int, fall: float = 0.0
) -> Claim:
    """Judge whether a contender's loss falls by so much, in units of the loss, between two marks of every problem."""
    run = [name for name in problems if all(standings.has(who, name, mark) for mark in (before, end))]
    if not run:
        return Claim(text, None)
    pairs = {name: [standings.mean(who, name, mark) for mark in (before, end)] for name in run}
    evidence = ", ".join(
        f"{f'{name}: ' if name else ''}{first:.4g} after {before} updates, {last:.4g} after {end}"
        for name, (first, last) in pairs.items()
    )
    holds = all(first - last >= fall for first, last in pairs.values())
    return Claim(text, holds, f"{evidence}{f' (mark: a fall of {fall:g})' if fall else ''}")


def shown(values: Mapping[str, float], form: str = ".3g") -> str:
    """Return "name value, name value" for a claim's evidence."""
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())
