"""Table 2: how well an LSTM learns five families, trained by the modern recipe and to the letter."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from l2l_cli.core.printable import counted
from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.claims import all_of
from l2l_cli.papers.hochreiter2001.judges import (
    FORMATS,
    error_results,
    errors_table,
    limit_of,
    mse_of,
    near_the_limit,
    plateau,
)
from l2l_cli.papers.hochreiter2001.recipe import BAYES, SPLITS
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.panels import LEARNED, OURS, RIVALS
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import LIMIT_STYLE, curves, decorate, dots, grid, panels
from l2l_cli.results.verdicts import BETTER, DIFFERS, REPRODUCED, WORSE, Result

STYLES = {
    "modern": {"color": OURS},
    "1997, to the letter": {"color": LEARNED},
    "least squares": {"color": RIVALS[0]},
    "transformer": {"color": RIVALS[1]},
    "Bayes limit": LIMIT_STYLE,
}


@dataclass(frozen=True)
class Table2(Artefact):
    """The five families.

    Attributes:
        literal: Row that is trained to the letter, by row of the modern recipe.
        notes: Note of both rows of a family, by row of the modern recipe.
        first_guess: Mean squared error of a constant answer, where it is near the printed subordinate error.
        misprinted: Family whose printed error no learner can reach.
        exchanged: Family whose printed error may have been exchanged with that of ``misprinted``.
        readings: Test MSEt of these two families by reading of the misprint, the likely reading first.
        beside: Rows of other kinds of learner, by name of the kind and by row of the modern recipe.
        near: Largest multiple of the limit that is claimed for some of these rows.
    """

    literal: dict[RowName, RowName]
    notes: dict[RowName, str]
    first_guess: dict[RowName, float]
    misprinted: RowName
    exchanged: RowName
    readings: dict[str, list[float]]
    beside: dict[str, dict[RowName, RowName]]
    near: dict[RowName, float]

    def judge(self, measured: Measured) -> Findings:
        """Judge all five families, literal and modern, and explain the misprint."""
        results: list[Result] = []
        for family, letter in self.literal.items():
            limits = {split: limit_of(measured, family, split) for split in SPLITS}
            for row in (letter, family):
                printed = measured.published[""][row]
                found = error_results(measured, row, printed, limits, self.notes.get(family, ""))
                found += self._subordinate(measured, row, family, printed)
                # Each printed number counts once: by the paper's own algorithm where that is run.
                once = row == letter or letter not in measured.run
                results += found if once else [replace(one, counts=False) for one in found]
        results += self._others(measured)
        tests = {item.row: item for item in results if item.metric == "test_mse" and item.ours is not None}
        literal = {family: letter for family, letter in self.literal.items() if family != self.misprinted}
        claims = [
            _reached("Trained to the letter, an LSTM reaches the printed errors", tests, literal.values()),
            _reached("Ours, an LSTM by the modern recipe reaches the printed errors", tests, literal),
            *self._misprint(measured, tests),
            self._near(measured),
        ]
        table = errors_table(measured)
        for column in ("paper", "limit"):
            table[column] = [getattr(tests[row], column) for row in table.row]
        table["at or below the paper"] = [
            f"{sum(value <= paper for value in mse_of(measured, row))} of {seeds}"
            for row, paper, seeds in zip(table.row, table.paper, table.seeds, strict=True)
        ]
        figures = [_dots(measured, list(tests.values())), self._curves(measured)]
        return Findings(results, [Section("Table 2: error of five families", [], [table], figures, FORMATS, claims)])

    def _others(self, measured: Measured) -> Iterator[Result]:
        """Yield the errors of other learners beside the printed ones, without counting their verdicts."""
        for family, row in self._rows_beside():
            limits = {split: limit_of(measured, family, split) for split in SPLITS}
            for one in error_results(measured, row, measured.published[""][family], limits, "another learner"):
                yield replace(one, counts=False)

    def _rows_beside(self) -> Iterator[tuple[str, str]]:
        """Yield pairs of the modern recipe's row for a family and the row of another kind of learner for it."""
        for rows in self.beside.values():
            yield from rows.items()

    def _near(self, measured: Measured) -> Claim:
        family = {row: modern for modern, row in self._rows_beside()}
        limits = {row: limit_of(measured, family[row]) for row in self.near}
        text = "Ours, online least squares on learned features comes near the limit"
        return near_the_limit(text, measured, self.near, limits)

    def _subordinate(self, measured: Measured, row: str, family: str, printed: Mapping[str, float]) -> list[Result]:
        """Return how soon and how well a function is learned, compared with the printed numbers."""
        threshold, guess = printed["subordinate_mse"], self.first_guess.get(family)
        settled, best = (_plateaus(measured, name, who, threshold) for name, who in ((row, None), (family, BAYES)))
        note = f"threshold {threshold:g}" + (f"; a first guess already errs by {guess:g} only" if guess else "")
        limit = float(np.mean([step for step, _ in best])) if best else None
        steps, errors = ([one[index] for one in settled] for index in (0, 1))
        first = measured.result(row, "subordinate_steps", steps, printed["subordinate_steps"], limit, note)
        second = measured.result(row, "subordinate_mse", errors, threshold, None, note)
        return [
            first.without_verdict("no verdict: passed before anything was learned") if guess else first,
            second.without_verdict(
                "no verdict: once an error has settled it is at or below the threshold by definition"
            ),
        ]

    def _misprint(self, measured: Measured, tests: Mapping[str, Result]) -> Iterator[Claim]:
        """Judge whether a learner can reach the misprinted error, and how the misprint came about."""
        row = tests.get(self.misprinted)
        if row is not None and row.paper is not None and row.limit is not None:
            text = f"A learner can reach the printed error of `{self.misprinted}`"
            evidence = f"{row.paper:g} is printed, the limit is {row.limit:.3g}"
            yield Claim(text, row.paper >= row.limit, evidence, f"{row.paper:g} < {row.limit:.3g}")
        literal = [mse_of(measured, self.literal[family]) for family in (self.misprinted, self.exchanged)]
        text = f"Ours, the misprint is {' rather than '.join(self.readings)}"
        if all(literal):
            medians = [float(np.median(seeds)) for seeds in literal]
            first, *others = (np.abs(np.log(np.divide(medians, expected))).sum() for expected in self.readings.values())
            yield Claim(text, bool(first < min(others)), "medians to the letter {:.4f} and {:.4f}".format(*medians))
        else:
            yield Claim(text, None)

    def _curves(self, measured: Measured) -> Figure:
        figure, axes = grid(len(self.literal), 3, height=2.4)
        for panel, (family, letter) in zip(axes, self.literal.items(), strict=True):
            others: dict[str, tuple[str, str | None]] = {
                kind: (rows[family], None) for kind, rows in self.beside.items() if family in rows
            }
            sources = {"modern": (family, None), "1997, to the letter": (letter, None), **others}
            sources["Bayes limit"] = (family, BAYES)
            parts = [(name, measured.select(row, "error", who, problem="")) for name, (row, who) in sources.items()]
            run = {name: part.assign(contender=name) for name, part in parts if len(part)}
            if run:
                frame = pd.concat(run.values())
                curves(panel, frame.assign(value=frame.value.clip(lower=1e-7)), list(run), STYLES)
            decorate(panel, family, "example", "mean squared error", "xy")
            panel.set_ylim(bottom=1e-6)
        caption = "Mean squared error at each example of a new function (bands: range over seeds), and the limit."
        return measured.save(figure, caption, "_curves", columns=3)


