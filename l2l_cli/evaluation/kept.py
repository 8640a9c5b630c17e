"""Scores and trials in the store: what determines them, and how they are stored."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.evaluation.score import Scores
from l2l_cli.results.store import SCORES, TRIALS, Column, Kept, Names, Store

EPISODES = "extra_evaluations"
"""Metric that an episode has once, not at every step; the step of its rows is 0."""


class Cost:
    """The cost of an entry, which is known only at the end of ``measured``."""

    def __init__(self) -> None:
        self.cpu_seconds = self.began = 0.0

    def facts(self, share: float = 1.0) -> Entries:
        """Return the cost, or a share of it, as the entry records it."""
        return {"cpu_seconds": self.cpu_seconds * share, "began": self.began}


@contextmanager
def measured(activity: str) -> Iterator[Cost]:
    """Count the CPU time spent within the context towards an activity, and as the cost of an entry."""
    cost, mark = Cost(), LEDGER.mark()
    with LEDGER.of(activity):
        yield cost
    spent = LEDGER.since(mark)
    cost.cpu_seconds, cost.began = spent.seconds[activity], spent.began[activity]


def reused(activity: str, found: Kept) -> Kept:
    """Count an entry that was found in the store as reused, with the cost of computing it."""
    LEDGER.reuse(activity, found.facts["cpu_seconds"], found.facts["began"])
    return found


class Trials(NamedTuple):
    """The trials of one learner on one problem, as they are stored.

    Attributes:
        store: Store that keeps them.
        key: All that determines a trial, except its setting.
        labels: Columns that all of them share.
        activity: Activity that their cost counts towards.
    """

    store: Store
    key: Entries
    labels: Mapping[str, Column]
    activity: str = "tuning"

    def on(self, episodes: int) -> Trials:
        """Return the same for trials on this number of episodes."""
        counted = {"episodes": episodes}
        return self._replace(key={**self.key, **counted}, labels={**self.labels, **counted})

    def peek(self, setting: Node) -> Kept | None:
        """Return the facts of the trial of a setting, given by configuration key; None if it has not been made."""
        return self.store.read(TRIALS, self.key | {"setting": dict(setting)})

    def find(self, setting: Node) -> Kept | None:
        """Return the same as ``peek``, and count its cost as reused."""
        found = self.peek(setting)
        return found and reused(self.activity, found)

    def keep(self, setting: Node, loss: float, facts: Node, updates: int = 0) -> None:
        """Keep the trial of a setting: its loss, NaN if there is none, its cost, and further facts.

        Args:
            setting: Setting by configuration key.
            loss: Loss by which trials are compared.
            facts: Facts that ``find`` returns: the loss, the cost, and more.
            updates: Number of meta-updates that were made.
        """
        columns = {
            **self.labels,
            "setting": json.dumps(setting),
            "loss": loss,
            "updates": updates,
            "cpu_seconds": float(facts["cpu_seconds"]),
        }
        self.store.keep(TRIALS, self.key | {"setting": dict(setting)}, columns, facts)


def labels_of(contender: str, learner: Node, problem: str, task: Node, phase: str, seed: int) -> dict[str, Column]:
    """Return the columns that scores and trials begin with; nodes are given as JSON."""
    return {
        "contender": contender,
        "problem": problem,
        "phase": phase,
        "seed": seed,
        "learner": json.dumps(learner, sort_keys=True, default=str),
        "task": json.dumps(task, sort_keys=True, default=str),
    }


def keep_scores(store: Store, key: Node, labels: Mapping[str, Column], scores: Scores, cost: Cost) -> None:
    """Keep scores: a row for each metric, step and episode."""
    tensors = scores.tensors()
    names = ["loss" if name == "losses" else name.removeprefix("metrics.") for name in tensors]
    steps, episodes = scores.losses.shape
    counts = [value.numel() for value in tensors.values()]
    by_step = np.repeat(np.arange(1, steps + 1, dtype=np.int32), episodes)
    by_episode = np.arange(episodes, dtype=np.int32)
    columns: dict[str, Column] = {
        **labels,
        "metric": Names(names, np.repeat(np.arange(len(names), dtype=np.int32), counts)),
        "step": np.concatenate([np.zeros(episodes, np.int32) if name == EPISODES else by_step for name in tensors]),
        "episode": np.concatenate([by_episode if name == EPISODES else np.tile(by_episode, steps) for name in tensors]),
        # float64 holds every value of the types that scores have, so that nothing is rounded.
        "value": np.concatenate([value.double().flatten().numpy() for value in tensors.values()]),
    }
    parts = [[name, [*value.shape], str(value.dtype).removeprefix("torch.")] for name, value in tensors.items()]
    store.keep(SCORES, key, columns, {"parts": parts, **cost.facts()})


def find_scores(store: Store, key: Node) -> Scores | None:
    """Return the scores of a key as they were kept, bit for bit; None if there are none."""
    found = store.read(SCORES, key, values=True)
    if found is None:
        return None
    tensors: dict[str, Tensor] = {}
    values = torch.from_numpy(reused("scoring", found).values.copy())
    for name, shape, dtype in found.facts["parts"]:
        part, values = values[: math.prod(shape)], values[math.prod(shape) :]
        tensors[name] = part.view(shape).to(getattr(torch, dtype))
    return Scores.of(tensors)
