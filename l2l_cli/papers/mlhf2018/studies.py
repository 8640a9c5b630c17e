"""Figure 3: the benefit of RNN_p; and beyond the paper, runs ten times as long, and a run divided over two processes.

l_p also falls if RNN_s infers less damping; our measure is the *efficiency*, its share of a near-exact solution's l_p.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.claims import above_bound
from l2l_cli.papers.measured import Measured, name_of
from l2l_cli.papers.mlhf2018.comparison import downhill, progresses, stays_finite
from l2l_cli.papers.mlhf2018.recipe import AT_ONE
from l2l_cli.papers.mlhf2018.sections import draw, end_results, ends_sections, inside_sections
from l2l_cli.papers.mlhf2018.track import EFFICIENCY, LOSS, NOT_FINITE, RELATIVE, RESIDUAL, SECONDS, SOLVER
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.lines import Style
from l2l_cli.results.plot import STROKES, decorate, panels
from l2l_cli.results.spread import Array
from l2l_cli.results.standings import last_values
from l2l_cli.results.statistics import difference_of

COLUMNS = {"l_p": SOLVER, "efficiency": EFFICIENCY, "‖r_n‖": RESIDUAL, "‖r_n‖ ÷ ‖g‖": RELATIVE}
"""Metrics of the table by column."""

FORMATS = {"l_p": ".3f", "efficiency": ".3f", "loss": ".3f", "seconds ÷ default's": ".2f"}


@dataclass(frozen=True)
class Ablation(Artefact):
    """Configurations of the preconditioner, each compared with the default.

    Deviation: at scale short the network is the reduced one of figure 1, where the paper has its small residual
    network, and each configuration is meta-trained for fewer updates.

    Attributes:
        default: Row that the others are compared with.
        leads: Smallest lead of the default's efficiency over a row's, by statement; if negative, it may be behind.
        residuals: Smallest ratio of the default's ‖r_n‖ ÷ ‖g‖ to that of a row, by statement.
        title: Title of the section.
    """

    default: RowName
    leads: dict[str, dict[RowName, float]]
    residuals: dict[str, dict[RowName, float]]
    title: str = "Figure 3: ablation"

    def judge(self, measured: Measured) -> Findings:
        """Judge the orderings one by one, and draw l_p, ‖r_n‖ and the efficiency."""
        note = "limit: the same systems solved nearly exactly"
        results = []
        for row in measured.rows:
            efficiency, solver = (_by_episode(measured, row, metric) for metric in (EFFICIENCY, SOLVER))
            results.append(measured.result(row, EFFICIENCY, efficiency, None, 1.0, note, lower_is_better=False))
            results.append(measured.result(row, SOLVER, solver))
        if not measured.run:
            return Findings(results)
        tables, drawn = [self._table(measured)], [self._draw(measured)]
        section = Section(self.title, (), tables, drawn, FORMATS, [*self._claims(measured)])
        return Findings(results, [section])

    def _draw(self, measured: Measured) -> Figure:
        figure, axes = panels(1, 3, height=3.0)
        styles = {measured.origin[name]: style for name, style in measured.styles().items()}
        titles = {SOLVER: "(a) l_p", RESIDUAL: "(b) mean ‖r_n‖", EFFICIENCY: "ours: efficiency"}
        for panel, (metric, title) in zip(axes, titles.items(), strict=True):
            draw(panel, _by_row(measured, metric), styles, log=metric == RESIDUAL, cut=False)
            decorate(panel, title, "updates", title.split(" ", 1)[1])
        caption = "(a) l_p, lower is better; (b) ‖r_n‖; ours, l_p as a share of a near-exact solution's, 1 is best."
        return measured.save(figure, caption, columns=5)

    def _table(self, measured: Measured) -> pd.DataFrame:
        loss, seconds = (last_values(_by_row(measured, metric)) for metric in (LOSS, SECONDS))
        return pd.DataFrame(
            {
                "configuration": row,
                **{column: _by_episode(measured, row, metric).mean() for column, metric in COLUMNS.items()},
                "loss": loss[row],
                "seconds ÷ default's": seconds[row] / seconds.get(self.default, np.nan),
                "seeds": len(_by_episode(measured, row, SOLVER)),
            }
            for row in measured.run
        )

    def _claims(self, measured: Measured) -> Iterator[Claim]:
        """Judge claim 4, one ordering after the other, by the efficiency and by the residual relative to ‖g‖."""
        for metric, stated in ((EFFICIENCY, self.leads), (RELATIVE, self.residuals)):
            for text, (row, mark) in ((text, pair) for text, marks in stated.items() for pair in marks.items()):
                ours, theirs = (_by_episode(measured, name, metric) for name in (self.default, row))
                if not ours.size or not theirs.size:
                    yield Claim(text, None)
                    continue
                a, b = ours.mean(), theirs.mean()
                if metric == EFFICIENCY:
                    evidence = f"efficiency {a:.3f} against {b:.3f} (mark: a lead of at least {mark:g})"
                    gap = difference_of(ours, theirs + mark).interval
                else:
                    evidence = f"‖r_n‖ ÷ ‖g‖ {a:.2g} against {b:.2g} (mark: {mark:g} times)"
                    gap = difference_of(ours, mark * theirs).interval
                yield Claim(text, above_bound(gap, 0.0), f"{evidence}; beyond the mark by {gap.within('+.3g')}")


def _by_episode(measured: Measured, row: str, metric: str) -> Array:
    """Return the values of a diagnostic for a row, (seeds, episodes); an empty array if it was not run."""
    standings = measured.standings(metric)
    names = [name for name in standings.contenders if measured.origin[name] == row]
    return (
        standings.values(names[0], standings.problems[0], standings.last(standings.problems[0])) if names else NOTHING
    )


def _by_row(measured: Measured, metric: str) -> pd.DataFrame:
    """Return the curves of a metric under the names of their rows, since each is run at one learning rate."""
    table = measured.curves(measured.standings().problems[0], metric)
    return table.assign(contender=table.contender.map(measured.origin))


NOTHING = np.empty((0, 0))
"""Values of a row that was not run."""

SAME = 1e-3
"""Largest relative difference of the losses over the first tenth of the run that counts as rounding."""


def _drawn(measured: Measured, problem: str, styles: Mapping[str, Style], caption: str, age: float = 0.0) -> Figure:
    """Draw training losses, on a logarithmic axis with a dotted line at an age of parameters if one is given."""
    figure, axes = panels(1, 1, height=3.2)
    draw(axes[0], measured.curves(problem), styles, log=age > 0)
    if age:
        axes[0].axvline(age, color="#555555", linestyle=":", linewidth=1.0)
    decorate(axes[0], "", "updates", "training cross-entropy, nats")
    return measured.save(figure, caption, columns=3)


class Long(Artefact):
    """Curves far beyond the horizon of meta-training, and whether every loss is finite."""

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all contenders."""
        standings, title = measured.standings(), "Claim 3: ten times as long"
        problem = next(iter(standings.problems), "")
        counted = {name: frame[frame.metric == NOT_FINITE] for name, frame in measured.contenders.items()}
        lost = {name: counted[name].groupby("seed").value.sum().tolist() for name in measured.names("learned")}
        results = end_results(measured, standings, problem, problem)
        results += [measured.result(name, "not finite", counts) for name, counts in lost.items()]
        if not standings.contenders:
            return Findings(results)
        names = standings.contenders
        each = [progresses(f"Claim 3, {name}, progress continues", standings, name, problem) for name in names]
        said = "Claim 3, progress continues"
        claims = [replace(one, statement=said, variant=name) for one, name in zip(each, names, strict=True)]
        claims += [stays_finite("Ours, every loss is finite", lost), downhill(measured, problem)]
        caption = "Training cross-entropy; dotted: the oldest parameters that meta-training may meet."
        drawn = [_drawn(measured, problem, measured.styles(), caption, standings.last(problem) / 10)]
        ends, inside = ends_sections(title, measured, standings, problem), inside_sections(title, measured, problem)
        return Findings(results, [Section(title, figures=drawn, claims=claims), *ends, *inside])


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
        styles[one] = {**styles[one], "linestyle": STROKES[0], "linewidth": 3.0, "alpha": 0.4}
        caption = "Training cross-entropy; the run on several processes lies on the wide line of the run on one."
        drawn, title = _drawn(measured, problem, styles, caption), "§5: MLHF on several processes"
        return Findings(results, [Section(title, [f"Seconds: {each}."], figures=[drawn], claims=[claim])])