def _plateaus(measured: Measured, row: str, contender: str | None, threshold: float) -> list[tuple[float, float]]:
    """Return when the error of each seed has settled below a threshold, and its maximum from then on."""
    table = measured.curve(row, "error", contender, problem="")
    return [plateau(table[seed].to_numpy(), threshold) for seed in table]


def _reached(text: str, tests: Mapping[str, Result], rows: Collection[str]) -> Claim:
    """Judge whether the printed test error of every row that was run is reached."""
    run = [tests[row] for row in rows if row in tests]
    evidence = ", ".join(f"{item.row} {item.ours:.3g} (printed: {item.paper:g})" for item in run)
    reached = {REPRODUCED: True, BETTER: True, WORSE: False, DIFFERS: False}
    verdicts = [reached.get(item.verdict) for item in run]
    number = f"{verdicts.count(True)} of {counted(len(run), 'row')}"
    return Claim(text, all_of(verdicts) if run else None, evidence, number)


def _dots(measured: Measured, results: Sequence[Result]) -> Figure:
    figure, axes = panels(1, 1, height=1.2 + 0.3 * len(results))
    dots(axes[0], results, {"paper": "paper, 2001", "ours": "ours", "limit": "limit (Bayes)"})
    decorate(axes[0], "Test MSEt, and ours as a multiple of the limit", "mean squared error per step", "", "x")
    return measured.save(figure, "Test MSEt: paper, ours (bars: 95 % interval) and the limit.", columns=3)
