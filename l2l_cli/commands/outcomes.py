"""How a job ended, and what a sweeper is told of it; no torch."""

from __future__ import annotations

from typing import NamedTuple

from l2l_cli.core.nodes import Entries
from l2l_cli.results.sweeps import DONE, FAILED, REUSED, SENT


class NoLoss(float):
    """The loss of a job that failed: NaN for sweepers that compute with it, no number for those that ask for one.

    An error would end the sweep by most sweepers' defaults.  Nevergrad takes NaN for a very high loss; Optuna marks a
    trial as failed whose result does not convert to a number, but breaks off at NaN.
    """

    def __float__(self) -> float:
        """Refuse to be a number."""
        raise ValueError("the job has failed")


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
