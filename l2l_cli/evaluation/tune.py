"""Tuning hand-made learners: the same number of trials for each, on the tune phase alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from l2l_cli.core.errors import RunFailed
from l2l_cli.core.types import Phase
from l2l_cli.learners.base import Learner
from l2l_cli.learners.rollout import score


class Trial(NamedTuple):
    """A setting, by configuration key, and the loss that it reached on the tune phase."""

    setting: dict[str, Any]
    loss: float


class Tuning(NamedTuple):
    """All trials in the order of the grid, the best of them, and the keys whose best value ends the grid."""

    trials: list[Trial]
    best: Trial
    at_edge: list[str]

    @property
    def chosen(self) -> str:
        """What was chosen and out of how many, as in "best of 8: rule.lr=0.1"."""
        values = (f"{key.removeprefix('learner.')}={_short(value)}" for key, value in self.best.setting.items())
        return f"best of {len(self.trials)}: {', '.join(values)}"


def settings_of(grid: Mapping[str, Sequence[Any]], budget: int | None) -> list[dict[str, Any]]:
    """Return the grid's points; with a budget below their number, that many of them, evenly spread.

    Raises:
        ValueError: The budget is below 1.
    """
    if budget is not None and budget < 1:
        raise ValueError(f"tune.budget must be at least 1 or null, not {budget}")
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if budget is None or budget >= len(points):
        return points
    if budget == 1:
        return [points[len(points) // 2]]
    return [points[round(index * (len(points) - 1) / (budget - 1))] for index in range(budget)]


def tune(
    make: Callable[[dict[str, Any]], Learner[Any]],
    settings: Sequence[dict[str, Any]],
    episodes: int,
    steps: int,
    seed: int,
    criterion: str,
    tell: Callable[[Trial], None] = lambda trial: None,
) -> Tuning:
    """Score every setting on the same tune episodes and pick the best.

    Args:
        make: Builds the learner of a setting.
        settings: From ``settings_of``.
        episodes: Tune episodes, the same for each setting and each learner.
        steps: Their length.
        seed: Of the episodes.
        criterion: "final" minimises the last step's loss (Andrychowicz et al. 2016), "mean" that of all steps.
        tell: Is told of each trial when it is done.

    Raises:
        RunFailed: No setting gives a finite loss.
    """
    trials = []
    for setting in settings:
        losses = score(make(setting), episodes, steps, seed, Phase.TUNE).losses
        value = losses[-1].mean() if criterion == "final" else losses.mean()
        trials.append(Trial(setting, value.item()))
        tell(trials[-1])
    finite = [trial for trial in trials if math.isfinite(trial.loss)]
    if not finite:
        tried = [trial.setting for trial in trials]
        raise RunFailed(f"no setting gives a finite loss on the tune episodes, try others (tune.grid): {tried}")
    best = min(finite, key=lambda trial: trial.loss)
    return Tuning(trials, best, [key for key in best.setting if _ends(key, best, trials)])


def _ends(key: str, best: Trial, trials: Sequence[Trial]) -> bool:
    """Say whether the best value of a key is the smallest or largest that was tried."""
    values = sorted({trial.setting[key] for trial in trials if isinstance(trial.setting[key], int | float)})
    return len(values) > 1 and best.setting[key] in (values[0], values[-1])


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
