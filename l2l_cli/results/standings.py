"""Who is ahead where: the losses of contenders that met the same episodes, compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2l_cli.results.statistics import Array, Difference, Statistic, bootstrap_interval, paired_bootstrap, paired_p


@dataclass(frozen=True)
class Standings:
    """Every contender's losses on every problem.

    Attributes:
        losses: Arrays (seeds, episodes) by contender, problem and mark, which is the number of updates made or of
            steps scored; what is not finite counts as infinite.
        contenders: Contenders that were run, in their order.
        problems: Problems, in their order.
    """

    losses: Mapping[tuple[str, str, int], Array]
    contenders: list[str]
    problems: list[str]

    def marks(self, problem: str) -> list[int]:
        """Return the marks at which anybody's losses on a problem are known."""
        return sorted({mark for _, name, mark in self.losses if name == problem})

    def last(self, problem: str) -> int:
        """Return the last mark of a problem; 0 if nobody was scored there."""
        return max(self.marks(problem), default=0)

    def has(self, contender: str, problem: str, mark: int) -> bool:
        """Say whether a contender was scored there."""
        return (contender, problem, mark) in self.losses

    def scored(self, contenders: Collection[str], problem: str, mark: int) -> list[str]:
        """Return those of some contenders that were scored there, in the order of ``contenders``."""
        return [name for name in contenders if self.has(name, problem, mark)]

    def seeds(self, contender: str, problem: str, mark: int) -> list[float]:
        """Return the mean over episodes of each seed; nothing if the contender was not scored there."""
        values = self.losses.get((contender, problem, mark))
        return [] if values is None else [float(value) for value in values.mean(1)]

    def spreads(self, contender: str, problem: str, mark: int) -> list[float]:
        """Return the standard deviation over episodes of each seed; nothing if it was not scored there."""
        values = self.losses.get((contender, problem, mark))
        return [] if values is None else [float(value) for value in values.std(1)]

    def mean(self, contender: str, problem: str, mark: int) -> float:
        """Return the mean over seeds and episodes."""
        return float(self.losses[contender, problem, mark].mean())

    def episodes(self, contender: str, problem: str, mark: int) -> Array:
        """Return each episode's loss, the mean over seeds, (episodes,)."""
        values: Array = self.losses[contender, problem, mark].mean(0)
        return values

    def best(self, contenders: Collection[str], problem: str, mark: int) -> str | None:
        """Return who has the lowest mean among those that were scored there; None if nobody was."""
        scored = self.scored(contenders, problem, mark)
        return min(scored, key=lambda name: self.mean(name, problem, mark), default=None)

    def ends(self) -> pd.DataFrame:
        """Return each seed's mean at the last mark of every problem: columns contender, problem, seed and value."""
        pairs = [(name, problem) for name in self.contenders for problem in self.problems]
        lines = [(*pair, *one) for pair in pairs for one in enumerate(self.seeds(*pair, self.last(pair[1])))]
        return pd.DataFrame(lines, columns=["contender", "problem", "seed", "value"])

    def lead(self, first: str, second: str, problem: str, mark: int) -> str:
        """Return the first's mean less the second's, with its paired interval, as text."""
        a, b = (self.episodes(name, problem, mark) for name in (first, second))
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return "a loss is not finite"
        lead = paired_bootstrap(a.tolist(), b.tolist())
        return f"{lead.value:+.3g} [{lead.ends('+.3g', ', ')}]"

    def difference(self, first: str, second: str, problem: str, mark: int) -> Difference:
        """Return the first's mean less the second's, paired over episodes."""
        a, b = (self.episodes(name, problem, mark) for name in (first, second))
        interval = paired_bootstrap(a.tolist(), b.tolist())
        # The seeds' mean varies less than one of them: the p of the least favourable seed is what counts.
        p = max(paired_p(one - b) for one in self.losses[first, problem, mark])
        return Difference(interval, p, float((a < b).mean()))

    def winners(self, problem: str, contenders: Collection[str]) -> pd.DataFrame:
        """Return who of some contenders has the lowest mean loss at each mark, and its lead over the runner-up.

        The lead is a difference of means with its 95 % interval, bootstrapped over pairs of episodes.
        """
        table = []
        for mark in self.marks(problem):
            order = sorted(self.scored(contenders, problem, mark), key=lambda name: self.mean(name, problem, mark))
            if len(order) > 1:
                first, second = order[:2]
                table.append(
                    {
                        "updates": mark,
                        "winner": first,
                        "loss": self.mean(first, problem, mark),
                        "runner-up": second,
                        "its loss": self.mean(second, problem, mark),
                        "winner − runner-up, 95 % interval": self.lead(first, second, problem, mark),
                    }
                )
        return pd.DataFrame(table)

    def against(self, contenders: Collection[str], rivals: Collection[str]) -> pd.DataFrame:
        """Return the losses of some contenders at the end of every problem, beside the best rival's, and the ratio."""
        return pd.DataFrame(
            {
                "problem": problem,
                "updates": mark,
                "contender": name,
                "loss": ours,
                "best rival": best,
                "its loss": theirs,
                "ratio": ours / theirs,
                "difference, 95 % interval": self.lead(name, best, problem, mark),
            }
            for problem in self.problems
            for mark in [self.last(problem)]
            for best in [self.best(rivals, problem, mark)]
            if best is not None
            for name in self.scored(contenders, problem, mark)
            for ours, theirs in [(self.mean(name, problem, mark), self.mean(best, problem, mark))]
        )

    def spread(self, problem: str, mark: int) -> pd.DataFrame:
        """Return mean, median and tail of every contender's losses, their intervals bootstrapped over episodes."""
        table, shares = [], (0.1, 0.75, 0.9, 0.99)
        for name in self.scored(self.contenders, problem, mark):
            values = self.episodes(name, problem, mark)
            table.append(
                {
                    "contender": name,
                    "problems": len(values),
                    "mean [95 %]": _interval(values, np.mean),
                    "median [95 %]": _interval(values, np.median),
                    **{
                        # An order statistic: no mean with an infinite loss.
                        f"{share:.0%} below": float(np.quantile(values, share, method="higher"))
                        for share in shares
                    },
                    "largest": float(values.max()),
                }
            )
        return pd.DataFrame(table)


