"""Numbers out of measurements: MSEt, error curves, and when an error has settled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def values_of(frame: pd.DataFrame, contender: str, split: str) -> list[float]:
    """Return the MSEt of each seed."""
    if not len(frame):
        return []
    part = frame[(frame.contender == contender) & (frame.split == split) & (frame.metric == "mse")]
    return [float(value) for value in part.sort_values("seed").value]


def limit_of(frame: pd.DataFrame, split: str) -> float | None:
    """Return the MSEt of the Bayes learner on the same sequences, over all seeds."""
    values = values_of(frame, "bayes", split)
    return float(np.mean(values)) if values else None


def error_curves(frame: pd.DataFrame, contender: str) -> list[np.ndarray[Any, Any]]:
    """Return the mean error at each example of a test sequence, (T,) for each seed."""
    if not len(frame):
        return []
    part = frame[(frame.contender == contender) & (frame.split == "test") & (frame.metric == "error")]
    return [group.sort_values("step").value.to_numpy() for _, group in part.groupby("seed")]


def plateau(curve: np.ndarray[Any, Any], threshold: float) -> tuple[float, float]:
    """Return the first step from which the mean error stays at or below the threshold, and its maximum from there.

    A curve that never stays below gives the step after its last, and its last error.
    """
    above = np.flatnonzero(curve > threshold)
    first = int(above[-1]) + 1 if len(above) else 0
    if first == len(curve):
        return float(first + 1), float(curve[-1])
    return float(first + 1), float(curve[first:].max())
