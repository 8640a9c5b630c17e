"""From scores to tidy rows: per-step statistics over episodes, and one summary an episode."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from l2l_cli.evaluation.score import Scores
from l2l_cli.results.frame import Metric

POINTS = 400
"""Steps of a curve that are written; a longer one is thinned, evenly in log(step)."""


def rows_of(scores: Scores, contender: str, seed: int, split: str) -> Iterator[Metric]:
    """Yield mean, median and quartiles at each step, and each episode's mean and final loss.

    A learner that looks at a batch more than once a step also has an episode's extra looks.  Where targets are hidden,
    an episode also has its means over the hidden steps, of the loss as "held_out", of a metric as "held_out_<metric>".

    Steps count from 1: step t is the answer that is given before the t-th batch is learned from.
    """
    for metric, values in {"loss": scores.losses, **scores.metrics}.items():
        yield from _curve(values, contender, seed, split, metric)
    steps, episodes = scores.losses.shape
    named = {"held_out": scores.losses} | {f"held_out_{name}": values for name, values in scores.metrics.items()}
    for metric, values in named.items() if scores.hides else ():
        for episode, value in enumerate(scores.over_hidden(values).tolist()):
            yield Metric(contender, seed, str(episode), steps, split, metric, value)
    for episode in range(episodes):
        column = scores.losses[:, episode]
        yield Metric(contender, seed, str(episode), steps, split, "mean_loss", column.mean().item())
        yield Metric(contender, seed, str(episode), steps, split, "final_loss", column[-1].item())
        if scores.looks is not None:
            yield Metric(contender, seed, str(episode), steps, split, "extra_looks", scores.looks[episode].item())


def _curve(values: Tensor, contender: str, seed: int, split: str, metric: str) -> Iterator[Metric]:
    data = values.double().cpu().numpy()
    statistics = {"mean": data.mean(1), "median": np.median(data, 1)}
    statistics |= {name: np.quantile(data, share, 1) for name, share in (("q25", 0.25), ("q75", 0.75))}
    for step in shown_steps(len(data)):
        for name, curve in statistics.items():
            yield Metric(contender, seed, name, step, split, metric, float(curve[step - 1]))


def shown_steps(steps: int) -> list[int]:
    """Return at most ``POINTS`` steps from 1 to the last, all of them if they are few."""
    if steps <= POINTS:
        return list(range(1, steps + 1))
    return sorted(set(np.geomspace(1, steps, POINTS).round().astype(int).tolist()))
