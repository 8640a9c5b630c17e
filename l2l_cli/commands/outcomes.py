"""How a job ended, and what a sweeper is told of it; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from l2l_cli.core.nodes import Entries
from l2l_cli.core.voice import VOICE
from l2l_cli.results.index import REPORT
from l2l_cli.results.sweeps import DONE, FAILED, REUSED, SENT


class NoLoss(float):
    """The loss of a job that failed: NaN for sweepers that compute with it, no number for those that ask for one.

    An error would end the sweep by most sweepers' defaults.  Nevergrad takes NaN for a very high loss; Optuna marks a
    trial as failed whose result does not convert to a number, but breaks off at NaN.
    """

    def __float__(self) -> float:
        """Refuse to be a number."""
        raise ValueError("the job failed")


def tell_of(status: str, row: Entries, message: str, exit_code: int, **job: object) -> None:
    """Tell a program that listens how a job ended: done or reused, with its row, failed, or left to a cluster."""
    if message:
        VOICE.event("failed", message=message, exit_code=exit_code, **job)
    elif "run" in row:  # not of a plan
        report = Path(str(row["run"])) / REPORT
        score = {"objective": row.get("objective"), "score": row.get(str(row.get("objective")))}
        files = {"run": row["run"], "report": str(report) if report.is_file() else None}
        rest = {key: value for key, value in row.items() if key not in ("run", "objective")}
        VOICE.event("done", reused=status == REUSED, **files, **score, **job, results=rest)


class Outcome(NamedTuple):
    """How a job ended: with a row, which may have been known before, or not; ``sent`` is left to a cluster."""

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
