"""Results, curves and sections that several artefacts of this paper share."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l2l_cli.papers.measured import Measured, on_problem
from l2l_cli.papers.mlhf2018 import track
from l2l_cli.papers.mlhf2018.contents import HEADLINE
from l2l_cli.papers.sections import who_leads
from l2l_cli.results.content import Section
from l2l_cli.results.lines import Style, emphasised, finite_curves, labels_of, relabelled
from l2l_cli.results.plot import COLOURS, decorate, grid, panels
from l2l_cli.results.standings import Standings, last_values
from l2l_cli.results.statistics import Interval
from l2l_cli.results.verdicts import Result

ENDS = (
    "*Loss* is the mean training cross-entropy over the last tenth of the steps, which is also what tuning minimises "
    "on episodes of its own; *held-out* is measured on images that were never learned from, after the last step; "
    "*longest step* is the largest ‖θ_{t+1} − θ_t‖ ÷ ‖θ_t‖; *MB* is the peak memory of a run beyond its images and "
    "θ₀, for all of its episodes together, and empty where that fits into what its process held before."
)

INSIDE = (
    "Diagnostics of MLHF's steps, means over those that were diagnosed.  *Downhill* is the share with ⟨g, x⟩ > 0; "
    "*residual* is ‖r_n‖ ÷ ‖g‖; the quantiles are of the inferred damping over the coordinates of one parameter type, "
    "halfway through the run: where 10 % and 90 % agree, one number for each type would suffice."
)

LAST = {
    "held-out": track.HELD_OUT_LOSS,
    "accuracy": track.HELD_OUT_ACCURACY,
    "longest step": track.LONGEST,
    "ms per step": track.SECONDS,
    "MB": track.MEMORY,
}
"""Metrics whose last value is shown, by column."""

STATED = {"accuracy": track.HELD_OUT_ACCURACY, "ms per step": track.SECONDS, "MB": track.MEMORY}
"""Those of them that are also results, by metric of the result; they are not judged, so they have no intervals."""

FORMATS = dict.fromkeys(("loss", "sd over seeds", "held-out"), ".4f")
FORMATS |= {"accuracy": ".1%", "longest step": ".2f", "ms per step": ".1f", "MB": ".0f", "÷ the quickest's": ".1f"}

ABOVE = 1.15
"""Multiple of the first loss above which curves are cut off."""


def draw(
    axes: Axes,
    table: pd.DataFrame,
    styles: Mapping[str, Style],
    x: str = "updates",
    log: bool = False,
    cut: bool = True,
    once: bool = True,
) -> None:
    """Draw curves, and cut off what is above ``ABOVE`` times the first loss if asked for; see ``finite_curves``."""
    table = finite_curves(axes, table, styles, x, log, once)
    start, low = table[table.updates == table.updates.min()].value.median(), table.value.min()
    if cut and table.value.max() > ABOVE * start > ABOVE * low:
        axes.set_ylim(low * 0.9 if log else low - 0.05 * (start - low), ABOVE * start)


def loss_panels(measured: Measured, problem: str, held_out: bool, log: bool) -> Figure:
    """Draw training loss against updates and seconds, and scores on held-out images if asked for."""
    figure, axes = panels(2 if held_out else 1, 2, height=3.0)
    loss = measured.curves(problem, track.LOSS)
    # Contenders with equal losses share one line in all panels, although their times differ.
    labels = labels_of(loss, [name for name in measured.styles() if name in set(loss.contender)])
    headline = [row for _, row, _ in HEADLINE.lines.values()]
    coloured = emphasised(list(labels), measured.styles(), loss, headline)
    styles = {labels[name]: style for name, style in coloured.items()}
    loss, spent, held, right = (
        relabelled(measured.curves(problem, metric), labels)
        for metric in (track.LOSS, track.SECONDS, track.HELD_OUT_LOSS, track.HELD_OUT_ACCURACY)
    )
    draw(axes[0], loss, styles, log=log)
    decorate(axes[0], "(a) against updates", "updates", "training cross-entropy, nats")
    seconds = spent.groupby(["contender", "updates"]).value.mean()
    timed = loss.join(seconds.rename("seconds"), on=["contender", "updates"])
    draw(axes[1], timed, styles, x="seconds", log=log)
    decorate(axes[1], "(b) against seconds", "seconds", "", "x")
    if held_out:
        draw(axes[2], held, styles, once=False)
        decorate(axes[2], "ours: held-out images", "updates", "cross-entropy, nats")
        draw(axes[3], right, styles, cut=False, once=False)
        decorate(axes[3], "ours: held-out images", "updates", "accuracy")
    return figure


def end_results(measured: Measured, standings: Standings, problem: str, base: str) -> list[Result]:
    """Return each contender's loss over the last tenth of a run and costs, and empty results for rows not run."""
    end = standings.last(problem)
    missing = [row for row in measured.rows if row not in measured.run]
    results = []
    for name in [*standings.scored(measured.names(), problem, end), *missing]:
        row = on_problem(name, problem, base)
        results.append(measured.result(row, "loss", standings.values(name, problem, end)))
        stated = [_stated(measured, name, row, problem, metric) for metric in STATED]
        results += [one for one in stated if one.ours is not None or name in missing]
    return results


