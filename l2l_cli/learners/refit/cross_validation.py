"""Cross-validation on few examples of two classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from l2l_cli.optimizers.base import positive

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
"""Deviation: the grid of C in Bosc 2016 is not known; this one is ours."""

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices of the examples for the fit, and of those that are held out."""


def check_choices(strengths: Sequence[float], folds: int) -> None:
    """Refuse a grid or a number of folds that leaves nothing to choose.

    Raises:
        ValueError: Strengths are missing or not above zero, or folds are below 2.
    """
    if not strengths:
        raise ValueError("strengths must hold at least one value")
    positive(strengths=min(strengths))
    if folds < 2:
        raise ValueError(f"folds must be at least 2, not {folds}")


def folds_of(classes: NDArray[np.int64], most: int) -> list[Fold]:
    """Return folds that are stratified by class; none if a class has a single member.

    Examples come in random order, so they are not shuffled.
    """
    count = min(most, int(np.bincount(classes).min()))
    return list(StratifiedKFold(count).split(classes, classes)) if count > 1 else []


def cross_entropy(answers: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Return the mean negative log-probability of the right class, in nats."""
    right = np.where(classes == 1, answers, 1.0 - answers)
    return float(-np.log(np.maximum(right, 1e-12)).mean())
