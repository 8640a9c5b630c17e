"""The figures of evaluate and compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2l_cli.commands.cells import Comparison
from l2l_cli.core.layout import FIGURES
from l2l_cli.core.printable import counted
from l2l_cli.evaluation.contest import Standing
from l2l_cli.results.content import Figure
from l2l_cli.results.drawing import saved
from l2l_cli.results.lines import COLOURED, FAINT, Style, finite_curves
from l2l_cli.results.plot import COLOURS, LIMIT, LIMIT_STYLE, curves, decorate, heat_map, legend, panels
from l2l_cli.results.tables import number

ALIKE = 1e-4
"""Largest relative difference of losses over the same steps that counts as rounding."""


def horizon_figure(frame: pd.DataFrame, folder: Path) -> Figure:
    """Draw the loss at each horizon that was scored, as mean and median over episodes.

    An episode that is the beginning of a longer one is not drawn again; dotted lines mark the end of each.
    """
    losses = frame[frame.metric == "loss"]
    ends = {str(name): int(part.step.max()) for name, part in losses.groupby("problem", sort=False)}
    names = _continued(losses, ends)
    kept = losses[losses.problem.isin(list(names))]
    shown = kept.assign(contender=kept.problem.map(names))
    figure, axes = panels(1, 2)
    for panel, statistic in zip(axes, ("mean", "median"), strict=True):
        curves(panel, shown[shown.statistic == statistic], list(names.values()))
        decorate(panel, f"{statistic} over episodes", "step", "loss" if statistic == "mean" else "", "xy")
        for end in sorted(set(ends.values()))[:-1]:
            panel.axvline(end, color=LIMIT, linestyle=":", linewidth=1.0)
    if len(names) > 1:
        legend(figure, axes, columns=4)
    caption = "Loss against step on fresh test episodes; dotted: where each horizon but the longest ends."
    return saved(figure, folder / FIGURES / "horizons", caption)


def _continued(losses: pd.DataFrame, ends: Mapping[str, int]) -> dict[str, str]:
    """Return the horizons that are not the beginning of longer ones, named after themselves and their beginnings."""
    found: dict[str, list[str]] = {}
    tables = {
        str(name): part.pivot_table(index="step", columns=["statistic", "seed"], values="value", dropna=False)
        for name, part in losses.groupby("problem", sort=False)
    }
    for name in sorted(ends, key=lambda name: -ends[name]):
        beginnings = {longer: tables[longer].reindex(tables[name].index) for longer in found}
        same = [
            longer
            for longer, part in beginnings.items()
            if np.allclose(part, tables[name], rtol=ALIKE, equal_nan=True)  # a training may have diverged
        ]
        found.setdefault(same[0] if same else name, []).append(name)
    order = [name for name in ends if name in found]
    return {name: ", ".join(sorted(found[name], key=lambda one: ends[one])) for name in order}


def contenders_figure(frame: pd.DataFrame, standings: Mapping[str, Standing], folder: Path) -> Figure:
    """Draw every contender's loss against step, as mean and median over episodes; limits are dashed."""
    losses = frame[frame.metric == "loss"]
    styles = _styles(losses, standings)
    figure, axes = panels(1, 2, height=3.2)
    for panel, statistic in zip(axes, ("mean", "median"), strict=True):
        part = losses[losses.statistic == statistic]
        finite_curves(panel, part, styles, x="step", log=True)
        decorate(panel, f"{statistic} over episodes", "step", "loss" if statistic == "mean" else "", "xy")
        shown = part[np.isfinite(part.value) & (part.value > 0)].value
        first = losses[(losses.statistic == "mean") & (losses.step == 1) & np.isfinite(losses.value)].value
        start = first.max() if (first > 0).any() else math.nan  # losses below 0 cannot be shown on this axis
        # A diverging or an exact contender must not compress all the others into a line.
        low, high = max(shown.min() * 0.7, start * 1e-5), min(shown.max(), 10 * start) * 1.3
        if low < high:
            panel.set_ylim(low, high)
    legend(figure, axes, columns=3)
    caption = "Loss against step on the same fresh test episodes; bands span the evaluation seeds."
    return saved(figure, folder / FIGURES / "contenders", caption)


