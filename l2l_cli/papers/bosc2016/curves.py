"""Beyond the paper: test loss against one number that varies, such as the number of training samples or the noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.bosc2016.measures import HELD_OUT, LATE
from l2l_cli.papers.measured import Measured, on_problem
from l2l_cli.papers.palette import Style
from l2l_cli.papers.panels import legend
from l2l_cli.papers.sections import what_tuning_chose
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.plot import curves, decorate, panels
from l2l_cli.results.standings import Standings

SAMPLES = (
    "The training part ends after so many of 200 samples; the loss is over the second hundred, the same test samples "
    "of the same data sets for every contender and every number.  Between the two nothing is shown and nothing is "
    "scored.  Hand-made rules are tuned for each number of samples; the learner was meta-trained once, on all shares."
)


class Samples(Artefact):
    """Loss against the number of training samples, on one and the same test part.

    Args:
        learner: Row of the paper's learner.
        samples: Number of training samples by problem.
    """

    def __init__(self, learner: str, samples: dict[str, int]) -> None:
        self.learner, self.samples = learner, samples

    def refers_to(self) -> Sequence[str]:
        """Return the learner's row."""
        return [self.learner]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw every contender's loss against samples."""
        title, standings = "Beyond the paper: loss against samples seen", measured.standings(LATE, variant="")
        results = [
            measured.result(row, f"loss@{count}", standings.seeds(row, problem, standings.last(problem)))
            for row in measured.rows
            for problem, count in self.samples.items()
        ]
        if not standings.contenders:
            return Findings(results)
        frame = _long(
            {
                (name, count, seed): value
                for name in standings.contenders
                for problem, count in self.samples.items()
                for seed, value in enumerate(standings.seeds(name, problem, standings.last(problem)))
            },
            "samples",
        )
        figure, axes = panels(1, 1, height=3.6)
        curves(axes[0], frame, standings.contenders, _wide_line(measured, [self.learner]), x="samples")
        decorate(axes[0], "", "training samples", "cross-entropy on the test part", "x")
        counts = list(self.samples.values())
        axes[0].set_xticks(counts, [str(count) for count in counts])
        axes[0].minorticks_off()
        legend(figure, axes, columns=3)
        drawn = measured.save(figure, "Mean test loss against training samples; bands: range over seeds.")
        claims = [self._leads(standings, problem) for problem in self.samples]
        wide = _wide(frame, "samples")
        section = Section(title, [SAMPLES], [wide], [drawn], dict.fromkeys(wide.columns[1:], ".3f"), claims)
        tuning = what_tuning_chose(title, measured, "Tuned for each number of samples.")
        return Findings(results, [section, *tuning])

    def _leads(self, standings: Standings, problem: str) -> Claim:
        """Judge whether the learner is ahead of the best of the others after so many samples."""
        text, mark = f"Ours, after {problem} the learner has the lowest loss", standings.last(problem)
        best = standings.best([name for name in standings.contenders if name != self.learner], problem, mark)
        if best is None or not standings.has(self.learner, problem, mark):
            return Claim(text, None)
        difference = standings.difference(self.learner, best, problem, mark)
        return Claim(text, difference.interval.value < 0, f"less {best}, the best of the others, {difference}")


class Axis(NamedTuple):
    """A panel of ``Sweeps``: the losses in long form, by contender, value on the axis and seed."""

    name: str
    label: str
    frame: pd.DataFrame


class Sweeps(Artefact):
    """Loss against the noise of the test data sets, and against their dimension.

    Args:
        learner: Row of the paper's learner, which is meta-trained at one noise.
        text: What is shown.
    """

    def __init__(self, learner: str, text: str) -> None:
        self.learner, self.text = learner, text

    def refers_to(self) -> Sequence[str]:
        """Return the learner's row."""
        return [self.learner]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw the losses against the noise and against the dimension."""
        title, standings = "Beyond the paper: noise and dimension", measured.standings(HELD_OUT, variant="")
        results = []
        for row in measured.rows:
            problems = [name for name in standings.problems if standings.has(row, name, standings.last(name))] or [""]
            for problem in problems:
                values = standings.seeds(row, problem, standings.last(problem))
                results.append(measured.result(on_problem(row, problem), "cross_entropy", values))
        if not standings.contenders:
            return Findings(results)
        axes_of = [self._by_noise(measured, standings), self._by_dimension(measured, standings)]
        figure, axes = panels(1, 2, height=3.2)
        order = list(dict.fromkeys(name for axis in axes_of for name in axis.frame.contender))
        for panel, axis in zip(axes, axes_of, strict=True):
            curves(panel, axis.frame, order, _wide_line(measured, order), x=axis.name)
            decorate(panel, "", axis.label, "held-out loss")
        legend(figure, axes[:1], columns=4)
        drawn = measured.save(figure, "Held-out loss against noise and dimension; bands: range over seeds.")
        tables = [_wide(axis.frame, axis.name) for axis in axes_of]
        tuning = what_tuning_chose(title, measured, "Tuned on tune data sets of each problem.")
        return Findings(results, [Section(title, [self.text], tables, [drawn]), *tuning])

    def _by_noise(self, measured: Measured, standings: Standings) -> Axis:
        """Return the losses on the problems that change the noise."""
        values = {
            (name, float(changes["noise"]), seed): value
            for name in standings.contenders
            for problem, changes in measured.problems.items()
            if "noise" in changes
            for seed, value in enumerate(standings.seeds(name, problem, standings.last(problem)))
        }
        return Axis("noise", "mean variance of the noise", _long(values, "noise"))

    def _by_dimension(self, measured: Measured, standings: Standings) -> Axis:
        """Return the losses of the rows that say their dimension, under the name of their group."""
        values = {
            (measured.rows[row].group, measured.rows[row].x["dimension"], seed): value
            for row in standings.contenders
            if "dimension" in measured.rows[row].x
            for seed, value in enumerate(standings.seeds(row, "", standings.last("")))
        }
        return Axis("dimension", "inputs d", _long(values, "dimension"))


def _wide_line(measured: Measured, learned: Sequence[str]) -> dict[str, Style]:
    """Return the line properties of the learner, which is drawn wider than the others."""
    return {
        name: {"linewidth": 2.4, "zorder": 4}
        for name in learned
        if name in measured.rows and measured.rows[name].role == "learned"
    }


def _long(values: Mapping[tuple[str, float, int], float], name: str) -> pd.DataFrame:
    table = [(*key, value) for key, value in values.items()]
    return pd.DataFrame(table, columns=["contender", name, "seed", "value"])


def _wide(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    wide = frame.pivot_table(index="contender", columns=name, values="value", sort=False).reset_index()
    wide.columns = ["contender", *(f"{name} {value:g}" for value in wide.columns[1:])]
    return wide
