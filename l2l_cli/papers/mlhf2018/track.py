"""One contender followed through its test episodes: training loss, seconds, held-out pictures, and looks inside.

Deviation: seconds are those of the steps alone, drawing the pictures left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Params, Phase, Split
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.papers.mlhf2018.looks import look
from l2l_cli.results.frame import Metric
from l2l_cli.tasks.base import Episode

POINTS, MARKS, LOOKS = 50, 10, 30
"""Points of a curve, at most; of them, how many are kept for every episode; and how often is looked inside."""

HELD = 4
"""Minibatches of held-out pictures, the same for all."""

HELD_MARKS = 5
"""How often they are answered."""


@dataclass
class Track:
    """What was seen; T steps of E episodes.

    Attributes:
        losses: On each minibatch before it was learned from, (T, E).
        seconds: Up to the end of each step, of one episode, (T,).
        longest: The longest step so far as a share of ‖θ‖, (T,).
        held: Cross-entropy and accuracy on held-out pictures, (E,) each, by number of updates.
        looks: Numbers by number of updates; see ``look``.
    """

    losses: Tensor
    seconds: list[float]
    longest: list[float]
    held: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    looks: dict[int, dict[str, float]] = field(default_factory=dict)


@torch.no_grad()
def follow(learner: Learner[Any], episodes: int, steps: int, seed: int, converge: bool = False) -> Track:
    """Run a learner through test episodes, the same for every contender.

    Args:
        learner: On the task that it is measured on.
        episodes: Number E.
        steps: Number T.
        seed: Of the episodes.
        converge: See ``look``.
    """
    task, marks = learner.task, set(ends(steps, HELD_MARKS))
    episode = task.sample(episodes, seed, Phase.TEST)
    state = learner.init(episodes, generator(seed, "learner", Phase.TEST))
    track, losses, seconds = Track(torch.empty(0), [], []), [], 0.0
    rule = learner.rule if isinstance(learner, Descent) else None
    for step in range(steps):
        batch = episode.batch(step)
        if isinstance(learner, Descent) and isinstance(rule, MLHF) and step in looked_at(steps):
            track.looks[step] = look(learner, rule, state, batch, converge)
        began = _now()
        after, answer = learner.step(state, batch)
        seconds += (_now() - began) / episodes
        losses.append(task.loss(answer, batch.targets))
        track.seconds.append(seconds)
        if isinstance(learner, Descent):
            moved = _moved(state.params, after.params)
            track.longest.append(max([moved, *track.longest[-1:]]))
        state = after
        if step + 1 in marks:
            track.held[step + 1] = _held_out(learner, state, episode)
    track.losses = torch.stack(losses)
    return track


def _now() -> float:
    """Return seconds of this process, or on a GPU, which works on its own, those on the wall when it is done."""
    if torch.get_default_device().type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _moved(before: Params, after: Params) -> float:
    """Return the largest ‖θ_{t+1} − θ_t‖ / ‖θ_t‖ of an episode; infinite where it is not finite."""
    square = [(after[name] - value).square().flatten(1).sum(1) for name, value in before.items()]
    size = [value.square().flatten(1).sum(1) for value in before.values()]
    share = (torch.stack(square).sum(0) / torch.stack(size).sum(0)).sqrt()
    return float(share.nan_to_num(nan=torch.inf).max())


def _held_out(learner: Learner[Any], state: Any, episode: Episode) -> dict[str, Tensor]:
    """Return each episode's mean scores on held-out pictures."""
    task, found = learner.task, []
    for number in range(HELD):
        batch = episode.batch(number, Split.TEST)
        answer = learner.predict(state, batch.inputs)
        found.append({"loss": task.loss(answer, batch.targets), **task.metrics(answer, batch.targets)})
    return {f"held_out_{name}": torch.stack([part[name] for part in found]).mean(0) for name in found[0]}


def ends(steps: int, count: int) -> list[int]:
    """Return where windows of equal length end, the last one at the last step; only the first may be longer.

    With ten windows the last is the tenth of the steps that tuning minimises (``Scores.end``).
    """
    width = max(1, steps // count)
    return sorted(steps - index * width for index in range(count) if steps - index * width > 0)


def looked_at(steps: int) -> set[int]:
    """Return the steps, counted from 0, that are looked into, evenly spaced."""
    count = min(LOOKS, steps)
    return {index * steps // count for index in range(count)}


def track_rows(name: str, seed: int, problem: str, track: Track) -> Iterator[Metric]:
    """Yield means over windows of steps, by episode at ten of them; held-out scores and looks where they were taken."""
    steps, losses, begin = len(track.losses), track.losses.double().cpu(), 0
    for end in ends(steps, steps // -(-steps // POINTS)):
        yield Metric(name, seed, "mean", end, problem, "loss", losses[begin:end].mean().item())
        yield Metric(name, seed, "mean", end, problem, "seconds", track.seconds[end - 1])
        if track.longest:
            yield Metric(name, seed, "mean", end, problem, "longest", track.longest[end - 1])
        begin = end
    begin = 0
    for end in ends(steps, MARKS):
        for episode, value in enumerate(losses[begin:end].mean(0).tolist()):
            yield Metric(name, seed, str(episode), end, problem, "loss", value)
        begin = end
    yield Metric(name, seed, "all", steps, problem, "not finite", float((~losses.isfinite()).sum()))
    for updates, scores in track.held.items():
        for metric, values in scores.items():
            yield Metric(name, seed, "mean", updates, problem, metric, values.mean().item())
    for updates, numbers in track.looks.items():
        for metric, number in numbers.items():
            yield Metric(name, seed, "mean", updates, problem, metric, number)
