"""Results of a report for a Python program: its table, its figures and its headline, read from its folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd

from l2l_cli.core.errors import UsageError
from l2l_cli.core.layout import FIGURES
from l2l_cli.core.nodes import Entries
from l2l_cli.papers.origin import CLAIM, RESULTS_FILE
from l2l_cli.python.html import page
from l2l_cli.results.index import REPORT
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.run import METRICS, TABLE, RunFolder
from l2l_cli.results.verdicts import COLUMNS


class DryRun:
    """Description of a meta-training, and estimate of its costs.

    Attributes:
        lines: Description of what would be trained, how and where, as (what, how) lines that the command line shows.
        seconds: Estimated seconds, in one process on this machine.
        bytes: Peak memory of the process in bytes, including what the program itself took before.
    """

    def __init__(self, lines: Sequence[tuple[str, str]], seconds: float, size: int) -> None:
        self.lines, self.seconds, self.bytes = list(lines), seconds, size

    @property
    def minutes(self) -> float:
        """Estimated minutes."""
        return self.seconds / 60.0

    def __repr__(self) -> str:
        """Return all lines."""
        return "\n".join(["dry run:", *(f"  {name:9}{text}" for name, text in self.lines)])

    def _repr_html_(self) -> str:
        return page("dry run", [], pd.DataFrame(self.lines, columns=["what", "how"]))


GRID = "grid.csv"
"""File with all cells of an evaluation on a grid."""


class Reported(ABC):
    """The results of a command that writes a report, read from its folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()
        self._folder = RunFolder.load(self.path)

    @property
    @abstractmethod
    def table(self) -> pd.DataFrame:
        """The table that the command shows, with unrounded numbers."""

    @property
    def facts(self) -> Entries:
        """Entries of run.json: versions, commit, seconds, seeds."""
        return self._folder.facts()

    @property
    def headline(self) -> str:
        """The result in one line."""
        return str(self.facts.get("headline", ""))

    @property
    def certificate(self) -> str:
        """The certificate of a meta-trained rule against its best rival; empty if nothing was certified."""
        return str(self.facts.get("certificate", ""))

    @property
    def report(self) -> Path:
        """The page of the report, for a browser."""
        return self.path / REPORT

    @property
    def figures(self) -> list[Path]:
        """The report's figures as PNG files; PDF and SVG files are next to them."""
        return sorted((self.path / FIGURES).glob("*.png"))

    def __repr__(self) -> str:
        """Return the headline and the location of the report."""
        return f"{type(self).__name__}: {self.headline} ({self.report})"

    def _repr_html_(self) -> str:
        said = [self.headline, self.certificate, f"report: {self.report}"]
        return page(self.path.name, said, self.table, self.figures)


class Scored(Reported):
    """Results of an evaluation or a comparison."""

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each horizon or contender; for an evaluation on a grid, one for each cell.

        Raises:
            UsageError: The command was not finished, or an earlier version wrote the folder.
        """
        for name in (TABLE, GRID):
            if (self.path / name).is_file():
                return pd.read_csv(self.path / name)
        raise UsageError(
            f"{self.path} has no {TABLE}: it is {self._folder.status}, or of an earlier version; run it again"
        )

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """All measurements, one per row: metrics.csv."""
        return MetricsFile(self.path / METRICS).read()


class Reproduction(Reported):
    """A paper's tables and figures, compared with the published numbers."""

    @cached_property
    def _lines(self) -> pd.DataFrame:
        return pd.read_csv(self.path / RESULTS_FILE)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each published number: the number, ours with its interval, the limit, and the verdict."""
        lines = self._lines
        return lines.loc[lines.metric != CLAIM, list(COLUMNS)].reset_index(drop=True)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """One row for each claim that was judged: the sentence, the verdict, and what decided it."""
        lines = self._lines.loc[self._lines.metric == CLAIM, ["artefact", "row", "verdict", "note"]]
        return lines.rename(columns={"row": "claim"}).reset_index(drop=True)
