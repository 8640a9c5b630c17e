"""Tuning of hand-made learners on the tune phase only: grid or random search, halved or not, then beyond an edge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.printable import counted
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.kept import Trials, measured
from l2l_cli.evaluation.law import Law, Trial, best_of
from l2l_cli.evaluation.score import Tell, score_together
from l2l_cli.learners.base import Learner

SIDE_BY_SIDE = 8
"""Number of settings that are tried side by side, which bounds the memory."""


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
    """All trials in order, the best of them, and the keys whose best value lies at the edge of the values tried.

    ``beyond`` is the number of trials beyond an edge; ``rungs`` are the numbers of settings of all rungs but the first,
    if the settings were halved.
    """

    trials: list[Trial]
    best: Trial
    at_edge: list[str]
    beyond: int = 0
    rungs: Sequence[int] = ()

    @property
    def chosen(self) -> str:
        """The setting that was chosen, and out of how many, as in "best of 8: rule.lr=0.1"."""
        first = len(self.trials) - self.beyond - sum(self.rungs)
        halved = f", halved to {' and '.join(map(str, self.rungs))}" if self.rungs else ""
        onward = f" and {self.beyond} beyond them" if self.beyond else ""
        return f"best of {first}{halved}{onward}: {shown(self.best.setting)}"

    @property
    def warning(self) -> str:
        """Sentence on best values at an edge, and how far the search went beyond it; empty if there are none."""
        on = f", also after {counted(self.beyond, 'setting')} beyond the grid (tune.extensions)" if self.beyond else ""
        return f"the best {', '.join(self.at_edge)} lies at the edge of the values tried{on}" if self.at_edge else ""


class Tuned(NamedTuple):
    """A learner with its setting, ready to be scored.

    Attributes:
        learner: The learner.
        tuning: Trials that chose the setting; None where there was nothing to choose from.
        setting: Setting by configuration key, chosen or given; empty if the learner is as configured.
    """

    learner: Learner[Any]
    tuning: Tuning | None = None
    setting: Node = MappingProxyType({})

    @property
    def chosen(self) -> str:
        """The setting that was chosen, and out of how many, for tables."""
        if self.tuning:
            return self.tuning.chosen
        return f"{shown(self.setting)}, the one setting tried" if self.setting else "nothing to tune"


def tune(
    make: Callable[[Entries], Learner[Any]],
    law: Law,
    judge: Judge,
    tell: Tell = lambda share, note: None,
    kept: Trials | None = None,
) -> Tuning:
    """Score settings on the same tune episodes and pick the best.

    Args:
        make: Function that builds the learner of a setting.
        law: Rule by which settings are tried.
        judge: Episodes and criterion by which settings are compared; the number of episodes is the law's.
        tell: Function that is called as trials are made; the shares of all but those beyond an edge add up to the
            number of the law's first settings.
        kept: Stored trials, which are not made again; None makes all trials and stores none.

    Raises:
        RunFailed: No setting gives a finite loss.
    """
    trials: list[Trial] = []
    while (todo := law.following(trials)) is not None:
        legal = len(trials) < law.budget
        weight = law.weight(todo.episodes) if legal else 0.0
        work = _Trying(make, judge._replace(episodes=todo.episodes), tell, weight, kept and kept.on(todo.episodes))
        trials += work.done(todo.settings, legal)
    best = best_of(law.last(trials))
    if best is None:
        tried = [trial.setting for trial in trials]
        raise RunFailed(
            f"no setting gives a finite loss on the tune episodes; try others (tune.grid or tune.ranges): {tried}"
        )
    edges = [key for key, _ in law.edges(trials)]
    return Tuning(trials, best, edges, len(trials) - law.budget, [count for count, _ in law.rungs[1:]])


def recalled(law: Law, kept: Trials) -> tuple[int, Node]:
    """Return how many settings are still to be tried in the next round and, if none, what ``tune`` would choose."""
    trials: list[Trial] = []
    while (todo := law.following(trials)) is not None:
        found = [kept.on(todo.episodes).peek(setting) for setting in todo.settings]
        if missing := found.count(None):
            return missing, {}
        trials += [Trial(setting, one.facts["loss"]) for setting, one in zip(todo.settings, found, strict=True) if one]
    best = best_of(law.last(trials))
    return 0, best.setting if best else {}


class _Trying(NamedTuple):
    """Makes the trials of one round, each of which counts as ``weight``; see ``tune``."""

    make: Callable[[Entries], Learner[Any]]
    judge: Judge
    tell: Tell
    weight: float
    kept: Trials | None

    def done(self, settings: Sequence[Entries], legal: bool) -> list[Trial]:
        """Make or find the trials of some settings.

        Settings beyond an edge need not be ``legal``: one that the learner refuses then has an infinite loss.
        """
        losses = self._found(settings)
        if losses:
            self.tell(self.weight * len(losses), f"{len(losses)} of {counted(len(settings), 'setting')} known")
        for index, setting in enumerate(settings if not legal else ()):
            if index not in losses and not self._accepted(setting):
                losses[index] = math.inf
                self._keep([setting], [math.inf], {"cpu_seconds": 0.0, "began": 0.0})
        left = [index for index in range(len(settings)) if index not in losses]
        for start in range(0, len(left), SIDE_BY_SIDE):
            some = left[start : start + SIDE_BY_SIDE]
            losses |= zip(some, self._tried([settings[index] for index in some]), strict=True)
        return [Trial(setting, losses[index]) for index, setting in enumerate(settings)]

    def _found(self, settings: Sequence[Entries]) -> dict[int, float]:
        """Return the losses of the settings that were tried before, by the index of the setting."""
        found = {index: self.kept.find(setting) for index, setting in enumerate(settings)} if self.kept else {}
        return {index: one.facts["loss"] for index, one in found.items() if one is not None}

    def _accepted(self, setting: Entries) -> bool:
        try:
            self.make(setting)
        except (UsageError, ValueError):
            return False
        return True

    def _tried(self, settings: Sequence[Entries]) -> list[float]:
        """Return the losses of some settings, scored side by side so that each batch is drawn once for all of them."""

        def heard(share: float, note: str) -> None:
            self.tell(self.weight * share * len(settings), f"{counted(len(settings), 'setting')} side by side, {note}")

        judge = self.judge
        with measured("tuning") as cost:
            learners = [self.make(setting) for setting in settings]
            scores = score_together(learners, judge.episodes, judge.steps, judge.seed, Phase.TUNE, tell=heard)
            losses = [one.by(judge.criterion) for one in scores]
        self._keep(settings, losses, cost.facts(1 / len(settings)))
        return losses

    def _keep(self, settings: Sequence[Entries], losses: Sequence[float], cost: Node) -> None:
        if self.kept:
            for setting, loss in zip(settings, losses, strict=True):
                self.kept.keep(setting, loss, {"loss": loss, **cost})


def shown(setting: Node) -> str:
    """Return a setting of a learner for tables, as in "rule.lr=0.1"."""
    return ", ".join(f"{key.removeprefix('learner.')}={_short(value)}" for key, value in setting.items())


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
