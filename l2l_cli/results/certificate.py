"""The certificate of a learned rule: its losses and costs beside a tuned rival's, and when meta-training pays back.

Everything here is a pure function of measurements: losses of both on the same episodes, and times in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from l2l_cli.core.nodes import Entries
from l2l_cli.core.printable import counted
from l2l_cli.results.gains import gain_of
from l2l_cli.results.spread import Array
from l2l_cli.results.standings import BEHIND, BESIDE, JUDGED, LEVEL, stands
from l2l_cli.results.statistics import Interval, difference_of

UNJUDGED = "not judged"
"""Verdict in place of "level" where there is no interval."""

CLOCKS = {"CPU-": "CPU-seconds", "": "seconds on the wall"}
"""Names of the seconds of each clock, by the prefix of its units."""

ENOUGH = ", if its final loss suffices; the rival's is lower"
"""Condition under which a rule that ends behind its rival pays back."""

MEANING = (
    "The marks are a tenth, half and the whole of the run, declared in advance; each interval is one of 95 %, of one "
    "minus the ratio of the mean losses on the same episodes; none is corrected for the number of marks, rules and "
    "rivals.  Where the interval contains 0 %, neither is ahead.  Steps and times are those of the measured mean "
    "losses, without an interval.  Seconds per step are {clock}, of {loop}: forward, backward and the optimizer's own "
    "work.  *One use* is one training of the network.  It *saves* the time that the tuned rival needs to reach the "
    "learned rule's final loss, minus the time that the learned rule needs for it; where the rival does not reach that "
    "loss within the scored steps, the number is a lower bound.  The number of uses after which meta-training is *paid "
    "back* is its time divided by what one use saves; it is smaller where each use would tune the rival anew, one run "
    "per setting tried."
)
"""What the numbers mean, for the page; ``clock`` and ``loop`` say how seconds were measured."""


class JudgedMark(NamedTuple):
    """The rule's standing against its rival after some number of steps.

    Attributes:
        steps: Number of steps.
        gain: Share by which the rule's mean loss lies below the rival's; negative if it lies above.
        stands: ``AHEAD``, ``BEHIND`` or ``LEVEL``, by the interval of the difference; ``UNJUDGED`` without one.
    """

    steps: int
    gain: Interval
    stands: str

    def __str__(self) -> str:
        """Return the standing as part of a sentence, such as "ahead by 12 % [8, 16] after 2000 steps"."""
        return self.said()

    def said(self, rival: str = "") -> str:
        """Return the standing as part of a sentence, which names the rival if one is given."""
        joined = {**BESIDE, UNJUDGED: f"{UNJUDGED} beside"}[self.stands]
        how = f"{joined} {rival}" if rival else self.stands
        after = f"after {counted(self.steps, 'step')}"
        if not self.gain.is_known:
            return f"{how} {after} ({self.gain.why_none})"
        return f"{how} {after}" if self.stands == LEVEL else f"{how} by {self.percent} {after}"

    @property
    def percent(self) -> str:
        """Percentage by which the rule is ahead of its rival, or behind it, with its interval."""
        sign = -1.0 if self.stands == BEHIND else 1.0
        if not self.gain.is_known:
            return self.gain.why_none
        ends = sorted(sign * end for end in (self.gain.low, self.gain.high))
        return f"{_percent(sign * self.gain.value)} % [{', '.join(map(_percent, ends))}]"


class Price(NamedTuple):
    """What the rule and its rival cost, in seconds of one clock.

    Attributes:
        training: Seconds of one meta-training; None if they are not known by this clock.
        step: Seconds of a step of the learned rule.
        rival_step: Seconds of a step of the rival.
        steps: Steps of one use.
        reached: Steps after which the rule's mean loss first reaches its final value; None if that is not finite.
        rival_reached: Steps after which the rival's mean loss first reaches that value; None if not within ``steps``.
        trials: Number of settings tried in tuning the rival; 0 if it was not tuned.
    """

    training: float | None
    step: float
    rival_step: float
    steps: int
    reached: int | None
    rival_reached: int | None
    trials: int

    @property
    def ratio(self) -> float:
        """Seconds of a step of the rule as a multiple of the rival's."""
        return self.step / self.rival_step

    @property
    def saved(self) -> float:
        """Seconds that one use saves, without tuning; a lower bound if the rival never reaches the rule's final loss.

        A rule that diverges saves nothing, however long the rival is tuned; the value is then −∞.
        """
        if self.reached is None:
            return -math.inf
        return (self.rival_reached or self.steps) * self.rival_step - self.reached * self.step

    @property
    def tuning(self) -> float:
        """Seconds that tuning the rival takes: one run for each setting."""
        return self.trials * self.steps * self.rival_step

    def uses(self, tuned: bool = False) -> int | None:
        """Return the number of uses after which meta-training has paid back; None if never, or if its cost is unknown.

        Args:
            tuned: Whether the rival would be tuned again for each use.
        """
        saved = self.saved + (self.tuning if tuned else 0.0)
        return None if self.training is None or saved <= 0.0 else max(1, math.ceil(self.training / saved))

    def sentence(self, rival: str, unit: str = "CPU-", is_behind: bool = False) -> str:
        """Return what a step costs and when meta-training pays back, as parts of a sentence.

        Args:
            rival: Name of the rival.
            unit: Prefix of units of time.
            is_behind: Whether the rule ends behind the rival, so that it saves time only if its final loss suffices.
        """
        step = f"a step costs {self.ratio:.2g} ×"
        if self.reached is None:
            return f"{step}; meta-training never pays back, as the rule's loss is not finite in the end"
        if self.training is None:
            return f"{step}; what meta-training took is not known in {CLOCKS[unit]}"
        training, bound = f"meta-training ({time_text(self.training, unit)})", "" if self.rival_reached else "at most "
        alone, tuned = self.uses(), self.uses(tuned=True)
        if alone is not None:
            paid = f"{training} pays back after {bound}{_uses(alone)}"
        elif self.rival_reached is None:
            steps = counted(self.steps, "step")
            paid = f"whether {training} pays back is open, as {rival} does not come as low in {steps}"
        else:
            paid = f"{training} never pays back, as a use saves no time"
        if tuned is not None and tuned != alone:
            also = ", or" if alone is not None else "; it does"
            paid = f"{paid}{also} after {_uses(tuned)} where {rival} would be tuned for each"
        return f"{step}; {paid}{ENOUGH if is_behind and tuned is not None else ''}"


