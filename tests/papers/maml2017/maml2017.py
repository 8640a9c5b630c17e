"""Model-agnostic meta-learning on sinusoids: what is measured, the table and the figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from l2l_cli.papers.base import Artefact, Findings, Paper, Subject
from l2l_cli.papers.claims import below_at_the_end
from l2l_cli.papers.measured import Measured, on_problem
from l2l_cli.papers.sections import what_tuning_chose
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.metrics import Metric
from l2l_cli.results.plot import curves, decorate, legend, panels
from l2l_cli.results.standings import Standings
from l2l_cli.results.statistics import mean_of

HELD_OUT = "held_out"
"""Mean squared error on points that were not seen, after the last gradient step."""


class Maml2017(Paper):
    """Finn, Abbeel and Levine's start that is learned for being adapted."""

    title = "Model-Agnostic Meta-Learning: a reproduction on sinusoids"
    citation = (
        "Chelsea Finn, Pieter Abbeel and Sergey Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep "
        "Networks.  ICML 2017, arXiv 1703.03400."
    )

    def measure(self, subject: Subject) -> Iterator[Metric]:
        """Yield the losses on every problem; controls are given the best step size, the oracle takes no step."""
        for problem in subject.problems():
            takes_steps = problem.task.horizon > 1
            if not takes_steps or subject.row.role != "limit":
                contender = subject.contender(tuned=takes_steps and subject.row.role == "control")
                yield from subject.scores(contender.enter(problem))


class Sinusoids(Artefact):
    """What the table and the figure share.

    Args:
        learned: Row of the start that is learned for being adapted.
        pretrained: Row of the start that is trained on all sinusoids at once.
        shots: Number of shots by problem.
        steps: Number of gradient steps by problem.
    """

    def __init__(self, learned: str, pretrained: str, shots: dict[str, int], steps: dict[str, int]) -> None:
        self.learned, self.pretrained, self.shots, self.steps = learned, pretrained, shots, steps

    def refers_to(self) -> Sequence[str]:
        """Return the rows that are compared."""
        return [self.learned, self.pretrained]

    def last(self, shots: int) -> str:
        """Return the problem with so many shots and the most steps."""
        return max((name for name, count in self.shots.items() if count == shots), key=lambda name: self.steps[name])


class Table(Sinusoids):
    """Mean squared error by shots and steps.

    Source: Finn, Abbeel and Levine 2017, §5.1; the paper prints no numbers, its Figure 3 shows curves.
    """

    def judge(self, measured: Measured) -> Findings:
        """Judge the learned start against the pretrained one."""
        standings = measured.standings(HELD_OUT)
        results = [
            measured.result(on_problem(row, problem), "mse", standings.values(row, problem, standings.last(problem)))
            for row in measured.rows
            for problem in self.shots
            if standings.has(row, problem, standings.last(problem)) or not standings.contenders
        ]
        if not standings.contenders:
            return Findings(results)
        for shots in dict.fromkeys(self.shots.values()):
            problem = self.last(shots)
            mark = standings.last(problem)
            if all(standings.has(row, problem, mark) for row in self.refers_to()):
                pair = (standings.values(name, problem, mark) for name in self.refers_to())
                row = on_problem(f"{self.learned} − {self.pretrained}", problem)
                results.append(measured.result(row, "mse", next(pair) - next(pair), note="paired over sinusoids"))
        text = (
            "Mean squared error on as many other points of the same sinusoid, with 95 % intervals over sinusoids.  The "
            "pretrained start is given the best of several step sizes on sinusoids for tuning, for each number of "
            "steps; the oracle is told amplitude and phase, and takes no step."
        )
        table = pd.DataFrame([self._line(measured, standings, row) for row in standings.contenders])
        section = Section("Sinusoids: error after gradient steps", [text], [table], claims=self._claims(standings))
        tuning = what_tuning_chose("Sinusoids", measured, "The pretrained start's step size.")
        return Findings(results, [section, *tuning])

    def _line(self, measured: Measured, standings: Standings, row: str) -> dict[str, str]:
        line = {"start": row}
        for problem in self.shots:
            mark = standings.last(problem)
            if standings.has(row, problem, mark):
                mean = mean_of(standings.values(row, problem, mark))
                line[problem] = mean.within()
            else:
                line[problem] = "–"
        return line

    def _claims(self, standings: Standings) -> list[Claim]:
        claims = []
        for shots in dict.fromkeys(self.shots.values()):
            problem = self.last(shots)
            text = (
                f"With {shots} shots the learned start ends below the pretrained one after {self.steps[problem]} steps"
            )
            mark = standings.last(problem)
            claims.append(below_at_the_end(text, standings, self.learned, [self.pretrained], problem, mark))
        return claims


class Figure(Sinusoids):
    """Mean squared error against gradient steps.

    Source: Finn, Abbeel and Levine 2017, Figure 3.
    """

    def judge(self, measured: Measured) -> Findings:
        """Draw one panel for each number of shots."""
        standings = measured.standings(HELD_OUT)
        if not standings.contenders:
            return Findings([])
        counts = list(dict.fromkeys(self.shots.values()))
        figure, axes = panels(1, len(counts), height=3.0)
        for panel, shots in zip(axes, counts, strict=True):
            frame = self._frame(measured, standings, shots)
            curves(panel, frame, standings.contenders, measured.styles(), x="steps")
            panel.set_xticks(sorted(frame.steps.unique()))
            decorate(panel, f"{shots} shots", "gradient steps", "mean squared error", "y")
        legend(figure, axes)
        drawn = measured.save(figure, "Error on points that were not seen against gradient steps; bands: seeds.")
        return Findings([], [Section("Sinusoids: error against gradient steps", figures=[drawn])])

    def _frame(self, measured: Measured, standings: Standings, shots: int) -> pd.DataFrame:
        names = [name for name, count in self.shots.items() if count == shots]
        lines = []
        for row in standings.contenders:
            for name in names:
                # The oracle takes no step: its error is the same after any number of them.
                scored = name if measured.rows[row].role != "limit" else min(names, key=lambda one: self.steps[one])
                values = standings.seeds(row, scored, standings.last(scored))
                lines += [(row, self.steps[name], seed, value) for seed, value in enumerate(values)]
        return pd.DataFrame(lines, columns=["contender", "steps", "seed", "value"])
