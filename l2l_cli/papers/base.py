"""What a paper's recipe is: published numbers, what to measure of each run, and how to judge and draw it."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pandas as pd

from l2l_cli.results.frame import Metric, Result
from l2l_cli.results.report import Section
from l2l_cli.runs.loading import Trained

TRIALS = "trials"
"""Metric by which a measurement says how many settings it tried."""


@dataclass(frozen=True)
class Artefact:
    """A table or figure reproduced: one result for each published number, and sections of the report."""

    results: Sequence[Result]
    sections: Sequence[Section] = field(default_factory=list)


class Paper(ABC):
    """One paper.

    Attributes:
        title: Of the report.
        citation: Authors, title, venue.
        modules: Whose ``Deviation:`` notes the report lists.
    """

    title: str
    citation: str
    modules: Sequence[ModuleType]

    @abstractmethod
    def measure(self, row: str, trained: Trained) -> list[Metric]:
        """Measure one trained run; all that tables and figures will need, as tidy rows."""

    @abstractmethod
    def artefact(self, name: str, rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
        """Judge and draw one artefact from the measurements of its rows.

        Args:
            name: Of the artefact.
            rows: Measurements of all seeds by row; empty frames for rows that were not run.
            folder: Of the report; figures go into its ``figures``.
        """

    def deviations(self) -> list[str]:
        """Return every departure from the paper that the code notes."""
        notes = []
        for module in self.modules:
            source = inspect.getsource(module)
            for found in re.finditer(r"Deviation: (.+?)(?=\n\s*(?:#\s*)?\n|\n\s*\w+:\n|\"\"\")", source, re.DOTALL):
                text = re.sub(r"\s*\n\s*(?:#\s*)?", " ", found.group(1)).strip()
                notes.append(f"{text[0].upper()}{text[1:]} (`{module.__name__.removeprefix('l2l_cli.')}`)")
        return notes
