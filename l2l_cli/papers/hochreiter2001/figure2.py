"""Figure 2: the error as one function follows another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.hochreiter2001.judges import plateau
from l2l_cli.papers.hochreiter2001.recipe import BAYES, EXAMPLES, FUNCTIONS, NO_RESET, RESET, SEQUENCES
from l2l_cli.papers.measured import Measured, name_of
from l2l_cli.papers.panels import LEARNED, OURS
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import decorate, error_over_time, grid, panels
from l2l_cli.results.verdicts import Result

SETTLED = 0.1
"""Mean |y − o| below which the error counts as settled (ours; the paper only shows the curve)."""


@dataclass(frozen=True)
class Figure2(Artefact):
    """The paper's figure, and its counterpart for every family.

    Attributes:
        family: Family that the paper's figure shows: a row of the modern recipe.
        literal: Row that is trained to the letter, by row of the modern recipe; one line of panels each.
    """

    family: RowName
    literal: dict[RowName, RowName]

    def judge(self, measured: Measured) -> Findings:
        """Draw the figure, and judge how soon errors settle after a change."""
        if self.family not in measured.run:
            return Findings([])
        note = f"examples of a new function until the mean |y − o| stays below {SETTLED}, worst of five functions"
        limit = float(np.mean(_settling(measured, self.family, RESET, BAYES)))
        results: list[Result] = []
        claims = []
        for variant, manner in ((RESET, "with its state reset"), (NO_RESET, "without a reset")):
            settled = [
                measured.result(name_of(row, variant), "settling_steps", steps, None, limit, note)
                for row in (self.family, self.literal[self.family])
                for steps in [_settling(measured, row, variant)]
            ]
            run = [item for item in settled if item.ours is not None]
            evidence = ", ".join(f"`{item.row}` settles after {item.ours:.3g} examples" for item in run)
            text = f"An LSTM learns each function anew before the next one comes, {manner}"
            holds = all(item.ours is not None and item.ours <= EXAMPLES for item in run)
            slowest = max((item.ours for item in run if item.ours is not None), default=0.0)
            number = f"after {slowest:.3g} of {EXAMPLES} examples"
            claims.append(Claim(text, holds, f"{evidence}, the Bayes learner after {limit:.3g}", number))
            results += settled
        figures = [self._one_sequence(measured), self._families(measured)]
        return Findings(results, [Section("Figure 2: error against time", figures=figures, claims=claims)])

    def _one_sequence(self, measured: Measured) -> Figure:
        figure, axes = panels(2, 1, height=2.1)
        for panel, variant in zip(axes, (RESET, NO_RESET), strict=True):
            _draw(panel, measured, self.family, variant, self.family, episode=0)
            decorate(panel, name_of(self.family, variant), "time step", "absolute error |y − o|")
        caption = f"Absolute error against time on one test sequence (seed 0), {EXAMPLES} examples a function."
        return measured.save(figure, caption, columns=2)

    def _families(self, measured: Measured) -> Figure:
        rows = [(row, modern) for modern, letter in self.literal.items() for row in (letter, modern)]
        rows = [(row, modern) for row, modern in rows if row in measured.run]
        figure, axes = grid(len(rows), 2, height=1.65)
        for index, (panel, (row, modern)) in enumerate(zip(axes, rows, strict=True)):
            _draw(panel, measured, row, NO_RESET, modern, statistic="mean")
            name = "" if index % 2 else "mean |y − o|"
            decorate(panel, row, "time step" if index >= len(rows) - 2 else "", name, "y")
            panel.set_ylim(bottom=1e-4)
        caption = (
            f"Mean |y − o| over {SEQUENCES} test sequences (seed 0) of every family, without a reset: to the letter "
        )
        caption += "(-1997) and by the modern recipe; the Bayes learner is reset.  Dotted: a new function."
        return measured.save(figure, caption, "_families", columns=3)


def _draw(panel: Axes, measured: Measured, row: str, variant: str, modern: str, **where: object) -> None:
    """Draw the first seed's error against time for a row, and the limit that was measured for its modern row."""
    errors = measured.curve(row, "absolute_error", None, variant=variant, **where)
    limit = measured.curve(modern, "absolute_error", BAYES, variant=RESET, **where).clip(lower=1e-4)
    switches = [len(errors) // FUNCTIONS * index + 1 for index in range(FUNCTIONS)]
    floor = limit.iloc[:, 0].to_numpy() if len(limit) else None
    name, colour = ("LSTM, modern recipe", OURS) if row == modern else ("LSTM, 1997", LEARNED)
    error_over_time(panel, errors.iloc[:, 0].to_numpy(), floor, switches, (name, "Bayes limit"), colour)


def _settling(measured: Measured, row: str, variant: str, contender: str | None = None) -> list[float]:
    """Return each seed's worst settling time over the functions after the first."""
    table = measured.curve(row, "absolute_error", contender, variant=variant, statistic="mean")
    series = [table[seed].to_numpy().reshape(FUNCTIONS, -1) for seed in table]
    return [max(plateau(piece, SETTLED)[0] for piece in pieces[1:]) for pieces in series]
