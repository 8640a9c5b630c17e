"""Loggers, which write the records of metrics.csv in the format of another tool while meta-training goes on.

A logger begins with the existing records, so that a resumed run neither repeats nor loses any: what was logged after
the checkpoint is dropped, as are the corresponding rows of metrics.csv.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import atomic_write, open_file
from l2l_cli.results.metrics import Metric

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter


class Logger(ABC):
    """A destination for the records of one run in addition to metrics.csv."""

    @abstractmethod
    def has_logged(self, folder: Path) -> bool:
        """Return whether a run's folder holds output of this logger."""

    @abstractmethod
    def begin(self, folder: Path, rows: Sequence[Metric]) -> None:
        """Start a log with exactly these rows, which replaces everything that was logged of the run before."""

    @abstractmethod
    def append(self, rows: Sequence[Metric]) -> None:
        """Log further rows."""

    @abstractmethod
    def close(self) -> None:
        """Write what is still pending; do nothing if the log was never started."""


class JsonLines(Logger):
    """metrics.jsonl: one object per row, with the columns of metrics.csv as keys."""

    NAME = "metrics.jsonl"

    def __init__(self) -> None:
        self._path: Path | None = None

    def has_logged(self, folder: Path) -> bool:
        """Return whether the file exists."""
        return (folder / self.NAME).exists()

    def begin(self, folder: Path, rows: Sequence[Metric]) -> None:
        """Write the file anew."""
        self._path = folder / self.NAME
        atomic_write(self._path, _lines(rows), lasting=False)

    def append(self, rows: Sequence[Metric]) -> None:
        """Write rows at the end."""
        assert self._path is not None
        with open_file(self._path, "ab") as file:
            file.write(_lines(rows).encode())

    def close(self) -> None:
        """Do nothing: every row has been written."""


class TensorBoard(Logger):
    """TensorBoard's event files: a scalar for each phase and metric, by update, in float32 like all its scalars.

    Raises:
        UsageError: The package tensorboard is not installed.
    """

    PATTERN = "events.out.tfevents.*"

    def __init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise UsageError("logger=tensorboard needs tensorboard: pip install 'l2l-cli[tensorboard]'")
        self._writer: EventFileWriter | None = None

    def has_logged(self, folder: Path) -> bool:
        """Return whether there is an event file."""
        return any(folder.glob(self.PATTERN))

    def begin(self, folder: Path, rows: Sequence[Metric]) -> None:
        """Write a new event file, which keeps the time at which each update was first logged."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        earlier = sorted(folder.glob(self.PATTERN))
        times = {step: when for path in earlier for step, when in _times(path).items()}
        for path in earlier:
            path.unlink()
        self._writer = EventFileWriter(str(folder))
        self._write(rows, times)

    def append(self, rows: Sequence[Metric]) -> None:
        """Write rows as an event for each update."""
        self._write(rows, {})

    def close(self) -> None:
        """Write what is queued, and end the thread that writes."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, rows: Sequence[Metric], times: dict[int, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        assert self._writer is not None
        for step, each in groupby(rows, key=lambda row: row.step):
            values = [Summary.Value(tag=f"{row.split}/{row.metric}", simple_value=row.value) for row in each]
            when = times.get(step, time.time())
            self._writer.add_event(Event(wall_time=when, step=step, summary=Summary(value=values)))
        self._writer.flush()  # so that they are seen as they come


def _lines(rows: Sequence[Metric]) -> str:
    plain = (row._replace(value=float(row.value))._asdict() for row in rows)
    return "".join(
        json.dumps(one | {"value": one["value"] if math.isfinite(one["value"]) else None}, ensure_ascii=False) + "\n"
        for one in plain
    )


def _times(path: Path) -> dict[int, float]:
    """Return when each update was logged, as far as the event file, which a kill may have torn, can be read."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return {event.step: event.wall_time for event in EventFileLoader(str(path)).Load() if event.HasField("summary")}