def _stated(measured: Measured, name: str, row: str, problem: str, metric: str) -> Result:
    """Return the mean over seeds of a contender's last value of a metric of ``STATED``, unjudged."""
    table = _known(measured, problem, STATED[metric])
    last = table[(table.contender == name) & (table.updates == table.updates.max())]
    values = (last.value * 1000 / last.updates if metric == "ms per step" else last.value).astype(float).tolist()
    none = Interval(float(np.mean(values)), math.nan, math.nan) if values else None
    return measured.result(row, metric, values, lower_is_better=metric != "accuracy", interval=none)


def _known(measured: Measured, problem: str, metric: str) -> pd.DataFrame:
    """Return a metric's curves; for memory only where it grew, since what a process held before is not the run's."""
    table = measured.curves(problem, metric)
    return table[table.value > 0] if metric == track.MEMORY else table


def ends_sections(title: str, measured: Measured, standings: Standings, problem: str) -> list[Section]:
    """Return losses, held-out scores and costs at the end of a run, best first, and who leads when."""
    end = standings.last(problem)
    names = standings.scored(standings.contenders, problem, end)
    losses = pd.DataFrame({name: pd.Series(standings.seeds(name, problem, end)) for name in names})
    means = {"loss": losses.mean(), "sd over seeds": losses.std(), "seeds": losses.count()}
    last = {column: pd.Series(last_values(_known(measured, problem, metric))) for column, metric in LAST.items()}
    table = pd.DataFrame({**means, **last}).loc[names]
    table["ms per step"] *= 1000 / end
    table["÷ the quickest's"] = table["ms per step"] / table["ms per step"].min()
    table = table.sort_values("loss").rename_axis("contender").reset_index()
    section = Section(f"{title}: losses and costs at the end", [ENDS], [table], formats=FORMATS)
    return [section, *who_leads(title, measured, standings, [problem])]


def inside_sections(title: str, measured: Measured, problem: str, suffix: str = "") -> list[Section]:
    """Return the diagnostics of MLHF's steps, as a table and a figure of its damping; none if it was not run."""
    damping: dict[str, dict[str, pd.DataFrame]] = {}
    lines = []
    for name, frame in measured.contenders.items():
        frame = frame[frame.problem == problem]
        means = frame.groupby("metric").value.mean()
        if track.DOWNHILL not in means:
            continue
        damping[name] = {
            str(part): rows.pivot_table(index="step", columns="statistic", values="value")
            for part, rows in frame[frame.metric == track.DAMPING].groupby("part", sort=False)
        }
        quantiles = {
            f"{part}: 10, 50, 90 %": " · ".join(f"{value:.2g}" for value in table.iloc[len(table) // 2])
            for part, table in damping[name].items()
        }
        facts = {"contender": name, "downhill": means[track.DOWNHILL], "residual": means[track.RELATIVE]}
        lines.append(facts | quantiles)
    if not lines:
        return []
    caption = "The inferred damping along a run, by parameter type: median over coordinates, 10 to 90 %."
    drawn = measured.save(_draw(damping), caption, f"{suffix}_damping", columns=5)
    return [Section(f"{title}: inside a step", [INSIDE], [pd.DataFrame(lines)], [drawn], {"downhill": ".1%"})]


def _draw(damping: dict[str, dict[str, pd.DataFrame]]) -> Figure:
    """Draw a panel for each contender; those that inferred the same damping share one."""
    alike: dict[bytes, list[str]] = {}
    for name, parts in damping.items():
        alike.setdefault(b"".join(table.to_numpy(float).tobytes() for table in parts.values()), []).append(name)
    shown = {" = ".join(names): damping[names[0]] for names in alike.values()}
    figure, axes = grid(len(shown), 3, height=2.3)
    for panel, (name, parts) in zip(axes, shown.items(), strict=True):
        for colour, (part, table) in zip(COLOURS, parts.items(), strict=False):
            low, middle, high = (table[name] for name in track.QUANTILES)
            panel.plot(middle.index, middle, label=part.replace("_", " "), color=colour)
            panel.fill_between(middle.index, low, high, color=colour, alpha=0.2, lw=0)
        decorate(panel, name, "updates", "damping", "y")
        panel.set_title(panel.get_title(loc="left"), loc="left", fontsize=7.5)
    return figure
