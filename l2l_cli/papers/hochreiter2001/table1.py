"""Table 1: which networks learn to learn the 14 Booleans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from l2l_cli.core.printable import counted
from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.claims import Verdict, above_bound, below_bound
from l2l_cli.papers.hochreiter2001.judges import FORMATS, error_results, errors_table, limit_of, lower, mse_of
from l2l_cli.papers.hochreiter2001.recipe import SPLITS
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.statistics import share_of
from l2l_cli.results.verdicts import DIFFERS, OPEN, REPRODUCED, Result

SHARE = "success_share"
"""Metric: share of the seeds that learned."""

SUCCESS = 0.06
"""Test MSEt below which B14 counts as learned: within about four times the limit (ours; the paper has no criterion)."""


@dataclass(frozen=True)
class Table1(Artefact):
    """Every network of Table 1, at every learning rate and update mode that the paper names.

    Attributes:
        modern: Row of the modern recipe, which carries the limit.
        networks: Name of the network in Table 1, by group of rows.
        printed: Numbers of Table 1 by group of rows: "success_share" is 1 for YES and 0 for NO, "train_mse" and
            "test_mse" are given where the paper prints them.
        fewer: Row whose network may have memorised its training sequences.
        more: Row of the same network with more training sequences.
    """

    modern: RowName
    networks: dict[str, str]
    printed: dict[str, dict[str, float]]
    fewer: RowName
    more: RowName

    def judge(self, measured: Measured) -> Findings:
        """Judge every learning rate and update mode, and whether each network agrees with the paper."""
        results: list[Result] = []
        limits = {split: limit_of(measured, self.modern, split) for split in SPLITS}
        for row, facts in measured.rows.items():
            printed, ours = self.printed[facts.group], row == self.modern
            note = "the modern recipe, not the paper's network" if ours else ""
            bounds = limits if ours else dict.fromkeys(SPLITS, limits["test"])
            found = error_results(measured, row, printed, bounds, note)
            if not ours:
                found.insert(0, _success(measured, row, bool(printed["success_share"])))
            results += self._counted_once(measured, row, found)
        text = f"Ours, `{self.fewer}` does not memorise: with more training sequences its test error is lower"
        claims = [self._claim(measured, group) for group in self.networks]
        claims.append(lower(text, measured, [self.more], [self.fewer]))
        table = errors_table(measured)
        table["succeed"] = [f"{_successes(measured, row)} of {len(mse_of(measured, row))}" for row in measured.run]
        title = "Table 1: which networks learn to learn"
        return Findings(results, [Section(title, (), [table], (), FORMATS, claims)])

    def _counted_once(self, measured: Measured, row: str, results: Sequence[Result]) -> list[Result]:
        """Judge a network's printed numbers only by its best setting, and the LSTM's errors only in Table 2.

        Table 2 has these errors too.  The best setting has the most seeds that succeed and, among equals, the lowest
        median error.
        """
        group = measured.rows[row].group
        best = self._best(measured, group)
        return [
            one.without_verdict("judged in table2")
            if one.metric != SHARE and self.printed[group].get("success_share", 1)
            else one.without_verdict(f"judged by its best setting, {best}")
            if row != best
            else one
            for one in results
        ]

    def _best(self, measured: Measured, group: str) -> str | None:
        rows = [row for row in measured.run if measured.rows[row].group == group]
        return min(rows, key=lambda row: (-_successes(measured, row), np.median(mse_of(measured, row))), default=None)

    def _claim(self, measured: Measured, group: str) -> Claim:
        """Judge whether a network's best setting agrees with the paper's verdict."""
        learns = bool(self.printed[group]["success_share"])
        text = f"{self.networks[group]} {'learns' if learns else 'does not learn'}"
        best = self._best(measured, group)
        if best is None:
            return Claim(text, None)
        won, seeds = _successes(measured, best), len(mse_of(measured, best))
        evidence = f"{won} of {counted(seeds, 'seed')} succeed in its best setting, `{best}`"
        return Claim(text, _agrees(won, seeds, learns), evidence, f"{won} of {counted(seeds, 'seed')} learn")


def _success(measured: Measured, row: str, learns: bool) -> Result:
    """Compare the share of seeds that learned with the paper's verdict, which the majority of seeds should share."""
    values = [float(value < SUCCESS) for value in mse_of(measured, row)]
    won, seeds = int(sum(values)), len(values)
    note = f"{won} of {counted(seeds, 'seed')} with test MSEt < {SUCCESS}; the paper says {'YES' if learns else 'NO'}"
    if not values:
        return measured.result(row, SHARE, [], float(learns), lower_is_better=None)
    share = share_of(won, seeds)
    result = measured.result(row, SHARE, values, float(learns), note=note, lower_is_better=None, interval=share)
    verdict = {True: REPRODUCED, False: DIFFERS, None: OPEN}[_agrees(won, seeds, learns)]
    return replace(result, sd=None, verdict=verdict)


def _successes(measured: Measured, row: str) -> int:
    return sum(value < SUCCESS for value in mse_of(measured, row))


def _agrees(won: int, seeds: int, learns: bool) -> Verdict:
    """Return whether the majority of seeds agrees with the paper, by the exact interval of their share."""
    share = share_of(won, seeds)
    return above_bound(share, 0.5) if learns else below_bound(share, 0.5)