class Certificate(NamedTuple):
    """A learned rule beside one tuned rival.

    Attributes:
        rule: Name of the rule.
        rival: Name of the rival.
        marks: How the rule stands at each mark.
        price: What both cost.
        unit: Prefix of units of time: "CPU-", or empty for wall-clock time.
    """

    rule: str
    rival: str
    marks: list[JudgedMark]
    price: Price
    unit: str = "CPU-"

    @property
    def about(self) -> str:
        """What the intervals are about: one rule, or a recipe; empty if there are none."""
        return next((mark.gain.about for mark in self.marks if mark.gain.is_known), "")

    @property
    def sentence(self) -> str:
        """The whole certificate in one sentence."""
        first, *others = self.marks
        rival = f"your {'tuned ' if self.price.trials else ''}{self.rival}"
        stands_so = "; ".join([first.said(rival), *map(str, others)])
        about = f" (about {self.about})" if self.about else ""
        is_behind = self.marks[-1].stands == BEHIND
        return f"{self.rule} is {stands_so}{about}; {self.price.sentence(self.rival, self.unit, is_behind)}."

    def rows(self) -> list[Entries]:
        """Return one row of a table for each mark."""
        return [
            {
                "rule": self.rule,
                "rival": self.rival,
                "after": counted(mark.steps, "step"),
                "it is": mark.stands,
                "by [95 %]": mark.percent,
                "about": self.about,
            }
            for mark in self.marks
        ]

    def cost_row(self) -> Entries:
        """Return the certificate's row in a table of costs."""
        price, unit = self.price, self.unit
        paid = [price.uses(), price.uses(tuned=True)]
        is_never = price.reached is None or price.rival_reached is not None
        never = "not known" if price.training is None and price.reached is not None else "never" if is_never else "open"
        bound, sign = "" if price.rival_reached else "at least ", "−" * (price.saved < 0)
        return {
            "rule": self.rule,
            "rival": self.rival,
            "ms per step": price.step * 1e3,
            "the rival's": price.rival_step * 1e3,
            "×": price.ratio,
            "steps to the rule's loss": "its loss is not finite"
            if price.reached is None
            else f"{price.reached}, rival {price.rival_reached or f'more than {price.steps}'}",
            "one use saves": "nothing"
            if price.reached is None
            else f"{bound}{sign}{time_text(abs(price.saved), unit)}",
            "tuning it takes": f"{counted(price.trials, 'run')}, {time_text(price.tuning, unit)}",
            "meta-training": "not known" if price.training is None else time_text(price.training, unit),
            "paid after": never if paid[0] is None else _uses(paid[0]),
            "tuning counted": never if paid[1] is None else _uses(paid[1]),
        }

    def entries(self) -> Entries:
        """Return the whole certificate as plain numbers and strings, for run.json and for programs."""
        price = self.price
        return {
            "rule": self.rule,
            "rival": self.rival,
            "sentence": self.sentence,
            "about": self.about,
            "marks": [
                {"steps": one.steps, "stands": one.stands, "gain": _finite(one.gain.value)}
                | {"low": _finite(one.gain.low), "high": _finite(one.gain.high)}
                for one in self.marks
            ],
            **price._asdict(),
            "ratio": price.ratio,
            "saved": _finite(price.saved),
            "tuning": price.tuning,
            "pays_after": price.uses(),
            "pays_after_with_tuning": price.uses(tuned=True),
        }


