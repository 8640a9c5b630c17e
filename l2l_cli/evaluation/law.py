"""The settings that tuning tries, round after round: a grid or random draws, halved or not, then beyond an edge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from l2l_cli.core.nodes import Entries
from l2l_cli.evaluation.spaces import Space


class Trial(NamedTuple):
    """A setting, by configuration key, and the loss that it reached on the tune phase."""

    setting: Entries
    loss: float


class Round(NamedTuple):
    """Settings that are tried on the same number of tune episodes."""

    settings: Sequence[Entries]
    episodes: int


class Law(NamedTuple):
    """The rule by which settings are tried, round after round; a round depends on the losses of those before.

    Without ``rungs`` all settings of ``first`` are one round.  With them, the best of a rung go on to the next, which
    has fewer settings and more episodes.  If settings are drawn from ranges and choices, the last ones of the first
    rung are not drawn: they are the best so far, each with another value for one of its choices.  Otherwise a choice
    that does not suit a problem, such as a falling rate where there is no noise, would make most draws worthless.  If
    the best of the last rung lies at an end of the values tried, the search continues from it, one value farther out at
    a time, for at most ``extensions`` more settings.  All learners that are compared have the same law.

    Source: Jamieson and Talwalkar 2016 (successive halving).

    Attributes:
        first: Settings that are tried first.
        episodes: Number of tune episodes, if there are no rungs.
        space: Lists and ranges that the settings come from.
        extensions: Largest number of further settings that may be tried beyond these.
        rungs: Numbers of settings and of episodes, rung by rung.
        changed: Number of settings that repeat the best of the first ones with another choice.
    """

    first: Sequence[Entries]
    episodes: int
    space: Space = Space()
    extensions: int = 0
    rungs: Sequence[tuple[int, int]] = ()
    changed: int = 0

    def following(self, trials: Sequence[Trial]) -> Round | None:
        """Return the round that follows some trials; None at the end."""
        (end, episodes), *rungs = self.planned
        if len(trials) < end:
            return Round(self._otherwise(trials) if trials else self.first, episodes)
        begin = 0
        for count, episodes in rungs:
            if len(trials) == end:
                return Round([trial.setting for trial in _ranked(trials[begin:end])[:count]], episodes)
            begin, end = end, end + count
        settings = self._onward(trials)[: self.extensions - (len(trials) - end)]
        return Round(settings, episodes) if settings else None

    def last(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """Return the trials that are compared in the end: those of the last rung, and those beyond an edge."""
        return trials[sum(count for count, _ in self.planned[:-1]) :]

    @property
    def budget(self) -> int:
        """Number of trials of all rungs together; only settings beyond an edge may follow."""
        return sum(count for count, _ in self.planned)

    def weight(self, episodes: int) -> float:
        """Return the work of a trial on E episodes, in a unit in which all planned trials take ``len(first)``."""
        return len(self.first) * episodes / sum(count * each for count, each in self.planned)

    def edges(self, trials: Sequence[Trial]) -> list[tuple[str, int]]:
        """Return the keys whose best value lies at an end of the values tried, each with the side of that end."""
        best, tried = best_of(self.last(trials)), [trial.setting for trial in trials]
        setting = best.setting if best else {}
        sides = ((key, self.space.side(key, setting, tried)) for key in setting)
        return [(key, side) for key, side in sides if side]

    @property
    def planned(self) -> Sequence[tuple[int, int]]:
        """Numbers of settings and of episodes of each round, except those beyond an edge."""
        (_, episodes), *rungs = self.rungs or [(0, self.episodes)]
        count = len(self.first) + self.changed
        return [(count, episodes), *((min(count, each), episodes) for each, episodes in rungs)]

    def _otherwise(self, trials: Sequence[Trial]) -> list[Entries]:
        """Return the best settings, each with every other value of one of its choices in turn."""
        found = [
            {**trial.setting, key: value}
            for trial in _ranked(trials)
            for key, values in self.space.lists.items()
            for value in values
            if value != trial.setting[key]
        ]
        return found[: self.changed]

    def _onward(self, trials: Sequence[Trial]) -> list[Entries]:
        last = self.last(trials)
        if not (best := best_of(last)):
            return []
        nexts = [(key, self.space.beyond(key, best.setting[key], side)) for key, side in self.edges(trials)]
        found = [{**best.setting, key: value} for key, value in nexts if value is not None]
        return [setting for setting in found if all(trial.setting != setting for trial in last)]


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.loss if math.isfinite(trial.loss) else math.inf)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the first trial with the lowest loss; None if no loss is finite."""
    finite = [trial for trial in trials if math.isfinite(trial.loss)]
    return min(finite, key=lambda trial: trial.loss) if finite else None
