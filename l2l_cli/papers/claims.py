"""Judges of claims, shared by all papers: each decides from the standings whether a statement holds, and why.

The papers state their claims without criteria; each judge's criterion is ours and is given with its verdict.  A claim
holds or fails if a 95 % interval or a corrected p-value decides it; otherwise it is open.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from l2l_cli.core.printable import counted
from l2l_cli.results.content import Claim
from l2l_cli.results.spread import Array
from l2l_cli.results.standings import SIGNIFICANT, TOO_FEW, Standings
from l2l_cli.results.statistics import Difference, Interval, difference_of, holm, mean_of, p_text

ALIKE = 0.25
"""Relative distance from their mean within which losses count as about equal."""

LEARNS = 0.9
"""A rule learns if it brings the loss below this share of the first one."""

Verdict = bool | None
"""Whether a statement holds; None if the measurements leave it open."""


def below_bound(interval: Interval, bound: float = 0.0) -> Verdict:
    """Return whether a quantity lies at or below a bound, by its interval."""
    return True if interval.high <= bound else False if interval.low > bound else None


def above_bound(interval: Interval, bound: float) -> Verdict:
    """Return whether a quantity lies at or above a bound, by its interval."""
    return True if interval.low >= bound else False if interval.high < bound else None


def within_bounds(interval: Interval, bound: float) -> Verdict:
    """Return whether a quantity lies between −bound and bound, by its interval."""
    return all_of([below_bound(interval, bound), above_bound(interval, -bound)])


def all_of(verdicts: Collection[Verdict]) -> Verdict:
    """Return whether all parts of a statement hold: False if one fails, and else None if one is open."""
    return False if False in verdicts else None if None in verdicts else True


def against_the_best(standings: Standings, who: str, rivals: Collection[str], problem: str, mark: int) -> str:
    """Return, as text, a contender's loss, that of its best rival, and the difference with its paired interval."""
    ours, after = standings.mean(who, problem, mark), f"after {counted(mark, 'update')}"
    best = standings.best([name for name in rivals if name != who], problem, mark)
    if best is None:
        return f"{ours:.4g} {after}"
    theirs, difference = standings.mean(best, problem, mark), standings.lead(who, best, problem, mark)
    return f"{after} {ours:.4g} against {theirs:.4g} of the best rival, {best}; difference {difference}"


def below(
    text: str, standings: Standings, who: str, rivals: Collection[str], problem: str, marks: Sequence[int]
) -> Claim:
    """Judge whether a contender has a lower mean loss than every rival, at those of some marks that are judged.

    At each mark, the rival counts that ``_hardest`` chooses; p-values are corrected for the number of marks.  The claim
    fails if a rival is ahead at one of the marks by the interval of the difference.
    """
    run = [mark for mark in marks if standings.has(who, problem, mark) and standings.scored(rivals, problem, mark)]
    if not run:
        return Claim(text, None)
    judged = [mark for mark in standings.judged_marks(problem, [who], run) if mark in run]
    hardest = [_hardest(standings, who, rivals, problem, mark) for mark in judged]
    corrected = holm([one.p for one in hardest])
    ahead = [one.interval.value < 0 and p < SIGNIFICANT for one, p in zip(hardest, corrected, strict=True)]
    lost = [
        f"{mark} (to {rival})"
        for mark in run
        if (rival := standings.best(rivals, problem, mark))
        and not standings.mean(who, problem, mark) < standings.mean(rival, problem, mark)
    ]
    share = f"{len(run) - len(lost)} of {len(run)} numbers of updates"
    tests = ", ".join(f"{p_text(p)} after {mark}" for mark, p in zip(judged, corrected, strict=True))
    lowest = f"lowest mean loss at {share}" + (f", not at {', '.join(lost)}" if lost else "")
    evidence = f"{lowest}; {against_the_best(standings, who, rivals, problem, run[-1])}; {tests}"
    holds = True if all(ahead) else False if any(one.interval.side > 0 for one in hardest) else None
    few = holds is None and standings.are_few(who, rivals, problem, run[-1], len(judged))
    return Claim(text, holds, evidence, f"lowest at {share}{f'; {TOO_FEW} for a verdict' if few else ''}")


def _hardest(standings: Standings, who: str, rivals: Collection[str], problem: str, mark: int) -> Difference:
    """Return the difference to a rival that is ahead, or else to the one with the largest p."""
    found = [standings.difference(who, rival, problem, mark) for rival in standings.scored(rivals, problem, mark)]
    found = [one._replace(p=1.0) if np.isnan(one.p) else one for one in found]
    return max(found, key=lambda one: (one.interval.side, one.p, one.interval.value))


def below_at_the_end(
    text: str, standings: Standings, who: str, rivals: Collection[str], problem: str, mark: int
) -> Claim:
    """Judge whether a contender's mean loss is lower than that of all rivals, by the intervals of the differences."""
    run = standings.scored(rivals, problem, mark)
    if not run or not standings.has(who, problem, mark):
        return Claim(text, None)
    differences = {name: standings.difference(who, name, problem, mark) for name in run}
    holds = all_of([below_bound(one.interval) for one in differences.values()])
    evidence = "; ".join(f"less {name} {one}" for name, one in differences.items())
    worst = max((one.interval for one in differences.values()), key=lambda interval: interval.value)
    return Claim(text, holds, evidence, f"difference {worst.within('+.3g')}")


