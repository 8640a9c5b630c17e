"""The outcome of a job, and how it is reported to a sweeper; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from l2l_cli.core.nodes import Entries
from l2l_cli.core.voice import VOICE
from l2l_cli.results.index import REPORT
from l2l_cli.results.sweeps import DONE, FAILED, REUSED, SENT


class NoLoss(float):
    """The loss of a job that failed: NaN for sweepers that compute with it, an error for those that convert it.

    An exception would end the sweep by most sweepers' defaults.  Nevergrad treats NaN as a very high loss; Optuna marks
    a trial as failed if its result cannot be converted to a number, but stops at NaN.
    """

    def __float__(self) -> float:
        """Refuse to be converted to a number."""
        raise ValueError("the job failed")


def tell_of(status: str, row: Entries, message: str, exit_code: int, **job: object) -> None:
    """Write an event on the outcome of a job: done or reused, with its row; failed; or left to a cluster."""
    if message:
        VOICE.event("failed", message=message, exit_code=exit_code, **job)
    elif "run" in row:  # not a plan
        report = Path(str(row["run"])) / REPORT
        score = {"objective": row.get("objective"), "score": row.get(str(row.get("objective")))}
        files = {"run": row["run"], "report": str(report) if report.is_file() else None}
        rest = {key: value for key, value in row.items() if key not in ("run", "objective")}
        VOICE.event("done", reused=status == REUSED, **files, **score, **job, results=rest)


class Outcome(NamedTuple):
    """The outcome of a job: its row, possibly from an earlier job, or an error; ``sent`` means left to a cluster."""

    row: Entries | None
    message: str = ""
    exit_code: int = 0
    reused: bool = False
    sent: bool = False

    @property
    def status(self) -> str:
        """The job's status in the table of a sweep."""
        if self.sent:
            return SENT
        return FAILED if self.row is None else REUSED if self.reused else DONE