def _styles(losses: pd.DataFrame, standings: Mapping[str, Standing]) -> dict[str, Style]:
    """Return line properties by contender: colours for those with the lowest final losses, grey for the rest."""
    last = losses[(losses.statistic == "mean") & (losses.step == losses.step.max())].groupby("contender").value.mean()
    limits = {name for name, one in standings.items() if one.entry.learner.is_limit}
    learned = {name for name, one in standings.items() if one.entry.learner.is_meta_trained}
    others = [name for name in standings if name not in limits]
    ranked = sorted(others, key=lambda name: (name not in learned, last.get(name, math.inf)))
    colours = dict(zip([name for name in others if name in ranked[:COLOURED]], COLOURS, strict=False))
    own = {name: {"color": colours[name]} if name in colours else FAINT for name in others}
    return {name: LIMIT_STYLE if name in limits else own[name] for name in standings}


def grid_figure(comparisons: Sequence[Comparison], folder: Path) -> Figure:
    """Draw problems × horizons as a heat map of the loss, or of its ratio to the best rival's, for mean and median."""
    rows = list(dict.fromkeys(one.run.problem for one in comparisons))
    columns = [name.replace(" (", "\n").removesuffix(")") for name in horizon_names(comparisons).values()]
    ratio = bool(comparisons[0].rivals)
    figure, axes = panels(1, 2, max(7.2, 2.6 + 1.6 * len(columns)), 1.3 + 0.36 * len(rows))
    tables = {
        statistic: np.array([one.ratio(statistic) for one in comparisons]).reshape(len(rows), len(columns))
        for statistic in ("mean", "median")
    }
    limits = _limits(np.concatenate(list(tables.values())), ratio)
    for panel, (statistic, values) in zip(axes, tables.items(), strict=True):
        texts = [[_cell(value, ratio) for value in row] for row in values]
        image = heat_map(panel, values, rows, columns, texts, ratio, limits)
        decorate(panel, f"{statistic} over episodes", "", "")
    axes[1].set_yticklabels([])
    best = " and ".join(dict.fromkeys(cell.contender for cell in comparisons[0].rivals))
    where = comparisons[0].run.where
    label = f"run ÷ {'best of ' if len(comparisons[0].rivals) > 1 else ''}{best}" if ratio else f"loss {where}"
    bar = figure.colorbar(image, ax=axes, label=label, extend=_beyond(np.concatenate(list(tables.values())), limits))
    bar.outline.set_visible(False)
    powers = [power for power in (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8) if limits[0] <= power <= limits[1]]
    shares = [f"1/{1 / power:.0f}" if power < 1 else f"{power:.0f}" for power in powers]
    levels = np.geomspace(*limits, 4).tolist()
    bar.set_ticks(powers if ratio else levels, labels=shares if ratio else [*map(number, levels)])
    bar.ax.minorticks_off()
    caption = f"Loss {where} on fresh test episodes, by problem and horizon" + (
        ", as a multiple of the best rival's, which is tuned for that problem and horizon; below 1 (blue) the run "
        "is better."
        if ratio
        else "."
    )
    return saved(figure, folder / FIGURES / "grid", caption)


def horizon_names(comparisons: Sequence[Comparison]) -> dict[float, str]:
    """Name the columns by their stretch, with the number of steps if it is the same for all problems."""
    names = {}
    for stretch in dict.fromkeys(one.run.stretch for one in comparisons):
        steps = {one.run.steps for one in comparisons if one.run.stretch == stretch}
        names[stretch] = f"×{stretch:g}" + (f" ({counted(steps.pop(), 'step')})" if len(steps) == 1 else "")
    return names


def _limits(values: np.ndarray[Any, Any], ratio: bool) -> tuple[float, float]:
    """Return the limits of the colour scale; for ratios they are symmetric about 1, up to a factor of 8."""
    shown = values[np.isfinite(values) & (values > 0)]
    if not len(shown):
        return 0.5, 2.0
    if ratio:
        reach = 8.0 if (values == math.inf).any() else float(min(8.0, max(2.0, shown.max(), 1 / shown.min())))
        return 1 / reach, reach
    return float(shown.min()) / 1.1, float(shown.max()) * 1.1


def _beyond(values: np.ndarray[Any, Any], limits: tuple[float, float]) -> str:
    """Return the ends of the colour scale beyond which there are values, as Matplotlib's argument "extend"."""
    below, above = bool((values < limits[0]).any()), bool((values > limits[1]).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]


def _cell(value: float, ratio: bool) -> str:
    if math.isnan(value) or math.isinf(value):
        return "–" if math.isnan(value) else "∞"
    if not ratio or not 0.005 <= value < 1000:
        return number(value)
    return f"{value:.2f}" if value < 9.995 else f"{value:.0f}"
