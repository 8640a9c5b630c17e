"""Beyond the paper: runs of ten times the length of meta-training, and a run whose batches two processes divide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.measured import Measured, name_of
from l2l_cli.papers.mlhf2018.comparison import downhill, progresses, stays_finite
from l2l_cli.papers.mlhf2018.recipe import AT_ONE
from l2l_cli.papers.mlhf2018.sections import draw, end_results, ends_sections, inside_sections
from l2l_cli.papers.mlhf2018.track import NOT_FINITE, SECONDS
from l2l_cli.papers.panels import Style
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import STROKES, decorate, legend, panels
from l2l_cli.results.standings import last_values

SAME = 1e-3
"""Largest relative difference of the losses over the first tenth of the run that counts as rounding."""


def _drawn(measured: Measured, problem: str, styles: Mapping[str, Style], caption: str, age: float = 0.0) -> Figure:
    """Draw training losses, on a logarithmic axis with a dotted line at an age of parameters if one is given."""
    figure, axes = panels(1, 1, height=3.2)
    draw(axes[0], measured.curves(problem), styles, log=age > 0)
    if age:
        axes[0].axvline(age, color="#555555", linestyle=":", linewidth=1.0)
    decorate(axes[0], "", "updates", "training cross-entropy")
    legend(figure, axes, columns=3)
    return measured.save(figure, caption)


class Long(Artefact):
    """Curves far beyond the horizon of meta-training, and whether every loss is finite."""

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all contenders."""
        standings, title = measured.standings(), "Beyond the paper: ten times as long"
        problem = next(iter(standings.problems), "")
        frames, learned = measured.contenders, measured.names("learned")
        parts = {name: frames[name][frames[name].metric == NOT_FINITE] for name in learned}
        lost = {name: part.groupby("seed").value.sum().tolist() for name, part in parts.items()}
        results = end_results(measured, standings, problem, problem)
        results += [measured.result(name, "not finite", counts) for name, counts in lost.items()]
        if not standings.contenders:
            return Findings(results)
        names = standings.contenders
        claims = [progresses(f"Claim 3, {name}, progress continues", standings, name, problem) for name in names]
        claims += [stays_finite("Ours, every loss is finite", lost), downhill(measured, problem)]
        caption = "Training cross-entropy; dotted: the oldest parameters that meta-training may meet."
        drawn = _drawn(measured, problem, measured.styles(), caption, standings.last(problem) / 10)
        first = Section(title, figures=[drawn], claims=claims)
        ends, inside = ends_sections(title, measured, standings, problem), inside_sections(title, measured, problem)
        return Findings(results, [first, *ends, *inside])


@dataclass(frozen=True)
class Parallel(Artefact):
    """A run on one process and on several.

    Deviation: the paper leaves data-parallel MLHF to future work; that both runs are one is ours to show.

    Attributes:
        one: Row of the run on one process.
        several: Row of the same run on several processes.
    """

    one: RowName
    several: RowName

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw both runs."""
        problem = next(iter(measured.standings().problems), "")
        table = measured.curves(problem)
        one, several = (name_of(row, AT_ONE) for row in (self.one, self.several))
        if not {one, several} <= set(table.contender):
            return Findings([measured.result(name, "difference", []) for name in measured.rows])
        alone, divided = (table[table.contender == name].groupby("updates").value.mean() for name in (one, several))
        apart: pd.Series[float] = (divided - alone).abs() / alone
        steps, last = int(apart.index.max()), float(apart.iloc[-1])
        first = float(apart[apart.index <= max(steps // 10, apart.index.min())].max())
        note = "relative, over the first tenth of the run"
        results = [measured.result(several, "difference", [first], note=note)]
        results.append(measured.result(several, "difference at the end", [last]))
        evidence = f"relative differences of {first:.1e} over the first tenth of the run, {last:.1e} at its end"
        claim = Claim("Ours, two processes are one with the joined batch", first <= SAME, evidence)
        seconds = last_values(measured.curves(problem, SECONDS))
        each = ", ".join(f"{name} {1000 * value / steps:.3g} ms per step" for name, value in seconds.items())
        styles = measured.styles()
        styles[several] = {**styles[several], "linestyle": STROKES[2]}
        caption = "Training cross-entropy; the line of several processes is drawn over that of one."
        drawn, title = _drawn(measured, problem, styles, caption), "Beyond the paper: MLHF on several processes"
        return Findings(results, [Section(title, [f"Seconds: {each}."], figures=[drawn], claims=[claim])])