def paired(
    text: str,
    standings: Standings,
    who: str,
    rival: str | None,
    problem: str,
    holds: Callable[[Interval], Verdict],
    remark: str = "",
) -> Claim:
    """Judge a contender's mean loss minus a rival's at the end of a problem, by the criterion ``holds``."""
    mark = standings.last(problem)
    if rival is None or len(standings.scored([who, rival], problem, mark)) < 2:
        return Claim(text, None)
    difference = standings.difference(who, rival, problem, mark)
    evidence = f"{who} less {rival} {difference}{f'; {remark}' if remark else ''}"
    return Claim(text, holds(difference.interval), evidence, f"difference {difference.interval.within('+.3g')}")


def at_most(
    text: str, standings: Standings, who: str, rivals: Collection[str], problem: str, mark: int, share: float = 1.0
) -> Claim:
    """Judge whether a contender's loss is at or below a share of the best rival's."""
    best = standings.best(rivals, problem, mark)
    if best is None or not standings.has(who, problem, mark):
        return Claim(text, None)
    ours, theirs = (standings.values(name, problem, mark) for name in (who, best))
    excess = difference_of(ours, share * theirs).interval
    ratio = ours.mean() / theirs.mean() if theirs.mean() else np.inf
    evidence = against_the_best(standings, who, rivals, problem, mark)
    said = f"ratio {ratio:.3f}"
    return Claim(text, below_bound(excess), f"{said} (mark: {share:g}); {evidence}", f"{said}, mark {share:.2f}")


def alike(text: str, standings: Standings, contenders: Collection[str], problem: str, mark: int) -> Claim:
    """Judge whether contenders end about equally: each within ``ALIKE`` of their mean."""
    if not all(standings.has(name, problem, mark) for name in contenders):
        return Claim(text, None)
    losses = {name: standings.values(name, problem, mark) for name in contenders}
    # The mean of all is averaged over seeds, since it is a yardstick and not a contender.
    middle: Array = np.mean([each.mean(0, keepdims=True) for each in losses.values()], axis=0)
    bounds = [mean_of(sign * (each - (1.0 + sign * ALIKE) * middle)) for each in losses.values() for sign in (1, -1)]
    means = {name: float(each.mean()) for name, each in losses.items()}
    apart = max(abs(mean - float(middle.mean())) for mean in means.values()) / float(middle.mean())
    number = f"at most {100 * apart:.0f} % from their mean, mark {100 * ALIKE:.0f} %"
    return Claim(text, all_of([below_bound(bound) for bound in bounds]), shown(means), number)


def fails(
    text: str, standings: Standings, who: str, rivals: Collection[str], problem: str, mark: int, start: float
) -> Claim:
    """Judge whether a rule learns nothing: its loss stays above ``LEARNS`` of the loss before the first update."""
    if not standings.has(who, problem, mark):
        return Claim(text, None)
    holds = above_bound(mean_of(standings.values(who, problem, mark)), LEARNS * start)
    manner = {True: "learns nothing", False: "learns", None: "may learn or not"}[holds]
    evidence = against_the_best(standings, who, rivals, problem, mark)
    number = f"{standings.mean(who, problem, mark) / start:.2f} of the first loss, mark {LEARNS:g}"
    return Claim(text, holds, f"the rule {manner}; {evidence}; first loss {start:.3g}", number)


def goes_on(
    text: str, standings: Standings, who: str, problems: Collection[str], before: int, end: int, fall: float = 0.0
) -> Claim:
    """Judge whether a contender's loss falls by at least ``fall``, in its units, between two marks of every problem."""
    run = [name for name in problems if all(standings.has(who, name, mark) for mark in (before, end))]
    if not run:
        return Claim(text, None)
    pairs = {name: [standings.values(who, name, mark) for mark in (before, end)] for name in run}
    falls = {name: mean_of(first - last) for name, (first, last) in pairs.items()}
    evidence = ", ".join(
        f"{f'{name}: ' if name else ''}{first.mean():.4g} after {counted(before, 'update')}, "
        f"{last.mean():.4g} after {end}, a fall of {falls[name].within()}"
        for name, (first, last) in pairs.items()
    )
    holds = all_of([above_bound(each, fall) for each in falls.values()])
    least = min(falls.values(), key=lambda one: one.value)
    marked = f" (mark: a fall of {fall:g})" if fall else ""
    return Claim(text, holds, f"{evidence}{marked}", f"falls by {least.within()}")


def in_every_seed(text: str, holds: Collection[bool], evidence: str) -> Claim:
    """Judge a statement that each seed meets or not: it holds if all do, fails if none does, and is open otherwise."""
    if not holds:
        return Claim(text, None)
    share = f"in {sum(holds)} of {counted(len(holds), 'seed')}"
    return Claim(text, True if all(holds) else None if any(holds) else False, f"{share}; {evidence}", share)


def shown(values: Mapping[str, float], form: str = ".3g") -> str:
    """Return "name value, name value" for a claim's evidence."""
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())
