"""Results and sections that several artefacts of this paper share."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from l2l_cli.papers.measured import Measured, on_problem
from l2l_cli.papers.mlhf2018.diagnostics import DAMPING, DOWNHILL, QUANTILES, RELATIVE
from l2l_cli.papers.mlhf2018.track import HELD_OUT_ACCURACY, HELD_OUT_LOSS, LONGEST, SECONDS
from l2l_cli.papers.panels import legend, plain_numbers
from l2l_cli.papers.sections import who_leads
from l2l_cli.results.content import Section
from l2l_cli.results.plot import COLOURS, decorate, panels
from l2l_cli.results.standings import Standings, last_values
from l2l_cli.results.verdicts import Result

ENDS = (
    "*Loss* is the mean training cross-entropy over the last tenth of the steps, which is also what tuning minimises "
    "on episodes of its own; *held-out* is measured on images that were never learned from, after the last step; "
    "*longest step* is the largest ‖θ_{t+1} − θ_t‖ ÷ ‖θ_t‖."
)

INSIDE = (
    "Diagnostics of MLHF's steps, means over those that were diagnosed.  *Downhill* is the share with ⟨g, x⟩ > 0; "
    "*residual* is ‖r_n‖ ÷ ‖g‖; the quantiles are of the inferred damping over the coordinates of one parameter type, "
    "halfway through the run: where 10 % and 90 % agree, one number for each type would have done."
)

FORMATS = {
    "loss": ".4f",
    "sd over seeds": ".4f",
    "held-out": ".4f",
    "accuracy": ".1%",
    "ms per step": ".1f",
    "÷ the quickest's": ".1f",
    "longest step": ".2f",
}


def end_results(measured: Measured, standings: Standings, problem: str, base: str) -> list[Result]:
    """Return one result a contender: its loss over the last tenth of a run; rows that were not run stand for it."""
    end = standings.last(problem)
    names = [name for name in measured.names() if standings.has(name, problem, end)]
    names += [row for row in measured.rows if row not in measured.run]
    return [
        measured.result(on_problem(name, problem, base), "loss", standings.seeds(name, problem, end)) for name in names
    ]


def ends_sections(title: str, measured: Measured, standings: Standings, problem: str) -> list[Section]:
    """Return losses, held-out scores and costs at the end of a run, best first, and who leads when."""
    end = standings.last(problem)
    last = {
        metric: last_values(measured.curves(problem, metric))
        for metric in (HELD_OUT_LOSS, HELD_OUT_ACCURACY, SECONDS, LONGEST)
    }
    quickest, lines = min(last[SECONDS].values()), []
    for name in standings.scored(standings.contenders, problem, end):
        values, seconds = standings.seeds(name, problem, end), last[SECONDS][name]
        lines.append(
            {
                "contender": name,
                "loss": float(np.mean(values)),
                "sd over seeds": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
                "seeds": len(values),
                "held-out": last[HELD_OUT_LOSS].get(name, np.nan),
                "accuracy": last[HELD_OUT_ACCURACY].get(name, np.nan),
                "ms per step": 1000 * seconds / end,
                "÷ the quickest's": seconds / quickest,
                "longest step": last[LONGEST].get(name, np.nan),
            }
        )
    table = pd.DataFrame(lines).sort_values("loss")
    section = Section(f"{title}: losses and costs at the end", [ENDS], [table], formats=FORMATS)
    return [section, *who_leads(title, measured, standings, [problem])]


def inside_sections(title: str, measured: Measured, problem: str, suffix: str = "") -> list[Section]:
    """Return the diagnostics of MLHF's steps, as a table and a figure of its damping; nothing if it was not run."""
    frames = {name: frame[frame.problem == problem] for name, frame in measured.contenders.items()}
    frames = {name: frame for name, frame in frames.items() if (frame.metric == DOWNHILL).any()}
    if not frames:
        return []
    damping = {name: _damping(frame) for name, frame in frames.items()}
    lines = []
    for name, frame in frames.items():
        means = frame.groupby("metric").value.mean()
        quantiles = {
            f"{part}: 10, 50, 90 %": " · ".join(f"{value:.2g}" for value in table.iloc[len(table) // 2])
            for part, table in damping[name].items()
        }
        lines.append({"contender": name, "downhill": means[DOWNHILL], "residual": means[RELATIVE], **quantiles})
    caption = "The inferred damping along a run, by parameter type: median over coordinates, 10 to 90 %."
    drawn = measured.save(_draw(damping), caption, f"{suffix}_damping")
    return [Section(f"{title}: inside a step", [INSIDE], [pd.DataFrame(lines)], [drawn], {"downhill": ".1%"})]


def _damping(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return quantiles of the damping by parameter type: one row for each step, 10, 50 and 90 % as columns."""
    parts = frame[frame.metric == DAMPING].groupby("part", sort=False)
    return {str(part): rows.pivot_table(index="step", columns="statistic", values="value") for part, rows in parts}


def _draw(damping: dict[str, dict[str, pd.DataFrame]]) -> Drawing:
    figure, axes = panels(-(-len(damping) // 3), min(3, len(damping)), height=2.3)
    for panel, (name, parts) in zip(axes, damping.items(), strict=False):
        for colour, (part, table) in zip(COLOURS, parts.items(), strict=False):
            low, middle, high = (table[name] for name in QUANTILES)
            panel.plot(middle.index, middle, label=part, color=colour)
            panel.fill_between(middle.index, low, high, color=colour, alpha=0.2, lw=0)
        decorate(panel, name, "updates", "damping", "y")
        plain_numbers(panel.yaxis)
        panel.title.set_fontsize(7.5)
    for panel in axes[len(damping) :]:
        panel.set_axis_off()
    legend(figure, axes)
    return figure
