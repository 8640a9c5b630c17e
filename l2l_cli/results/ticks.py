"""Readable ticks: plain numbers on logarithmic axes, and whole numbers on axes along which things are counted."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, MaxNLocator, NullLocator

LEADS = (1, 2, 5)
"""First digits of ticks."""

FEW_DECADES, MANY = 2.2, 7
"""Decades below which 2 and 5 times a power of ten are ticks, too; number of powers above which some are left out."""

FINEST = 2e-3
"""Smallest length of an axis, as a share of its largest number: smaller differences are not worth showing."""

FEW = 4
"""Length of an axis of whole numbers below which each of them is a tick."""

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def finish(figure: Figure) -> None:
    """Set the ticks of all panels, whose limits are final by now; ticks that were set explicitly stay."""
    for axes in figure.axes:
        if axes.images:
            continue
        for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            if axis.get_scale() != "log" or isinstance(axis.get_major_locator(), FixedLocator):
                continue
            low, high = sorted(axis.get_view_interval())
            if low > 0.0:
                _set(axis, log_ticks(low, high))
            else:  # nothing that was to be drawn has a logarithm
                axes.set(**{f"{name}scale": "linear"})
        if axes.get_yscale() == "linear":
            axes.set_ylim(*widened(*axes.get_ylim()))
        if axes.get_xscale() == "linear" and _is_counted(axes):
            axes.xaxis.set_major_locator(_whole(*sorted(axes.xaxis.get_view_interval())))


def widened(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis, moved apart if its ticks would differ only after the fourth digit."""
    middle, least = (low + high) / 2, FINEST * max(abs(low), abs(high))
    return (middle - least / 2, middle + least / 2) if 0 < high - low < least else (low, high)


def _whole(low: float, high: float) -> Locator:
    """Return a locator of whole numbers between two ends; Matplotlib's own gives fractions on short axes."""
    if high - low < FEW:
        return FixedLocator([*range(math.ceil(low), math.floor(high) + 1)])
    return MaxNLocator(nbins="auto", integer=True, steps=[1, 2, 5, 10])


def _set(axis: Axis, ticks: list[float]) -> None:
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def _is_counted(axes: Axes) -> bool:
    """Return whether all curves of a panel have whole numbers as x."""
    places = [
        np.asarray(line.get_xdata(), dtype=float) for line in axes.lines if line.get_transform() is axes.transData
    ]
    if isinstance(axes.xaxis.get_major_locator(), FixedLocator):
        return False
    return any(len(each) for each in places) and all((each == each.round()).all() for each in places)


def log_ticks(low: float, high: float) -> list[float]:
    """Return the ticks of a logarithmic axis between its ends: powers of ten, with 2 and 5 times these if they are few.

    If fewer than two of these lie between the ends, the ticks are evenly spaced round numbers.
    """
    decades = math.log10(high / low)
    leads = LEADS if decades < FEW_DECADES else LEADS[:1]
    every = math.ceil(decades / MANY)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [lead * 10.0**power for power in powers if len(leads) > 1 or power % every == 0 for lead in leads]
    inside = [tick for tick in ticks if low <= tick <= high]
    if len(inside) > 1:
        return inside
    return [float(tick) for tick in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]


def plain(value: float) -> str:
    """Return a tick's label: a plain number if that is short, or else a multiple of a power of ten."""
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        return f"{value:.6g}".replace("-", "−")
    power = math.floor(math.log10(abs(value)) + 1e-9)
    lead = f"{value / 10.0**power:.3g}"
    return f"{'' if lead == '1' else f'{lead} · '}10{str(power).translate(_RAISED)}"
