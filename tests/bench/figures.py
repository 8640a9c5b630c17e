"""The benchmark's two figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from l2l_cli.results.drawing import save
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels
from tests.bench.floors import Floors
from tests.bench.growth import LABELS, SIZES
from tests.bench.samples import Case, Sample, by_round, ratios, spread
from tests.bench.table import growth_slopes, medians

UNITS = ("ms", "MB")


def meta_step(cases: Sequence[Case], samples: list[Sample], path: Path) -> list[Path]:
    """Draw each contender's time as a multiple of the first's, with the arithmetic floor as a line."""
    figure, axes = panels(1, len(cases), height=0.9 + 0.3 * max(len(case.contenders) for case in cases))
    for panel, case in zip(axes, cases, strict=True):
        _ratios(panel, case, samples)
    return save(figure, path)


def _ratios(axes: Axes, case: Case, samples: list[Sample]) -> None:
    values = {name: by_round(samples, case.bench, case.name, name, "ms") for name in case.contenders}
    first = next(iter(values.values()))
    for height, (name, found) in enumerate(reversed(values.items())):
        middle = spread(ratios(found, first))
        bars = [[middle.median - middle.low], [middle.high - middle.median]]
        colour = COLOURS[0] if name.startswith("ours") else COLOURS[1]
        axes.barh(height, middle.median, height=0.55, color=colour, alpha=0.25)
        axes.errorbar(middle.median, height, xerr=bars, fmt="o", ms=5, capsize=3, color=colour)
        axes.annotate(
            f"{middle.median:.2f} ×", (middle.high, height), xytext=(6, 0), textcoords="offset points", va="center"
        )
    for work in set(case.work.values()):
        floor = spread(ratios(Floors(samples).arithmetic(work), first)).median
        axes.axvline(floor, color=LIMIT, linestyle=(0, (4, 2)), linewidth=1.2)
    axes.set_yticks(range(len(values)), list(reversed(values)))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    decorate(axes, f"meta-step, {case.name}", "time ÷ ours; dashed: floor", "")
    axes.set_xlim(0, 1.25 * axes.get_xlim()[1])


def growth(samples: list[Sample], path: Path) -> list[Path]:
    """Draw time above memory, a column for each axis of growth; the exponents stand beside the lines' ends."""
    figure, axes = panels(2, len(SIZES))
    for place, panel in enumerate(axes):
        row, column = divmod(place, len(SIZES))
        _lines(panel, samples, list(SIZES)[column], row)
        title = ("time of a meta-step, ms of CPU time", "its peak memory, MB")[row] if column == 0 else ""
        decorate(panel, title, LABELS[list(SIZES)[column]] if row else "", "", "xy")
        panel.minorticks_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return save(figure, path)


def _lines(axes: Axes, samples: list[Sample], axis: str, row: int) -> None:
    contenders = dict.fromkeys(s.contender for s in samples if s.bench == f"growth: {axis}")
    for place, (colour, contender) in enumerate(zip(COLOURS, contenders, strict=False)):
        sizes, values = medians(samples, axis, contender, UNITS[row])
        seen = [value if value > 0 else float("nan") for value in values]
        axes.plot(sizes, seen, "o-", ms=3.5, color=colour, label=contender)
        exponent = growth_slopes(samples, axis, contender)[row]
        where = {"xycoords": "axes fraction", "ha": "right", "color": colour}
        axes.annotate(f"∝ n$^{{{exponent:.2f}}}$", (0.98, 0.04 + 0.11 * place), **where)
