"""Tuning hand-made learners by grid or by random search, on the tune phase alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from l2l_cli.core.errors import RunFailed
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.random import generator
from l2l_cli.core.ranges import Range
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.kept import Trials, measured
from l2l_cli.evaluation.score import Tell, score_together
from l2l_cli.learners.base import Learner

NEAR_ONE = ("momentum", "beta1", "beta2", "decay")
"""Keys with these endings are drawn log-uniformly in 1 − value: what counts is over how many steps they average."""

SIDE_BY_SIDE = 8
"""Settings that are tried side by side, which bounds the memory."""

EDGE = 0.03
"""Share of a range, on the scale that it is drawn on, that counts as its edge."""


class Trial(NamedTuple):
    """A setting, by configuration key, and the loss that it reached on the tune phase."""

    setting: Entries
    loss: float


class Judge(NamedTuple):
    """Episodes of the tune phase and the criterion by which settings are compared.

    Attributes:
        episodes: Number of episodes, the same ones for each setting and each learner.
        steps: Length of the episodes.
        seed: Seed of the episodes.
        criterion: Loss that is minimised: "final" is that of the last step (Andrychowicz et al. 2016), "end" that of
            the last tenth of the steps, "mean" that of all, "held_out" that of the steps whose targets are hidden.
    """

    episodes: int
    steps: int
    seed: int
    criterion: str


class Tuning(NamedTuple):
    """All trials in their order, the best of them, and the keys whose best value lies at the edge of what was tried."""

    trials: list[Trial]
    best: Trial
    at_edge: list[str]

    @property
    def chosen(self) -> str:
        """What was chosen and out of how many, as in "best of 8: rule.lr=0.1"."""
        return f"best of {len(self.trials)}: {shown(self.best.setting)}"


class Tuned(NamedTuple):
    """A learner at its setting, ready to be scored.

    Attributes:
        learner: The learner.
        tuning: Trials that chose the setting; None where there was nothing to choose from.
        setting: Setting by configuration key, chosen or given; empty if the learner is as its node says.
    """

    learner: Learner[Any]
    tuning: Tuning | None = None
    setting: Node = MappingProxyType({})

    @property
    def chosen(self) -> str:
        """What was chosen and out of how many, for tables."""
        if self.tuning:
            return self.tuning.chosen
        return f"{shown(self.setting)}, the one setting tried" if self.setting else "nothing to tune"


def settings_of(grid: Mapping[str, Sequence[Any]], budget: int | None) -> list[Entries]:
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


def draws_of(ranges: Mapping[str, Range], budget: int, seed: int) -> list[Entries]:
    """Return ``budget`` settings drawn log-uniformly from ranges; a smaller budget takes the first of the same draws.

    Ranges of keys in ``NEAR_ONE`` are drawn on another scale.

    Source: Bergstra and Bengio 2012: with several keys, as many different values of each are tried as there are trials.

    Raises:
        ValueError: The logarithm is not defined on a range.
    """
    columns = {}
    for key, (start, end, stream) in ranges.items():
        if not (0 <= start if _is_near_one(key) else 0 < start):
            raise ValueError(f"tune.ranges must give {key} as [low, high] with 0 < low < high, not {[start, end]}")
        if _is_near_one(key) and end >= 1:
            raise ValueError(f"tune.ranges: {key} must end below 1, not at {end}")
        low, high = _scale(key, start), _scale(key, end)
        shares = torch.rand(budget, generator=generator(seed, "tune", stream), dtype=torch.float64, device="cpu")
        columns[key] = [_unscale(key, low + share * (high - low)) for share in shares.tolist()]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _is_near_one(key: str) -> bool:
    return key.endswith(NEAR_ONE)


def _scale(key: str, value: float) -> float:
    return -math.log(1.0 - value) if _is_near_one(key) else math.log(value)


def _unscale(key: str, position: float) -> float:
    return 1.0 - math.exp(-position) if _is_near_one(key) else math.exp(position)


def tune(
    make: Callable[[Entries], Learner[Any]],
    settings: Sequence[Entries],
    judge: Judge,
    tell: Tell = lambda share, note: None,
    ranges: Mapping[str, Range] | None = None,
    kept: Trials | None = None,
) -> Tuning:
    """Score every setting on the same tune episodes and pick the best.

    Args:
        make: Function that builds the learner of a setting.
        settings: Settings to try, from ``settings_of`` or ``draws_of``.
        judge: Episodes and criterion by which they are compared.
        tell: Function that is told of the trials as they go on, each of which counts as 1.
        ranges: Ranges that the settings were drawn from, if they were.
        kept: Trials that were made before, which are not made again; None makes all of them and keeps none.

    Raises:
        RunFailed: No setting gives a finite loss.
    """
    losses = _found(settings, kept)
    if losses:
        tell(len(losses), f"{len(losses)} of {len(settings)} settings known")
    left = [index for index in range(len(settings)) if index not in losses]
    for start in range(0, len(left), SIDE_BY_SIDE):
        some = left[start : start + SIDE_BY_SIDE]
        losses |= zip(some, _tried(make, [settings[index] for index in some], judge, tell, kept), strict=True)
    return _chosen_of([Trial(setting, losses[index]) for index, setting in enumerate(settings)], ranges)


def recalled(settings: Sequence[Entries], kept: Trials) -> tuple[int, Node]:
    """Return how many settings are still to be tried, and if none is, the one that ``tune`` would choose."""
    found = [kept.peek(setting) for setting in settings]
    trials = [Trial(setting, one.facts["loss"]) for setting, one in zip(settings, found, strict=True) if one]
    missing = len(settings) - len(trials)
    finite = [trial for trial in trials if math.isfinite(trial.loss)]
    return missing, min(finite, key=lambda trial: trial.loss).setting if finite and not missing else {}


def _chosen_of(trials: list[Trial], ranges: Mapping[str, Range] | None = None) -> Tuning:
    """Pick the best of some trials; see ``tune``."""
    finite = [trial for trial in trials if math.isfinite(trial.loss)]
    if not finite:
        tried = [trial.setting for trial in trials]
        raise RunFailed(
            f"no setting gives a finite loss on the tune episodes, try others (tune.grid or tune.ranges): {tried}"
        )
    best = min(finite, key=lambda trial: trial.loss)
    edge = [key for key in best.setting if _ends(key, best, trials, (ranges or {}).get(key))]
    return Tuning(trials, best, edge)


def _found(settings: Sequence[Entries], kept: Trials | None) -> dict[int, float]:
    """Return the losses of the settings that were tried before, by their place among the settings."""
    found = {index: kept.find(setting) for index, setting in enumerate(settings)} if kept else {}
    return {index: one.facts["loss"] for index, one in found.items() if one is not None}


def _tried(
    make: Callable[[Entries], Learner[Any]],
    settings: Sequence[Entries],
    judge: Judge,
    tell: Tell,
    kept: Trials | None,
) -> list[float]:
    """Return the losses of some settings, scored side by side, so that each batch is drawn once for all of them."""

    def heard(share: float, note: str) -> None:
        tell(share * len(settings), f"{len(settings)} settings side by side, {note}")

    with measured("tuning") as cost:
        learners = [make(setting) for setting in settings]
        scores = score_together(learners, judge.episodes, judge.steps, judge.seed, Phase.TUNE, tell=heard)
        losses = [one.by(judge.criterion) for one in scores]
    if kept:
        for setting, loss in zip(settings, losses, strict=True):
            kept.keep(setting, loss, {"loss": loss, **cost.facts(1 / len(settings))})
    return losses


def _ends(key: str, best: Trial, trials: Sequence[Trial], ends: Range | None) -> bool:
    """Say whether the best value of a key is the smallest or largest of its grid, or near an end of its range."""
    if ends is not None:
        low, high = _scale(key, ends.low), _scale(key, ends.high)
        share = (_scale(key, best.setting[key]) - low) / (high - low)
        return not EDGE <= share <= 1.0 - EDGE
    values = sorted({trial.setting[key] for trial in trials if isinstance(trial.setting[key], int | float)})
    return len(values) > 1 and best.setting[key] in (values[0], values[-1])


def shown(setting: Node) -> str:
    """Return a setting of a learner for tables, as in "rule.lr=0.1"."""
    return ", ".join(f"{key.removeprefix('learner.')}={_short(value)}" for key, value in setting.items())


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
