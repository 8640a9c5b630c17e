"""Table 1: which networks learn to learn the 14 Booleans."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.hochreiter2001.judges import FORMATS, error_results, errors_table, limit_of, lower, mse_of
from l2l_cli.papers.hochreiter2001.recipe import SPLITS
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.verdicts import Result

SUCCESS = 0.06
"""Test MSEt below which B14 counts as learned: within about four times the limit (ours; the paper has no criterion)."""


@dataclass(frozen=True)
class Table1(Artefact):
    """Every network of Table 1, at every learning rate and update mode that the paper names.

    Attributes:
        modern: Row of the modern recipe, which carries the limit.
        networks: Name of the network in Table 1, by group of rows.
        printed: Numbers of Table 1 by group of rows: "success_share" is 1 for YES and 0 for NO, "train_mse" and
            "test_mse" stand where the paper prints them.
        fewer: Row whose network may have memorised its training sequences.
        more: Row that is the same on more training sequences.
    """

    modern: RowName
    networks: dict[str, str]
    printed: dict[str, dict[str, float]]
    fewer: RowName
    more: RowName

    def judge(self, measured: Measured) -> Findings:
        """Judge every learning rate and update mode, and say where ours contradicts the paper."""
        results: list[Result] = []
        limits = {split: limit_of(measured, self.modern, split) for split in SPLITS}
        for row, facts in measured.rows.items():
            printed = self.printed[facts.group]
            if row == self.modern:
                note = "the modern recipe, not the paper's network"
                results += error_results(measured, row, printed, limits, note)
            else:
                results.append(_success(measured, row, bool(printed["success_share"])))
                results += error_results(measured, row, printed, dict.fromkeys(SPLITS, limits["test"]), "")
        text = f"Ours, `{self.fewer}` does not memorise: with more training sequences its test error is lower"
        claims = [self._claim(measured, group) for group in self.networks]
        claims.append(lower(text, measured, [self.more], [self.fewer]))
        table = errors_table(measured)
        table["succeed"] = [_share(measured, row) for row in measured.run]
        title = "Table 1: which networks learn to learn"
        return Findings(results, [Section(title, tables=[table], formats=FORMATS, claims=claims)])

    def _claim(self, measured: Measured, group: str) -> Claim:
        """Judge whether a network's best setting agrees with the paper's verdict."""
        learns = bool(self.printed[group]["success_share"])
        text = f"{self.networks[group]} {'learns' if learns else 'does not learn'}"
        shares = {row: _share(measured, row) for row in measured.run if measured.rows[row].group == group}
        best = max(shares, key=lambda row: shares[row], default=None)
        if best is None:
            return Claim(text, None)
        evidence = f"{shares[best]:.0%} of seeds succeed in its best setting, `{best}`"
        return Claim(text, (shares[best] > 0.5) == learns, evidence)


def _success(measured: Measured, row: str, learns: bool) -> Result:
    """Set the share of seeds that learned beside the paper's verdict, which the majority decides."""
    answer = "YES" if learns else "NO"
    note = f"share of seeds with test MSEt < {SUCCESS}; the paper says {answer}, judged by the majority"
    values = [float(value < SUCCESS) for value in mse_of(measured, row)]
    result = measured.result(row, "success_share", values, float(learns), note=note, lower_is_better=None)
    agrees = result.ours is not None and (result.ours > 0.5) == learns
    return replace(result, verdict="reproduced" if agrees else "differs") if values else result


def _share(measured: Measured, row: str) -> float:
    return float(np.mean([value < SUCCESS for value in mse_of(measured, row)]))
