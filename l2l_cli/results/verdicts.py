"""One row for each published number: the number, ours with its interval, the limit, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from l2l_cli.core.printable import counted
from l2l_cli.results.spread import Array
from l2l_cli.results.statistics import Interval, mean_of, needed


@dataclass(frozen=True)
class Result:
    """One published number beside ours; the columns of results.csv in their order.

    Attributes:
        artefact: Table or figure.
        row: Row of the artefact.
        metric: Metric of the row.
        paper: The published number.
        ours: Mean over seeds and episodes, or another statistic that the note names.
        sd: Standard deviation over seeds.
        low: Lower end of the 95 % interval; None if there is none.
        high: Upper end.
        about: What the interval is about; see ``Interval``.
        seeds: Number of seeds.
        limit: The best that is possible.
        ratio_to_limit: ``ours`` as a multiple of it.
        verdict: See ``RULE``.
        needs: Number of seeds or episodes that would decide an open verdict.
        counts: Whether the verdict counts: each published number is counted once.
        note: Whatever a reader must know.
    """

    artefact: str
    row: str
    metric: str
    paper: float | None
    ours: float | None
    sd: float | None
    low: float | None
    high: float | None
    about: str
    seeds: int
    limit: float | None
    ratio_to_limit: float | None
    verdict: str
    needs: str
    counts: bool
    note: str

    def without_verdict(self, why: str) -> Result:
        """Return the result unjudged, with a note that says why; a published number is judged once."""
        note = "; ".join(filter(None, [self.note, why])) if self.paper is not None else self.note
        return replace(self.uncounted(), note=note)

    def uncounted(self) -> Result:
        """Return the result without a verdict, unless it was not run."""
        return replace(self, verdict=self.verdict if self.verdict == NOT_RUN else "", needs="", counts=False)


COLUMNS = tuple(field.name for field in fields(Result))
"""Columns of results.csv, where those of the results' origin follow."""

TOLERANCE = 0.10
"""Relative distance from the published number within which the whole interval must lie to reproduce it."""

NARROW = 0.05
"""Half-width, relative to the published number, that an interval should have where the verdict is open."""

SLACK = 0.01
"""Share of the limit by which a published number may pass it: the limit is itself measured on a sample."""

NOT_RUN, REPRODUCED, BETTER, WORSE, DIFFERS, OPEN = "not run", "reproduced", "better", "worse", "differs", "open"
"""Verdicts."""

RULE = (
    f"Verdicts, by the 95 % interval of what we measured: *{REPRODUCED}* if it lies within {100 * TOLERANCE:g} % of "
    f"the published number; else *{BETTER}* or *{WORSE}* if it lies wholly on that side, and *{DIFFERS}* if it "
    "excludes the published number where no side is better, or where that number lies more than "
    f"{100 * SLACK:g} % beyond the limit, which no learner can reach; else *{OPEN}*, with the number of seeds that "
    f"would bring the interval's half-width to {100 * NARROW:g} % of the published number.  There is no verdict "
    f"without a published number or without an interval.  *{NOT_RUN}* if this scale leaves it out."
)
"""How ``summarise`` judges, for reports."""


def summarise(
    key: tuple[str, str, str],
    values: Sequence[float] | Array,
    paper: float | None,
    limit: float | None = None,
    note: str = "",
    lower_is_better: bool | None = True,
    interval: Interval | None = None,
) -> Result:
    """Compare what was measured with the published number, and judge it by ``RULE``.

    A value that is not finite counts as infinitely bad: a diverged seed is not averaged away.

    Args:
        key: Artefact, row and metric.
        values: One row per seed over the same episodes, (S, E), or one number per seed that shares no episodes, (S,).
        paper: The published number; None if there is none.
        limit: The best that is possible; None if it is not known.
        note: Whatever a reader must know.
        lower_is_better: Whether lower is the better side of the published number; None if neither is.
        interval: Statistic with its interval, if it is not the mean, as the note then says, or is the mean of values
            that may be negative, such as differences; without it, the interval of the mean is cut off at 0.
    """
    data = np.asarray(values, dtype=float)
    if not data.size:
        return Result(*key, paper, None, None, None, None, "", 0, limit, None, NOT_RUN, "", paper is not None, note)
    notes = [note] if note else []
    by_seed = data if data.ndim == 1 else data.mean(1)
    lost = int((~np.isfinite(by_seed)).sum())
    data = np.where(np.isfinite(data), data, -math.inf if lower_is_better is False else math.inf)
    found = interval or _not_below_zero(mean_of(data))
    if lost:
        notes.append(f"{lost} of {counted(len(by_seed), 'seed')} not finite")
    if _is_impossible(paper, limit, lower_is_better):
        lower_is_better = None
        if "the limit" not in note:  # a caller that explains the matter in its own words is not repeated
            notes.append("the published number lies beyond the limit, where no learner can be")
    verdict = verdict_of(found, paper, lower_is_better)
    needs = needed(data, NARROW * abs(paper)) if verdict == OPEN and paper and interval is None else ""
    ratio = found.value / limit if limit and math.isfinite(found.value) else None
    sd = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 and not lost else None
    low, high = (found.low, found.high) if found.is_known else (None, None)
    about, seeds, counts, said = found.about, len(by_seed), bool(verdict), "; ".join(notes)
    return Result(*key, paper, found.value, sd, low, high, about, seeds, limit, ratio, verdict, needs, counts, said)


def _not_below_zero(found: Interval) -> Interval:
    return found._replace(low=max(found.low, 0.0)) if found.is_known else found


def _is_impossible(paper: float | None, limit: float | None, lower_is_better: bool | None) -> bool:
    if paper is None or limit is None or lower_is_better is None:
        return False
    beyond = limit - paper if lower_is_better else paper - limit
    return beyond > SLACK * abs(limit)


def verdict_of(found: Interval, paper: float | None, lower_is_better: bool | None) -> str:
    """Return the verdict on a published number by ``RULE``; empty without such a number or an interval."""
    if paper is None:
        return ""
    if math.isinf(found.value):  # however few the seeds: with one that diverged, no mean comes near
        return DIFFERS if lower_is_better is None else WORSE
    if not found.is_known:
        return ""
    margin = TOLERANCE * abs(paper)
    if paper - margin <= found.low and found.high <= paper + margin:
        return REPRODUCED
    if found.low <= paper <= found.high:
        return OPEN
    if lower_is_better is None:
        return DIFFERS
    return BETTER if (found.high < paper) == lower_is_better else WORSE
