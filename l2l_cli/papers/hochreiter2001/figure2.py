"""Figure 2: the error as one function follows another."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.hochreiter2001.judges import plateau
from l2l_cli.papers.hochreiter2001.measures import BAYES, EXAMPLES, FUNCTIONS, NO_RESET, RESET, SEQUENCES
from l2l_cli.papers.measured import Measured, name_of
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import decorate, error_over_time, panels
from l2l_cli.results.statistics import Array
from l2l_cli.results.verdicts import Result

SETTLED = 0.1
"""Mean |y − o| below which the error counts as settled (ours; the paper shows the curve alone)."""

NOTE = f"examples of a new function until the mean |y − o| stays below {SETTLED}, worst of five functions"


class Figure2(Artefact):
    """The paper's figure, and the same for every family.

    Args:
        family: Family that the paper's figure shows: a row of the modern recipe.
        literal: Row that is trained to the letter, by row of the modern recipe; one line of panels each.
    """

    def __init__(self, family: str, literal: dict[str, str]) -> None:
        self.family, self.literal = family, literal

    def refers_to(self) -> Collection[str]:
        """Return both rows of every family."""
        return [self.family, *self.literal, *self.literal.values()]

    def judge(self, measured: Measured) -> Findings:
        """Draw the figure and say how soon errors settle after a change."""
        if self.family not in measured.run:
            return Findings([])
        limit = float(np.mean(_settling(measured, self.family, RESET, BAYES)))
        results: list[Result] = []
        claims = []
        for variant, manner in ((RESET, "with its state reset"), (NO_RESET, "without a reset")):
            settled = []
            for row in (self.family, self.literal[self.family]):
                steps = _settling(measured, row, variant)
                settled.append(measured.result(name_of(row, variant), "settling_steps", steps, None, limit, NOTE))
            run = [item for item in settled if item.ours is not None]
            evidence = ", ".join(f"`{item.row}` settles after {item.ours:.3g} examples" for item in run)
            text = f"An LSTM learns each function anew before the next one comes, {manner}"
            holds = all(item.ours is not None and item.ours <= EXAMPLES for item in run)
            claims.append(Claim(text, holds, f"{evidence}, the Bayes learner after {limit:.3g}"))
            results += settled
        figures = [self._one_sequence(measured), self._families(measured)]
        return Findings(results, [Section("Figure 2: error against time", figures=figures, claims=claims)])

    def _one_sequence(self, measured: Measured) -> Figure:
        figure, axes = panels(2, 1, height=2.1)
        for panel, variant in zip(axes, (RESET, NO_RESET), strict=True):
            errors = _first_seed(measured, self.family, None, variant=variant, episode=0)
            floor = _first_seed(measured, self.family, BAYES, variant=RESET, episode=0)
            error_over_time(panel, errors, floor, _switches(len(errors)))
            decorate(panel, name_of(self.family, variant), "time step", "absolute error |y − o|")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        caption = f"Absolute error against time on one test sequence (seed 0), {EXAMPLES} examples a function."
        return measured.save(figure, caption)

    def _families(self, measured: Measured) -> Figure:
        figure, axes = panels(len(self.literal), 2, height=1.65)
        for line, (modern, letter) in enumerate(self.literal.items()):
            floor = _first_seed(measured, modern, BAYES, variant=RESET, statistic="mean")
            for panel, row in zip(axes[2 * line : 2 * line + 2], (letter, modern), strict=True):
                if row in measured.run:
                    errors = _first_seed(measured, row, None, variant=NO_RESET, statistic="mean")
                    limit = np.maximum(floor, 1e-4) if len(floor) else None
                    error_over_time(panel, errors, limit, _switches(len(errors)))
                else:
                    panel.annotate("not run at this scale", (0.5, 0.5), xycoords="axes fraction", ha="center")
                decorate(panel, row, "time step" if line == len(self.literal) - 1 else "", "mean |y − o|", "y")
                panel.set_ylim(bottom=1e-4)
        handles = {
            label: each for panel in axes for each, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2)
        caption = (
            f"Mean |y − o| over {SEQUENCES} test sequences (seed 0) of every family, without a reset: left to the "
            "letter, right by the modern recipe; the Bayes learner is reset."
        )
        return measured.save(figure, caption, "_families")


def _settling(measured: Measured, row: str, variant: str, contender: str | None = None) -> list[float]:
    """Return each seed's worst settling time over the functions after the first."""
    table = measured.curve(row, "absolute_error", contender, variant=variant, statistic="mean")
    series = [table[seed].to_numpy().reshape(FUNCTIONS, -1) for seed in table]
    return [max(plateau(piece, SETTLED)[0] for piece in pieces[1:]) for pieces in series]


def _first_seed(measured: Measured, row: str, contender: str | None, **where: object) -> Array:
    """Return the curve of the first seed, (T,); an empty one if the row was not run."""
    table = measured.curve(row, "absolute_error", contender, **where)
    return table.iloc[:, 0].to_numpy(float) if len(table) else np.zeros(0)


def _switches(length: int) -> list[int]:
    return [length // FUNCTIONS * index + 1 for index in range(FUNCTIONS)]
