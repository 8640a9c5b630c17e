"""Verdicts by one rule, and the file that they are written to."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from l2l_cli.results.verdicts import RULE, summarise, write_results

KEY = ("table", "row", "mse")


@pytest.mark.parametrize(
    ("values", "paper", "limit", "lower", "verdict"),
    [
        ([0.30, 0.31, 0.32], 0.32, None, True, "reproduced"),  # within 10 %
        ([0.1, 0.5], 0.45, None, True, "reproduced"),  # within two standard errors
        ([0.20, 0.21, 0.22], 0.32, None, True, "better"),
        ([0.20, 0.21, 0.22], 0.32, None, False, "worse"),
        ([0.40, 0.41, 0.42], 0.32, None, True, "worse"),
        ([0.40, 0.41, 0.42], 0.32, None, False, "better"),
        ([0.40, 0.41, 0.42], 0.32, None, None, "differs"),  # no better side
        ([0.31], 0.32, None, None, "reproduced"),
        ([0.40, 0.41, 0.42], 0.05, 0.1, True, "differs"),  # impossible
        ([0.10], 0.0985, 0.1, True, "differs"),  # impossible, however near to ours
        ([0.10], 0.0995, 0.1, True, "reproduced"),  # the limit itself is measured
        ([0.90], 1.1, 1.0, False, "differs"),
        ([0.40], None, 0.1, True, ""),
        ([], 0.32, 0.1, True, "not run"),
        ([], None, None, True, "not run"),
        ([0.1, math.nan], 0.32, None, True, "worse"),  # a diverged seed is not averaged away
        ([0.1, math.inf], 0.32, None, False, "worse"),
    ],
)
def test_verdicts(values, paper, limit, lower, verdict):
    result = summarise(KEY, values, paper, limit, lower_is_better=lower)
    assert result.verdict == verdict
    assert result.seeds == len(values)
    if values and limit:
        assert result.ratio_to_limit == pytest.approx(np.mean(values) / limit)


def test_spread_is_over_seeds():
    assert summarise(KEY, [1.0, 3.0], None).sd == pytest.approx(math.sqrt(2))
    assert summarise(KEY, [1.0], None).sd is None
    assert summarise(KEY, [1.0], None, 0.0).ratio_to_limit is None


def test_notes_say_what_a_reader_must_know():
    assert (
        summarise(KEY, [0.4], 0.05, 0.1).note == "the published number lies beyond the limit, where no learner can be"
    )
    own = "printed value lies below the limit; see the section on the misprint"
    assert summarise(KEY, [0.4], 0.05, 0.1, own).note == own
    lost = summarise(KEY, [0.4, math.nan], 0.5, 0.1, "mine")
    assert (lost.ours, lost.note) == (math.inf, "mine; 1 of 2 seeds not finite")
    assert all(verdict in RULE for verdict in ("reproduced", "better", "worse", "differs", "not run", "10 %"))


def test_results_survive_their_file(tmp_path):
    results = [
        summarise(KEY, [0.1, 0.2], 1 / 3, 0.05, 'a | b, "c"\nd'),
        summarise(KEY, [], None, None),
        summarise(KEY, [math.nan], 0.1, None),
    ]
    write_results(tmp_path / "results.csv", results)
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    header = "artefact,row,metric,paper,ours,sd,seeds,limit,ratio_to_limit,verdict,note"
    assert ",".join(rows[0]) == header
    assert [row["note"] for row in rows] == [result.note for result in results]
    assert float(rows[0]["paper"]) == 1 / 3
    assert (rows[1]["paper"], rows[1]["verdict"], rows[2]["ours"]) == ("", "not run", "inf")
