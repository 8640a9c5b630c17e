"""Comparison of a meta-trained learner with an untuned one, on validation episodes that neither has met."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

from l2l_cli.config.build import build
from l2l_cli.config.groups import config_root
from l2l_cli.config.schema import Settings
from l2l_cli.config.user_yaml import read_yaml
from l2l_cli.core.errors import L2LError
from l2l_cli.core.nodes import Entries
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.printable import counted
from l2l_cli.core.random import derive
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import Scores, criterion_for, score_together
from l2l_cli.learners.base import Learner
from l2l_cli.learners.bayes.posterior import posterior_of
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.training import Training
from l2l_cli.runs.building import build_learner
from l2l_cli.tasks.base import Task

HAND_MADE, LIMIT = "adam", "bayes"
"""Files of conf/learner: the hand-made rule at its preset learning rate, and the best possible learner."""

SHARE = 0.05
"""Share of the training's seconds that the comparison is expected to take; the estimate errs by less than twice."""

SHORTEST = 2.0
"""Seconds of training below which even the start of a comparison would take more than a tenth of it."""

PILOT = 8
"""Episodes of the trial that estimates the time, and fewest that are compared; the trial has 1 in 20 steps."""


class Beside(NamedTuple):
    """A learner's loss compared with another's on the same episodes, or why there is no comparison.

    Attributes:
        learner: Name of the other learner's file.
        setting: Setting of the other learner.
        criterion: Loss that is compared.
        ours: Mean of the learner's loss over the episodes.
        theirs: Mean of the other learner's loss over them.
        ratio: ``ours`` over ``theirs``; 0 if nothing was compared.
        lower: Number of episodes on which the learner's loss is the lower one.
        episodes: Number of episodes.
        seconds: Seconds that the comparison took.
        skipped: Reason why nothing was compared; empty if something was.
    """

    learner: str
    setting: str
    criterion: str
    ours: float = 0.0
    theirs: float = 0.0
    ratio: float = 0.0
    lower: int = 0
    episodes: int = 0
    seconds: float = 0.0
    skipped: str = ""

    def __str__(self) -> str:
        """Return a sentence."""
        other = f"{self.learner}{f' at {self.setting}' if self.setting else ''}, untuned"
        other = f"{self.learner}, the limit" if self.learner == LIMIT else other
        if self.skipped:
            return f"not compared with {other}: {self.skipped}"
        return (
            f"{self.criterion} loss {self.ours:.4g} on {_episodes(self.episodes)}, "
            f"{self.ratio:.3g} times that of {other} ({self.theirs:.4g}), lower on {self.lower} of them"
        )


def _episodes(count: int) -> str:
    return f"{counted(count, 'fresh validation episode')}"


def beside_untuned(settings: Settings, training: Training, seconds: float) -> Beside:
    """Score a finished training's learner and an untuned one on fresh episodes of phase meta_valid.

    Learners that fit the task's network are compared with Adam at its preset learning rate; others with the Bayes
    learner of the task's prior, if one is known, and otherwise with Adam on the task's network.

    Args:
        settings: Whole configuration.
        training: Training, whose learner has the selected weights.
        seconds: Seconds that the training took; a tenth of them bounds the time of the comparison.
    """
    learner = training.learner
    name, node = _other(learner)
    setting = f"lr={node['rule']['lr']:g}" if "rule" in node else ""
    blank = Beside(name, setting, criterion_for(learner.task, training.plan.criterion))
    if seconds < SHORTEST:
        return blank._replace(skipped=f"a training of {seconds:.1f} s leaves no time for it")
    try:
        return _compared(blank, settings, training, node, seconds)
    except (L2LError, RuntimeError, ValueError, TypeError) as error:  # a user's task may not allow such a learner
        return blank._replace(skipped=in_one_line(str(error)))


def _compared(blank: Beside, settings: Settings, training: Training, node: Entries, seconds: float) -> Beside:
    """Return the comparison on as many episodes as time allows; see ``beside_untuned``."""
    began, learner, plan = time.monotonic(), training.learner, training.plan
    both = [learner, build_learner(settings, learner.task, build, node)]
    steps, few = plan.validation_steps or learner.task.horizon, min(PILOT, plan.validation_episodes)

    def scores(episodes: int, length: int) -> list[Scores]:
        return score_together(both, episodes, length, derive(training.seed, "beside"), Phase.META_VALID)

    scores(few, 1)  # compilation and recording at the first step must not count
    part, since = max(1, steps // 20), time.monotonic()
    scores(few, part)
    # Episodes side by side take no longer than one after another.
    an_episode = (time.monotonic() - since) * steps / part / few
    left = SHARE * seconds - (time.monotonic() - began)
    episodes = min(plan.validation_episodes, int(left / an_episode))
    if episodes < few:
        return blank._replace(skipped=f"{_episodes(few)} may take more than a tenth of the training's {seconds:.0f} s")
    ours, theirs = (one.each(blank.criterion).double() for one in scores(episodes, steps))
    means = ours.mean().item(), theirs.mean().item()
    if not (math.isfinite(means[0]) and 0 < means[1] < math.inf):
        return blank._replace(skipped=f"the {blank.criterion} losses are {means[0]:.4g} and {means[1]:.4g}")
    return blank._replace(
        ours=means[0],
        theirs=means[1],
        ratio=means[0] / means[1],
        lower=int((ours < theirs).sum()),
        episodes=episodes,
        seconds=round(time.monotonic() - began, 3),
    )


def _other(learner: Learner[Any]) -> tuple[str, Entries]:
    """Return the name and the node of the learner to compare with."""
    name = LIMIT if not isinstance(learner, Descent) and _has_limit(learner.task) else HAND_MADE
    return name, read_yaml(config_root() / "learner" / f"{name}.yaml")[0]


def _has_limit(task: Task) -> bool:
    return posterior_of.dispatch(type(task)) is not posterior_of.dispatch(object)
