"""Beyond the paper: test loss against the number of training samples, on one and the same test part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.bosc2016.measures import LATE, Losses, losses_of
from l2l_cli.papers.bosc2016.published import LEARNED
from l2l_cli.papers.shared import tuning_sections
from l2l_cli.results.frame import Result, summarise
from l2l_cli.results.plot import curves as draw_curves
from l2l_cli.results.plot import decorate, panels, save
from l2l_cli.results.report import Figure, Section

TITLE = "Beyond the paper: loss against samples seen"

TEXT = (
    "The training part ends after so many of 200 samples; the loss is over the second hundred, the same test samples "
    "of the same data sets for every contender and every number.  Between the two nothing is shown and nothing is "
    "scored.  Hand-made rules are tuned for each number of samples; the learner was meta-trained once, on all shares."
)


def curves(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw every contender's loss against samples."""
    losses = losses_of(rows, LATE)
    results = _results(rows, losses)
    if not losses.contenders:
        return Artefact(results)
    frame = pd.DataFrame(
        [
            {"contender": name, "seed": seed, "samples": int(problem.split()[0]), "value": value}
            for name, problem in losses.at
            for seed, value in enumerate(losses.seeds(name, problem))
        ]
    )
    figure, axes = panels(1, 1, height=3.6)
    draw_curves(axes[0], frame, losses.contenders, {LEARNED: {"linewidth": 2.4, "zorder": 4}}, x="samples")
    decorate(axes[0], "", "training samples", "cross-entropy on the test part", "x")
    axes[0].set_xticks(sorted(frame.samples.unique()), [f"{count}" for count in sorted(frame.samples.unique())])
    axes[0].minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, folder / "figures" / "curves")
    drawn = Figure(
        folder / "figures" / "curves.png", "Mean test loss against training samples; bands: range over seeds."
    )
    wide = frame.pivot_table(index="contender", columns="samples", values="value", sort=False).reset_index()
    wide.columns = [str(name) for name in wide.columns]
    formats = dict.fromkeys(wide.columns[1:], ".3f")
    section = Section(TITLE, [TEXT, _who(losses)], [wide], [drawn], formats)
    return Artefact(results, [section, *tuning_sections(TITLE, rows, "Tuned for each number of samples.")])


def _results(rows: Mapping[str, pd.DataFrame], losses: Losses) -> list[Result]:
    return [
        summarise(("curves", row, f"loss@{problem.split()[0]}"), losses.seeds(row, problem), None)
        for row in rows
        for problem in losses.problems or ["100 samples"]
    ]


def _who(losses: Losses) -> str:
    """Say who is best after each number of samples, and how far the learner is from the best of the others."""
    lines = []
    for problem in losses.problems:
        others = [name for name in losses.contenders if name != LEARNED and losses.has(name, problem)]
        if not others or not losses.has(LEARNED, problem):
            continue
        best = min(others, key=lambda name: losses.mean(name, problem))
        lines.append(
            f"* after {problem} the learner less {best}, the best of the others: {losses.duel(LEARNED, best, problem)}"
        )
    return "\n".join(lines)
