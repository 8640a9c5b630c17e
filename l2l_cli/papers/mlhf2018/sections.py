"""Tables and sections that the reports of several artefacts share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from l2l_cli.papers.drawing import legend, plain_numbers
from l2l_cli.papers.losses import Losses, winners
from l2l_cli.papers.mlhf2018.claims import end_of
from l2l_cli.papers.mlhf2018.looks import DAMPING, DOWNHILL, RELATIVE, SHARES
from l2l_cli.papers.mlhf2018.measures import last_of, table_of
from l2l_cli.papers.mlhf2018.style import are_mlhf
from l2l_cli.papers.shared import tuning_sections
from l2l_cli.results.frame import Result, summarise
from l2l_cli.results.plot import COLOURS, decorate, panels, save
from l2l_cli.results.report import Figure, Section

WHO = (
    "Mean training cross-entropy over each tenth of the run.  Everybody meets the same θ₀ and minibatches, so the lead "
    "is a paired difference, its interval bootstrapped over episodes.  A learned rule's loss is the mean over seeds."
)

ENDS = (
    "*Loss* is the mean over the last tenth of the steps, which is also what tuning minimises on episodes of its own; "
    "*held-out* is measured on pictures that were never learned from, after the last step; *longest step* is the "
    "largest ‖θ_{t+1} − θ_t‖ ÷ ‖θ_t‖."
)

INSIDE = (
    "What happens inside MLHF's steps, means over those that were looked into.  *Downhill* is the share with "
    "⟨g, x⟩ > 0; *residual* is ‖r_n‖ ÷ ‖g‖; the quantiles are of the inferred damping over the coordinates of one "
    "kind, halfway through the run: where 10 % and 90 % agree, one number a kind would have done."
)


def end_results(
    artefact: str, contenders: Mapping[str, pd.DataFrame], losses: Losses, problem: str, suffix: str = ""
) -> list[Result]:
    """Return one result a contender: its loss over the last tenth of a run."""
    run = [name for name in losses.contenders if losses.has(name, problem, end_of(losses, problem))]
    names = [*run, *(row for row, frame in contenders.items() if not len(frame))]
    return [
        summarise((artefact, f"{name}{suffix}", "loss"), losses.seeds(name, problem, end_of(losses, problem)), None)
        for name in names
    ]


def ends_table(contenders: Mapping[str, pd.DataFrame], losses: Losses, problem: str) -> pd.DataFrame:
    """Return where everybody ends, best first: losses, held-out scores, and what a step costs."""
    end, lines = end_of(losses, problem), []
    metrics = ("held_out_loss", "held_out_accuracy", "seconds", "longest")
    last = {metric: last_of(contenders, metric, problem) for metric in metrics}
    quick = last["seconds"].get("SGD")
    for name in losses.contenders:
        if not losses.has(name, problem, end):
            continue
        values, seconds = losses.seeds(name, problem, end), last["seconds"][name]
        lines.append(
            {
                "contender": name,
                "loss": float(np.mean(values)),
                "sd over seeds": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
                "seeds": len(values),
                "held-out": last["held_out_loss"].get(name, np.nan),
                "accuracy": last["held_out_accuracy"].get(name, np.nan),
                "ms a step": 1000 * seconds / end,
                "÷ SGD's": seconds / quick if quick else np.nan,
                "longest step": last["longest"].get(name, np.nan),
            }
        )
    return pd.DataFrame(lines).sort_values("loss") if lines else pd.DataFrame()


FORMATS = {
    "loss": ".4f",
    "sd over seeds": ".4f",
    "held-out": ".4f",
    "accuracy": ".1%",
    "ms a step": ".1f",
    "÷ SGD's": ".1f",
    "longest step": ".2f",
}
"""Of ``ends_table``."""


def ends_section(title: str, contenders: Mapping[str, pd.DataFrame], losses: Losses, problem: str) -> list[Section]:
    """Return the table of ends and that of who leads when; nothing if nothing was run."""
    table = ends_table(contenders, losses, problem)
    if not len(table):
        return []
    sections = [Section(f"{title}: where everybody ends", [ENDS], [table], formats=FORMATS)]
    ahead = winners(losses, problem)
    return [*sections, Section(f"{title}: who leads when", [WHO], [ahead])] if len(ahead) else sections


def chosen_section(title: str, contenders: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Return what tuning chose, with a warning for settings at the edge of their grid."""
    text = (
        "Tuned for the mean training loss over the last tenth of the steps, on tune episodes alone; every contender "
        "tries equally many settings, MLHF those of its learning rate, and their number is stated."
    )
    return tuning_sections(title, contenders, text)


