"""Tidy measurements: one number per row, in a file that grows while a run goes on."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from l2l_cli.core.files import atomic_write, open_file, read_file, sync_file
from l2l_cli.core.printable import printable

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
        problem: Name of the problem; empty if there is only one.
        split: Phase or share of the data.
        variant: Way in which the contender was run, such as a learning rate; empty if there is only one.
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

LARGEST_LOG = 1 << 30
"""Largest size in bytes of a metrics.csv that is read: tens of millions of rows."""

LARGEST_NUMBER = (1 << 63) - 1
"""Largest seed, step or episode."""


class MetricsFile:
    """metrics.csv: appended to while a run goes on, cut back to the checkpoint when it is resumed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, rows: Iterable[Metric]) -> None:
        """Append rows to the file; ``sync`` flushes them to disk."""
        text = csv_of(rows, header=self.length() == 0)
        with open_file(self.path, "ab") as file:
            file.write(text.encode())

    def sync(self) -> None:
        """Flush all rows to disk, before a checkpoint counts them."""
        sync_file(self.path)

    def length(self) -> int:
        """Return the size in bytes, which a checkpoint records."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, length: int) -> None:
        """Drop what was written after a checkpoint, so that the resumed run writes it again.

        Rows that the checkpoint counts but that are missing or damaged stay a gap, of which a warning is printed.
        """
        data = read_file(self.path, LARGEST_LOG) if os.path.lexists(self.path) else b""
        whole = data[:length]
        whole = whole.partition(b"\0")[0]  # a block that a power cut kept from the disk
        whole = whole[: whole.rfind(b"\n") + 1]
        if len(whole) < length:
            _warn(f"{self.path} lacks {length - len(whole)} bytes of rows that its checkpoint counts; they stay a gap")
        if whole != data:  # in a new file: this one may have another name
            atomic_write(self.path, whole)

    def rows(self) -> list[Metric]:
        """Return all complete rows without a data frame, since pandas takes half a second to load."""
        data = read_file(self.path, LARGEST_LOG) if os.path.lexists(self.path) else b""
        whole, _, _ = data.rpartition(b"\n")
        lines = printable(whole.decode(errors="replace")).split("\n")
        return [row for line in lines if (row := _row(line))]

    def latest(self, most: int = 1 << 16) -> list[Metric]:
        """Return the complete rows among the last ``most`` bytes of the file, which may grow meanwhile."""
        if not os.path.lexists(self.path):
            return []
        with open_file(self.path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            lines = printable(file.read(most).rpartition(b"\n")[0].decode(errors="replace")).split("\n")
        return [row for line in lines if (row := _row(line))]

    def read(self) -> pd.DataFrame:
        """Read all rows but a torn last one, which a killed run may leave behind.

        Damaged lines are left out, and a warning is printed.
        """
        data = read_file(self.path, LARGEST_LOG) if os.path.lexists(self.path) else b""
        whole, _, _ = data.rpartition(b"\n")
        text = printable(whole.decode(errors="replace")) or ",".join(Metric._fields)
        try:
            return _frame(text)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            lines = [row for line in text.split("\n") if (row := _row(line))]
        damaged = max(0, text.count("\n") - len(lines))
        _warn(f"{self.path} is damaged; {damaged} of its lines are ignored")
        return _frame(csv_of(lines))


def csv_of(rows: Iterable[Metric], header: bool = True) -> str:
    """Return rows as CSV text, with or without a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(Metric._fields)
    # repr is the shortest text that reads back as the very same float.
    writer.writerows(row._replace(value=repr(float(row.value))) for row in rows)  # type: ignore[arg-type]
    return text.getvalue()


def _frame(text: str) -> pd.DataFrame:
    """Return the data frame of a CSV text."""
    import numpy as np  # here, so that training, which needs no data frame, does not wait for pandas
    import pandas as pd

    # All as text at first: a name may look like a number or like nothing ("0", "None"), and pandas' own parser may
    # miss the last digit of a float that was written to be read back exactly.
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    if tuple(frame.columns) != Metric._fields or frame.isna().to_numpy().any():
        raise ValueError("other columns than those of metrics")
    numbers: dict[str, Any] = {name: np.array([*map(kind, frame[name])], kind) for name, kind in NUMBERS.items()}
    return frame.assign(**numbers, episode=pd.to_numeric(frame.episode.replace("", None)).astype("Int64"))


def _row(line: str) -> Metric | None:
    """Return the row of a line of metrics.csv; None if the line is invalid."""
    try:
        row = Metric._make(next(csv.reader([line])))
        episode = int(row.episode) if row.episode else None
        if max(abs(int(row.seed)), abs(int(row.step)), abs(episode or 0)) > LARGEST_NUMBER:
            return None
        return row._replace(seed=int(row.seed), step=int(row.step), value=float(row.value), episode=episode)
    except (ValueError, TypeError, StopIteration, csv.Error):
        return None


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
