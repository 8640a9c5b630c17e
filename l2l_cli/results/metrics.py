"""Tidy measurements: one number a row, in a file that grows while a run goes on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from l2l_cli.core.errors import RunFailed

if TYPE_CHECKING:
    import pandas as pd


class Metric(NamedTuple):
    """One number, and what it is a measurement of.

    Attributes:
        contender: Name of the learner that was measured.
        seed: Seed of its meta-training, or of the evaluation where nothing was meta-trained.
        metric: Name of the quantity, such as "loss".
        value: The number.
        step: Step at which it was measured, counted from 1; 0 for a whole episode.
        episode: Index of the episode; None for a statistic over episodes.
        statistic: Name of the statistic over episodes, such as "mean"; empty where an episode is named.
        problem: Name of the problem; empty where there is one alone.
        split: Phase or share of the data.
        variant: Way in which the contender was run, such as a learning rate; empty where there is one alone.
        part: Layer, coordinate or other part of the contender; empty for the whole.
    """

    contender: str
    seed: int
    metric: str
    value: float
    step: int = 0
    episode: int | None = None
    statistic: str = ""
    problem: str = ""
    split: str = "test"
    variant: str = ""
    part: str = ""


NUMBERS = {"seed": int, "step": int, "value": float}
"""Columns of metrics.csv that hold numbers, with their types; ``episode`` holds a number or nothing."""


class MetricsFile:
    """metrics.csv: appended to while a run goes on, cut back to the checkpoint when it is resumed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, rows: Iterable[Metric]) -> None:
        """Write rows at the end."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if self.length() == 0:
            writer.writerow(Metric._fields)
        # repr is the shortest text that reads back as the very same float.
        writer.writerows(row._replace(value=repr(float(row.value))) for row in rows)  # type: ignore[arg-type]
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())

    def length(self) -> int:
        """Return the size in bytes, which a checkpoint remembers."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, length: int) -> None:
        """Drop what was written after a checkpoint, so that the resumed run writes it again.

        Raises:
            RunFailed: The file is shorter than the checkpoint says, so rows are lost.
        """
        if self.length() < length:
            raise RunFailed(
                f"{self.path} has {self.length()} bytes, its checkpoint says {length}: rows are lost; delete "
                f"{self.path.parent} and run again"
            )
        if self.path.exists():
            os.truncate(self.path, length)

    def read(self) -> pd.DataFrame:
        """Read all rows but a torn last one, which a killed run may leave behind."""
        import numpy as np  # here, for what only trains has no use for a frame, and need not wait for pandas
        import pandas as pd

        data = self.path.read_bytes() if self.path.exists() else b""
        whole, _, _ = data.rpartition(b"\n")
        text = whole.decode() or ",".join(Metric._fields)
        # All as text at first: a name may look like a number or like nothing ("0", "None"), and pandas' own parser may
        # miss the last digit of a float that was written to be read back exactly.
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        numbers: dict[str, Any] = {name: np.array([*map(kind, frame[name])], kind) for name, kind in NUMBERS.items()}
        return frame.assign(**numbers, episode=pd.to_numeric(frame.episode.replace("", None)).astype("Int64"))
