"""Polyak 1964: a heavy ball rolls down a quadratic faster than gradient descent does."""

from dataclasses import dataclass

from l2l_cli.papers.base import Artefact, Findings, Paper, RowName
from l2l_cli.papers.claims import below_at_the_end
from l2l_cli.papers.panels import loss_curves
from l2l_cli.papers.sections import loss_results, what_tuning_chose
from l2l_cli.results.content import Section
from l2l_cli.results.plot import decorate, legend, panels


class Polyak1964(Paper):
    title = "Some Methods of Speeding up the Convergence of Iteration Methods: a reproduction"
    citation = "Boris Polyak: Some Methods of Speeding up the Convergence of Iteration Methods.  1964."

    def measure(self, subject):
        for entry in subject.entries():
            yield from subject.scores(entry)


@dataclass
class Speed(Artefact):
    """Losses of both rules, and who ends lower.

    Source: Polyak 1964, Theorem 9.
    """

    ball: RowName
    descent: RowName
    problem: str

    def judge(self, measured):
        standings = measured.standings()
        last = standings.last(self.problem)
        results = loss_results(measured, standings, [self.problem], lambda name, problem: [last], self.problem)
        text = "The heavy ball ends below gradient descent"
        claim = below_at_the_end(text, standings, self.ball, [self.descent], self.problem, last)
        figure, (panel,) = panels(1, 1, height=3.0)
        loss_curves(panel, measured.curves(self.problem), measured.styles())
        decorate(panel, "", "updates", "loss", "y")
        legend(figure, [panel])
        drawn = measured.save(figure, "Mean loss against updates.")
        section = Section("Loss on random quadratics", figures=[drawn], claims=[claim])
        return Findings(results, [section, *what_tuning_chose("Quadratics", measured, "Both learning rates.")])
