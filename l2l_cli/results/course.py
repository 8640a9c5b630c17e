"""The course of a validation loss over meta-training: whether it was still falling, and since when it has been flat.

`l2l meta-train` and the reports share this criterion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from l2l_cli.core.printable import counted
from l2l_cli.results.metrics import Metric

METRICS = {"mean": "mean_loss", "final": "final_loss", "end": "final_loss", "held_out": "held_out"}
"""Metric in metrics.csv for each criterion of validation; for "end" it holds only the loss of the last step."""

VALID, TRAIN = "meta_valid", "meta_train"
"""Splits in metrics.csv of the validation losses, and of the training losses of the updates before each validation."""

FEWEST = 6
"""Smallest number of validations that is judged: of fewer, the last third holds fewer than two."""

SMALLEST = 0.05
"""Relative change below which a loss counts as unchanged, however little it varies."""

NOISES = 2.5
"""Multiple of the noise below which a change does not count: the lowest of many points is compared with one point."""

NOISIEST = 0.5
"""Largest tolerance, as a share of the loss, at which a loss is called flat."""

FALLING, FLAT, ROSE, NOISY, UNKNOWN = "falling", "flat", "rose", "noisy", "unknown"


class Course(NamedTuple):
    """How a validation loss developed; shares are relative to the loss, and losses are smoothed.

    Attributes:
        verdict: "falling" (in the last third), "flat", "rose", "noisy", or "unknown" if there are too few validations.
        validations: Number of finite validations.
        updates: Number of updates before the last of them.
        since: Number of updates after which the loss first lies within ``tolerance`` of its lowest point.
        change: Share by which it fell in the last third or, where it rose, by which it ends above its lowest point.
        tolerance: Largest share by which the loss may change and still count as unchanged.
    """

    verdict: str
    validations: int
    updates: int
    since: int = 0
    change: float = 0.0
    tolerance: float = 0.0

    def __str__(self) -> str:
        """Return a sentence."""
        match self.verdict:
            case "falling":
                start = self.updates * 2 // 3
                return (
                    f"validation was still falling in the last third of training, by {self.change:.0%} after update "
                    f"{start} of {self.updates}: more updates may do better (meta.updates)"
                )
            case "flat":
                return (
                    f"validation has been flat since update {self.since} of {self.updates}, within "
                    f"{self.tolerance:.0%} of its lowest"
                )
            case "rose":
                return (
                    f"validation rose: at its end it lies {self.change:.0%} above its lowest, which it reached by "
                    f"update {self.since} of {self.updates}"
                )
            case "noisy":
                return (
                    "validation varies too much to say whether it was still falling: changes below "
                    f"{self.tolerance:.0%} are noise (meta.validation_episodes, meta.validate_every)"
                )
        return (
            f"{counted(self.validations, 'validation')} cannot tell whether the loss was "
            f"still falling; it takes {FEWEST} (meta.validate_every)"
        )


def course_of(losses: Mapping[int, float]) -> Course:
    """Judge validation losses, given by the number of updates before each; those that are not finite are left out.

    Losses are taken as logarithms if all are positive, otherwise in units of their range, and smoothed by a moving
    average of three.  The noise is estimated from second differences over the second half of training, which vanish
    for a steady fall.  A change smaller than ``SMALLEST``, or than ``NOISES`` times the noise, does not count.  The
    loss was still falling if its lowest point in the last third of the updates lies below the start of that third.
    """
    known = sorted((step, loss) for step, loss in losses.items() if math.isfinite(loss))
    updates = known[-1][0] if known else 0
    if len(known) < FEWEST:
        return Course(UNKNOWN, len(known), updates)
    steps, values = zip(*known, strict=True)
    positive = min(values) > 0
    width = max(values) - min(values) or 1.0
    scaled = [math.log(value) if positive else value / width for value in values]
    smooth = _smoothed(scaled)
    tolerance = max(math.log1p(SMALLEST), NOISES * _noise(scaled[len(scaled) // 2 - 1 :]))

    def share(change: float) -> float:
        return math.expm1(change) if positive else change

    start = max(index for index, step in enumerate(steps) if 3 * step <= 2 * updates or index == 0)
    lowest = min(smooth)
    since = next(step for step, value in zip(steps, smooth, strict=True) if value <= lowest + tolerance)
    fall, rise = smooth[start] - min(smooth[start:]), smooth[-1] - lowest
    facts: dict[str, Any] = {
        "validations": len(known),
        "updates": updates,
        "since": since,
        "tolerance": share(tolerance),
    }
    if fall > tolerance:
        return Course(FALLING, change=-share(-fall), **facts)
    if rise > tolerance:
        return Course(ROSE, change=share(rise), **facts)
    return Course(FLAT if facts["tolerance"] <= NOISIEST else NOISY, **facts)


def is_said(course: Course) -> bool:
    """Return whether the course is known."""
    return course.verdict not in (NOISY, UNKNOWN)


def losses_of(rows: Iterable[Metric], criterion: str, split: str = VALID) -> dict[int, float]:
    """Return the losses that a criterion minimises, by number of updates, from rows of a training's metrics.csv.

    For the split "meta_train" these are mean losses of the updates since the last validation, whatever the criterion.
    """
    metric = METRICS[criterion] if split == VALID else METRICS["mean"]
    return {row.step: row.value for row in rows if (row.split, row.metric) == (split, metric)}


def _smoothed(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and its neighbours; the first and the last value have one neighbour each."""
    parts = [values[max(0, index - 1) : index + 2] for index in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def _noise(values: Sequence[float]) -> float:
    """Return the standard deviation of independent errors, given values that would lie on a line without them."""
    slopes = [after - before for before, after in pairwise(values)]
    bends = [after - before for before, after in pairwise(slopes)]
    return math.sqrt(sum(bend * bend for bend in bends) / (6 * len(bends)))