def _interval(values: Array, statistic: Statistic) -> str:
    if not np.isfinite(values).all():
        return f"{float(statistic(values)):.3g}"
    found = bootstrap_interval(values.tolist(), statistic)
    return f"{found.value:.3g} [{found.ends('.3g', ', ')}]"


def standings_of(
    frames: Mapping[str, pd.DataFrame], metric: str = "loss", mark: Callable[[int], int] = lambda step: step
) -> Standings:
    """Read the standings from measurements of single episodes.

    Args:
        frames: Measurements by contender; one that was not run has an empty frame.
        metric: Name of the loss.
        mark: Function from a measurement's step to the mark by which it is called.
    """
    losses: dict[tuple[str, str, int], Array] = {}
    problems: dict[str, None] = {}
    for name, frame in frames.items():
        rows = frame[(frame.metric == metric) & frame.episode.notna()] if len(frame) else frame
        for _, group in rows.groupby(["problem", "step"], sort=False) if len(rows) else ():
            problem, step = str(group.problem.iloc[0]), int(group.step.iloc[0])
            problems.setdefault(problem)
            table = group.pivot_table(index="seed", columns="episode", values="value", dropna=False)
            values = table.to_numpy(float)
            losses[name, problem, mark(step)] = np.where(np.isfinite(values), values, np.inf)
    run = [name for name in frames if any(contender == name for contender, _, _ in losses)]
    return Standings(losses, run, list(problems))


def curves_of(
    frames: Mapping[str, pd.DataFrame],
    problem: str,
    metric: str = "loss",
    statistic: str = "mean",
    mark: Callable[[int], int] = lambda step: step,
) -> pd.DataFrame:
    """Return one statistic of a metric along the steps: columns contender, seed, updates and value."""
    columns = ["contender", "seed", "updates", "value"]
    parts = [
        frame[(frame.metric == metric) & (frame.problem == problem) & (frame.statistic == statistic)].assign(
            contender=name
        )
        for name, frame in frames.items()
        if len(frame)
    ]
    if not parts:
        return pd.DataFrame(columns=columns)
    joined = pd.concat(parts)
    return joined.assign(updates=joined.step.map(mark))[columns]


def last_values(table: pd.DataFrame) -> dict[str, float]:
    """Return each contender's value at its last mark, the mean over seeds, from ``curves_of``."""
    last = table[table.updates == table.groupby("contender").updates.transform("max")] if len(table) else table
    return {str(name): float(part.value.mean()) for name, part in last.groupby("contender", sort=False)}
