"""Tidy files that survive a kill, and verdicts by one rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.results.frame import (
    RULE,
    Metric,
    MetricsFile,
    bootstrap_interval,
    paired_bootstrap,
    read_results,
    summarise,
    write_results,
)

KEY = ("table", "row", "mse")
ROWS = [Metric("a", 0, "mean", step, "test×2", "loss", 1 / (step + 3)) for step in range(6)]


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
    assert read_results(tmp_path / "results.csv") == results
    header = (tmp_path / "results.csv").read_text().splitlines()[0]
    assert header == "artefact,row,metric,paper,ours,sd,seeds,limit,ratio_to_limit,verdict,note"


def test_a_file_with_other_columns_is_refused(tmp_path):
    (tmp_path / "results.csv").write_text("artefact,row\n")
    with pytest.raises(UsageError, match="its columns are not artefact, row"):
        read_results(tmp_path / "results.csv")


def test_metrics_are_cut_back_to_a_checkpoint(tmp_path):
    straight, resumed = MetricsFile(tmp_path / "one.csv"), MetricsFile(tmp_path / "two.csv")
    straight.append(ROWS)
    resumed.append(ROWS[:3])
    length = resumed.length()
    resumed.append(ROWS[3:5])
    with resumed.path.open("ab") as file:
        file.write(b"a,0,me")  # killed within a line
    resumed.truncate(length)
    resumed.append(ROWS[3:])
    assert straight.path.read_bytes() == resumed.path.read_bytes()
    assert straight.path.read_text(encoding="utf-8").splitlines()[0] == "contender,seed,episode,step,split,metric,value"


def test_a_run_that_restarts_from_nothing_writes_its_header_again(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.truncate(metrics.length())  # nothing there yet
    metrics.append(ROWS)
    before = metrics.path.read_bytes()
    metrics.truncate(0)
    metrics.append(ROWS)
    assert metrics.path.read_bytes() == before


def test_rows_that_a_checkpoint_counts_on_are_missed(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.append(ROWS)
    with pytest.raises(RunFailed, match="rows are lost"):
        metrics.truncate(metrics.length() + 1)


def test_values_are_read_back_exactly_and_names_as_names(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    values = [0.1 + 0.2, 1 / 3, 5e-324, math.inf, math.nan, np.float64(0.1)]
    metrics.append(Metric("None", 0, "0", step, "t", "m", value) for step, value in enumerate(values))
    frame = metrics.read()
    np.testing.assert_array_equal(frame.value, values)
    assert frame.contender.tolist() == ["None"] * 6
    assert frame.episode.tolist() == ["0"] * 6
    assert frame.step.dtype.kind == "i"


@pytest.mark.parametrize("torn", ["a,0,mean,9,te", "a,0,mean,9,test,loss,0.1"])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.append(ROWS)
    with metrics.path.open("a") as file:
        file.write(torn)
    assert len(metrics.read()) == len(ROWS)


def test_a_file_that_was_never_written_has_no_rows(tmp_path):
    frame = MetricsFile(tmp_path / "metrics.csv").read()
    assert list(frame.columns) == list(Metric._fields)
    assert frame[frame.metric == "loss"].empty


def test_bootstrap_covers_the_mean():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        interval = bootstrap_interval(rng.normal(2.0, 1.0, 80).tolist(), draws=400, seed=trial)
        hits += interval.low < 2.0 < interval.high
    assert 88 <= hits <= 99


def test_bootstrap_takes_any_statistic_and_repeats_itself():
    values = [1.0, 2.0, 3.0, 100.0]
    interval = bootstrap_interval(values, np.median)
    assert interval.value == 2.5
    assert interval == bootstrap_interval(values, np.median)
    assert interval != bootstrap_interval(values, np.median, level=0.5)
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval([])


def test_pairs_see_a_difference_that_is_small_beside_the_spread():
    rng = np.random.default_rng(0)
    hardness = rng.normal(0.5, 1.0, 300)
    first, second = hardness.tolist(), (hardness + 0.03 + rng.normal(0.0, 0.05, 300)).tolist()
    interval = paired_bootstrap(first, second)
    assert interval.low < interval.value < interval.high < 0
    assert interval.value == pytest.approx(-0.03, abs=0.01)
    with pytest.raises(ValueError, match="come in pairs"):
        paired_bootstrap([1.0], [1.0, 2.0])
