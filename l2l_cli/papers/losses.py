"""Losses of contenders that met the same test problems: read back, ordered, and compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from l2l_cli.results.frame import paired_bootstrap


@dataclass(frozen=True)
class Losses:
    """Every contender's losses on every problem, read back.

    Attributes:
        at: Arrays (seeds, episodes) by contender, problem and number of updates; what is not finite is infinite.
        contenders: Those that were run, in the order of the experiment.
        learned: Those among them that were meta-trained.
        problems: In the order of the experiment.
    """

    at: Mapping[tuple[str, str, int], np.ndarray[Any, Any]]
    contenders: list[str]
    learned: list[str]
    problems: list[str]

    def marks(self, problem: str) -> list[int]:
        """Return the numbers of updates at which somebody's losses on a problem are known."""
        return sorted({updates for _, name, updates in self.at if name == problem})

    def has(self, contender: str, problem: str, updates: int) -> bool:
        """Say whether a contender was scored there."""
        return (contender, problem, updates) in self.at

    def seeds(self, contender: str, problem: str, updates: int) -> list[float]:
        """Return the mean over episodes of each seed."""
        values = self.at.get((contender, problem, updates))
        return [] if values is None else [float(value) for value in values.mean(1)]

    def mean(self, contender: str, problem: str, updates: int) -> float:
        """Return the mean over seeds and episodes."""
        return float(self.at[contender, problem, updates].mean())

    def episodes(self, contender: str, problem: str, updates: int) -> np.ndarray[Any, Any]:
        """Return each episode's loss, the mean over seeds: (episodes,)."""
        values: np.ndarray[Any, Any] = self.at[contender, problem, updates].mean(0)
        return values

    def best(self, contenders: list[str], problem: str, updates: int) -> str | None:
        """Return who has the lowest mean among those that were scored there."""
        scored = [name for name in contenders if self.has(name, problem, updates)]
        return min(scored, key=lambda name: self.mean(name, problem, updates), default=None)


def losses_of(rows: Mapping[str, pd.DataFrame], updates_at: Callable[[int], int]) -> Losses:
    """Read the losses of all contenders that were run.

    Args:
        rows: Measurements by contender.
        updates_at: From a measurement's step to the number of updates by which it is called.
    """
    run = {row: frame for row, frame in rows.items() if len(frame)}
    at: dict[tuple[str, str, int], np.ndarray[Any, Any]] = {}
    problems: dict[str, None] = {}
    for row, frame in run.items():
        part = frame[(frame.metric == "loss") & frame.episode.astype(str).str.isdigit()]
        for _, group in part.groupby(["split", "step"], sort=False):
            problem, step = str(group.split.iloc[0]), int(group.step.iloc[0])
            problems.setdefault(problem)
            table = group.assign(episode=group.episode.astype(int)).pivot_table(
                index="seed", columns="episode", values="value", dropna=False
            )
            values = table.to_numpy(float)
            at[row, problem, updates_at(step)] = np.where(np.isfinite(values), values, np.inf)
    learned = [row for row, frame in run.items() if (frame[frame.metric == "meta_parameters"].value > 0).any()]
    return Losses(at, list(run), learned, list(problems))


def curves_of(
    rows: Mapping[str, pd.DataFrame], problem: str, updates_at: Callable[[int], int], statistic: str = "mean"
) -> pd.DataFrame:
    """Return the loss on a problem of all contenders that were run: columns updates, value, contender and seed."""
    parts = [
        frame[(frame.metric == "loss") & (frame.split == problem) & (frame.episode == statistic)]
        for frame in rows.values()
        if len(frame)
    ]
    columns = ["contender", "seed", "updates", "value"]
    if not parts:
        return pd.DataFrame(columns=columns)
    found = pd.concat(parts)
    return found.assign(updates=found.step.map(updates_at))[columns]


def winners(
    losses: Losses, problem: str, marks: Sequence[int] | None = None, without: Sequence[str] = ()
) -> pd.DataFrame:
    """Return who has the lowest mean loss after so many updates, and by how much it leads the runner-up.

    The lead is the difference of means, its 95 % interval bootstrapped over pairs: both met the same test problems.

    Args:
        losses: Of all contenders.
        problem: On which.
        marks: Numbers of updates; None is all.
        without: Contenders that do not compete.
    """
    table = []
    for updates in losses.marks(problem) if marks is None else marks:
        scored = [name for name in losses.contenders if name not in without and losses.has(name, problem, updates)]
        order = sorted(scored, key=lambda name: losses.mean(name, problem, updates))
        if len(order) > 1:
            first, second = order[:2]
            table.append(
                {
                    "updates": updates,
                    "winner": first,
                    "loss": losses.mean(first, problem, updates),
                    "runner-up": second,
                    "its loss": losses.mean(second, problem, updates),
                    "winner − runner-up, 95 % interval": lead(losses, first, second, problem, updates),
                }
            )
    return pd.DataFrame(table)


def lead(losses: Losses, first: str, second: str, problem: str, updates: int) -> str:
    """Return the difference of two means with its paired interval, as text."""
    a, b = (losses.episodes(name, problem, updates) for name in (first, second))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return "a loss is not finite"
    found = paired_bootstrap(a.tolist(), b.tolist())
    return f"{found.value:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"