def inside_section(title: str, contenders: Mapping[str, pd.DataFrame], problem: str, path: Path) -> list[Section]:
    """Return what happens inside MLHF's steps, as a table and a figure of its damping."""
    forms = are_mlhf(contenders)
    frames = [frame[(frame.split == problem) & (frame.episode == "mean")] for frame in forms.values()]
    frame = pd.concat(frames) if frames else pd.DataFrame(columns=["metric"])
    frame = frame[frame.metric.astype(str).str.startswith((DOWNHILL, RELATIVE, DAMPING))]
    if not len(frame):
        return []
    middle = frame.step.unique()[len(frame.step.unique()) // 2]
    lines = []
    for name, part in frame.groupby("contender", sort=False):
        damping = part[(part.step == middle) & part.metric.str.startswith(DAMPING)].groupby("metric", sort=False)
        by_kind: dict[str, list[str]] = {}
        for metric, values in damping.value.mean().items():
            by_kind.setdefault(str(metric).split()[2], []).append(f"{values:.2g}")
        lines.append(
            {
                "contender": name,
                "downhill": part[part.metric == DOWNHILL].value.mean(),
                "residual": part[part.metric == RELATIVE].value.mean(),
                **{f"{kind}: 10, 50, 90 %": " · ".join(values) for kind, values in by_kind.items()},
            }
        )
    _draw_damping(forms, problem, path)
    drawn = Figure(path.with_suffix(".png"), "The inferred damping along a run: median over coordinates, 10 to 90 %.")
    return [Section(f"{title}: inside a step", [INSIDE], [pd.DataFrame(lines)], [drawn], {"downhill": ".1%"})]


def _draw_damping(forms: Mapping[str, pd.DataFrame], problem: str, path: Path) -> None:
    tables = {
        name: pd.concat({share: _quantile(frame, problem, share) for share in SHARES}) for name, frame in forms.items()
    }
    shown = {name: table for name, table in tables.items() if len(table)}
    figure, axes = panels(-(-len(shown) // 3), min(3, len(shown)), height=2.3)
    for panel, (name, table) in zip(axes, shown.items(), strict=False):
        for index, kind in enumerate(table.kind.unique()):
            part = table[table.kind == kind]
            low, mid, high = (part.loc[share].groupby("updates").value.mean() for share in SHARES)
            panel.plot(mid.index, mid, label=kind, color=COLOURS[index])
            panel.fill_between(mid.index, low, high, color=COLOURS[index], alpha=0.2, lw=0)
        decorate(panel, name, "updates", "damping", "y")
        plain_numbers(panel.yaxis)
        panel.title.set_fontsize(7.5)
    for panel in axes[len(shown) :]:
        panel.set_axis_off()
    legend(figure, axes, published=False)
    save(figure, path)


def _quantile(frame: pd.DataFrame, problem: str, share: float) -> pd.DataFrame:
    """Return one quantile of the damping: columns kind, updates, seed and value."""
    start = f"{DAMPING} {share:g} "
    names = [name for name in frame.metric.astype(str).unique() if name.startswith(start)]
    parts = [table_of({"": frame}, name, problem).assign(kind=name.removeprefix(start)) for name in names]
    return pd.concat(parts) if parts else pd.DataFrame()