def marks_of(steps: int) -> list[int]:
    """Return the steps at which a run of so many steps is judged: the shares ``JUDGED`` of it, declared in advance."""
    return sorted({max(1, round(share * steps)) for share in JUDGED})


def judged(ours: Array, theirs: Array, steps: int) -> JudgedMark:
    """Judge a rule's losses against a rival's after ``steps`` steps; both are (S, E), over the same episodes."""
    difference = difference_of(ours, theirs).interval
    how = stands(difference)
    return JudgedMark(steps, gain_of(ours, theirs), how if how != LEVEL or difference.is_known else UNJUDGED)


def reached(curve: Array, level: float) -> int | None:
    """Return the number of steps after which a mean loss, (T,), first reaches a level; None if it never does."""
    below = np.flatnonzero(curve <= level)
    return int(below[0]) + 1 if len(below) else None


def time_text(seconds: float, unit: str = "CPU-") -> str:
    """Return a time with two digits, such as "20 CPU-s", "12 CPU-min" or "2.1 CPU-h"."""
    for length, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * length:
            return f"{_two(seconds / length)} {unit}{name}"
    return f"{_two(seconds)} {unit}s" if seconds >= 0.1 or not seconds else f"{_two(seconds * 1e3)} {unit}ms"


def best_rival(ends: Mapping[str, Array]) -> str:
    """Return the rival with the lowest mean loss at the end: the one that a rule is certified against."""
    return min(ends, key=lambda name: float(ends[name].mean()))


def _two(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"


def _percent(share: float) -> str:
    value = 100.0 * share
    return (
        f"{value:.0f}" if 1.0 <= abs(value) < 98.5 or not math.isfinite(value) or abs(value) >= 1e3 else f"{value:.3g}"
    )


def _uses(count: int) -> str:
    return f"{count} use{'s' if count != 1 else ''}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
