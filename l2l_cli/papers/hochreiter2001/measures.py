"""What is measured of a run, and numbers out of the measurements: MSEt, error curves, when an error has settled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.base import Learner, step_losses
from l2l_cli.results.frame import Metric
from l2l_cli.runs.loading import Trained


def error_rows(name: str, learner: Learner[Any], trained: Trained) -> list[Metric]:
    """Measure MSEt on training and test sequences, and the error at each step of the latter."""
    task, seed = trained.task, trained.settings.seed
    episodes, steps = trained.settings.evaluation.episodes, task.horizon
    test = score(learner, episodes, steps, seed, Phase.TEST).losses
    fixed = _on_the_training_set(learner, steps)
    train = fixed if fixed is not None else score(learner, episodes, steps, seed, Phase.META_TRAIN).losses
    rows = [
        Metric(name, seed, "mean", 0, split, "mse", losses.mean().item())
        for split, losses in (("train", train), ("test", test))
    ]
    curve = enumerate(test.mean(1).tolist(), start=1)
    return rows + [Metric(name, seed, "mean", step, "test", "error", value) for step, value in curve]


@torch.no_grad()
def _on_the_training_set(learner: Learner[Any], steps: int) -> Tensor | None:
    """Return the losses (T, E) on the task's fixed sequences, if it has some."""
    episode = learner.task.training_set()
    if episode is None:
        return None
    batches = episode.batches(0, steps)
    _, outputs = learner.unroll(learner.init(batches.inputs.shape[1], generator(0)), batches)
    return step_losses(learner.task, outputs, batches.targets)


def values_of(frame: pd.DataFrame, contender: str, split: str, metric: str = "mse") -> list[float]:
    """Return one number of each seed, such as MSEt."""
    if not len(frame):
        return []
    part = frame[(frame.contender == contender) & (frame.split == split) & (frame.metric == metric)]
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
    above = np.flatnonzero(~(curve <= threshold))
    first = int(above[-1]) + 1 if len(above) else 0
    if first == len(curve):
        return float(first + 1), float(curve[-1])
    return float(first + 1), float(curve[first:].max())


def cost_of(frame: pd.DataFrame, metric: str) -> float:
    """Return what a row's runs cost: the mean over seeds of "seconds", "updates" or "meta_parameters"."""
    part = frame[(frame.contender == "run") & (frame.metric == metric)]
    return float(part.value.mean())
