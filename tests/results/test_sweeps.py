"""The table and the file of a sweep, against what its jobs say."""

from __future__ import annotations

import csv
import statistics

import pytest
from rich.console import Console

from l2l_cli.results.sweeps import (
    DONE,
    FAILED,
    REUSED,
    RUNNING,
    SweepJob,
    messages,
    read_jobs,
    sweep_table,
    swept_keys,
    write_summary,
)

LOSSES = {("12", "0"): 0.5, ("12", "1"): 0.75, ("32", "0"): 0.25, ("32", "1"): 0.125}


def job(number: int, hidden: str, seed: str, status: str = DONE, **rest: object) -> SweepJob:
    row = {} if status == FAILED else {"objective": "best_loss", "best_loss": LOSSES[hidden, seed], "run": "here"}
    return SweepJob(number, ["task=b16", f"learner.hidden={hidden}", f"seed={seed}"], status, row, **rest)


JOBS = [job(number, *values) for number, values in enumerate(LOSSES)]


def shown(jobs: list[SweepJob], width: int = 80) -> list[list[str]]:
    """The cells of the table's lines."""
    console = Console(width=width)
    with console.capture() as captured:
        console.print(sweep_table(jobs))
    lines = [line for line in captured.get().splitlines() if line.startswith(("│", "┃"))]
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines]


def test_the_table_takes_the_mean_over_seeds_and_puts_the_lowest_first():
    mean, sd = statistics.fmean([0.25, 0.125]), statistics.stdev([0.25, 0.125])
    header, first, second = shown(JOBS)
    assert header == ["learner.hidden", "seeds", "best loss", "status"]
    assert first == ["32", "2", f"{mean:.4g} ± {sd:.3g}", "lowest; done"]
    assert second[0] == "12"


def test_the_table_says_what_was_reused_and_why_something_failed():
    jobs = [job(0, "12", "0", REUSED), job(1, "12", "1"), job(2, "32", "0", FAILED, message="as expected\nin detail")]
    _, first, second = shown(jobs)
    assert first[1:] == ["2", "0.6250 ± 0.177", "lowest; 1 reused, 1 done"]
    assert second == ["32", "0", "–", "failed: as expected"]


def test_a_table_of_one_combination_marks_none():
    assert shown([job(0, "12", "0")])[1] == ["0.5000", "done"]


def test_what_a_sweeper_draws_is_shortened_and_fits_into_80_columns():
    drawn = "0.04228517846555483"
    jobs = [SweepJob(number, [f"optimizer.lr={value}"], DONE) for number, value in enumerate((drawn, "0.1"))]
    cells = shown(jobs)
    assert "0.04229" in [line[0] for line in cells]
    assert len(cells) == 3  # no cell is broken over lines


def test_the_summary_has_each_job_with_all_that_it_came_to(tmp_path):
    write_summary([*JOBS[:3], job(3, "32", "1", REUSED)], tmp_path / "summary.csv")
    with (tmp_path / "summary.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["learner.hidden"], line["seed"]) for line in lines] == list(LOSSES)
    assert [float(line["objective"]) for line in lines] == list(LOSSES.values())
    assert [line["reused"] for line in lines] == ["False"] * 3 + ["True"]
    assert {(line["status"], line["run"]) for line in lines} == {("done", "here")}
    assert "task" not in lines[0]


def test_a_reason_is_told_once():
    jobs = [job(0, "12", "0", FAILED, message="x"), job(1, "12", "1", FAILED, message="x"), job(2, "32", "0")]
    assert messages(jobs) == ["error: job 0 (learner.hidden=12 seed=0) and 1 more: x"]


@pytest.mark.parametrize("status", [RUNNING, DONE])
def test_a_job_is_read_as_it_was_written(status, tmp_path):
    written = [job(number, *values, status) for number, values in enumerate(LOSSES)]
    for one in reversed(written):
        one.write(tmp_path)
    assert read_jobs(tmp_path) == written


def test_keys_are_swept_that_have_several_values():
    assert swept_keys([SweepJob(0, ["a=1", "+b=2", "c=3"]), SweepJob(1, ["a=1", "+b=4"])]) == ["b", "c"]
