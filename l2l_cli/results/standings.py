"""Standings: the losses of contenders that were scored on the same episodes, compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2l_cli.results.spread import Array
from l2l_cli.results.statistics import Difference, Interval, difference_of, holm, mean_of, median_of

JUDGED = (0.1, 0.5, 1.0)
"""Shares of a run at which contenders are compared, declared in advance: a tenth, half, and the end."""

SIGNIFICANT = 0.05
"""Significance level for p-values, which are corrected for the number of comparisons (Holm)."""

STANDS = "it is"
"""Column that says how a contender compares with another."""

AHEAD, BEHIND, LEVEL = "ahead", "behind", "level"
"""How a contender compares with another, by an interval or a corrected p-value; "level" if that does not decide."""

BESIDE = {AHEAD: "ahead of", BEHIND: "behind", LEVEL: "level with"}
"""The same words, to be followed by the name of the other contender."""

Marking = Callable[[int], int]
"""Function from the step of a measurement to its mark."""

TOO_FEW = "too few seeds"
"""Verdict in place of "level" where the seeds are too few for any p-value to be significant."""


@dataclass(frozen=True)
class Standings:
    """Every contender's losses on every problem.

    Attributes:
        losses: Arrays (seeds, episodes) by contender, problem and mark, which is the number of updates made or of
            steps scored; losses that are not finite are infinite.
        contenders: Contenders that were run, in their order.
        problems: Problems, in their order.
    """

    losses: Mapping[tuple[str, str, int], Array]
    contenders: list[str]
    problems: list[str]

    def marks(self, problem: str) -> list[int]:
        """Return the marks at which any contender's losses on a problem are known."""
        return sorted({mark for _, name, mark in self.losses if name == problem})

    def last(self, problem: str) -> int:
        """Return the last mark of a problem; 0 if no contender was scored on it."""
        return max(self.marks(problem), default=0)

    def has(self, contender: str, problem: str, mark: int) -> bool:
        """Return whether a contender was scored on a problem at a mark."""
        return (contender, problem, mark) in self.losses

    def scored(self, contenders: Collection[str], problem: str, mark: int) -> list[str]:
        """Return those of some contenders that were scored there, in the order of ``contenders``."""
        return [name for name in contenders if self.has(name, problem, mark)]

    def values(self, contender: str, problem: str, mark: int) -> Array:
        """Return the losses (seeds, episodes); an empty array if the contender was not scored there."""
        return self.losses.get((contender, problem, mark), np.empty((0, 0)))

    def seeds(self, contender: str, problem: str, mark: int) -> list[float]:
        """Return the mean over episodes of each seed; an empty list if the contender was not scored there."""
        values = self.losses.get((contender, problem, mark))
        return [] if values is None else [float(value) for value in values.mean(1)]

    def mean(self, contender: str, problem: str, mark: int) -> float:
        """Return the mean over seeds and episodes."""
        return float(self.losses[contender, problem, mark].mean())

    def episodes(self, contender: str, problem: str, mark: int) -> Array:
        """Return each episode's loss, the mean over seeds, (episodes,)."""
        values: Array = self.losses[contender, problem, mark].mean(0)
        return values

    def best(self, contenders: Collection[str], problem: str, mark: int) -> str | None:
        """Return the contender with the lowest mean of those that were scored there; None if none was."""
        scored = self.scored(contenders, problem, mark)
        return min(scored, key=lambda name: self.mean(name, problem, mark), default=None)

    def ends(self) -> pd.DataFrame:
        """Return each seed's mean at the last mark of every problem: columns contender, problem, seed and value."""
        pairs = [(name, problem) for name in self.contenders for problem in self.problems]
        lines = [(*pair, *one) for pair in pairs for one in enumerate(self.seeds(*pair, self.last(pair[1])))]
        return pd.DataFrame(lines, columns=["contender", "problem", "seed", "value"])

    def difference(self, first: str, second: str, problem: str, mark: int) -> Difference:
        """Return the first mean minus the second, paired over episodes, and over seeds if both have several."""
        return difference_of(*(self.losses[name, problem, mark] for name in (first, second)))

    def lead(self, first: str, second: str, problem: str, mark: int) -> str:
        """Return the first mean minus the second, with its paired interval, as text."""
        return self.difference(first, second, problem, mark).within(".3g")

    def judged_marks(
        self, problem: str, contenders: Collection[str], among: Collection[int] | None = None
    ) -> list[int]:
        """Return, of the marks that all of some contenders share, those nearest to the shares ``JUDGED`` of the run.

        ``among`` restricts the marks.
        """
        marks, last = self.marks(problem) if among is None else among, self.last(problem)
        shared = [mark for mark in marks if len(self.scored(contenders, problem, mark)) == len(contenders)]
        if not shared:
            return []
        return sorted({min(shared, key=lambda mark: abs(mark - share * last)) for share in JUDGED})

    def judged(self, pairs: Mapping[int, tuple[str, str]], problem: str) -> dict[int, tuple[Difference, str]]:
        """Compare one pair of contenders at each mark; the p-values are corrected for the number of marks."""
        found = {mark: self.difference(*pair, problem, mark) for mark, pair in pairs.items()}
        ps = holm([1.0 if np.isnan(one.p) else one.p for one in found.values()])
        judged = {}
        for (mark, one), p in zip(found.items(), ps, strict=True):
            verdict = stands(one.interval, p)
            first, second = pairs[mark]
            if verdict == LEVEL and self.are_few(first, [second], problem, mark, len(ps)):
                verdict = TOO_FEW
            judged[mark] = one._replace(p=p), verdict
        return judged

    def are_few(self, who: str, rivals: Collection[str], problem: str, mark: int, tests: int) -> bool:
        """Return whether not even the smallest p that the seeds can give, corrected for the tests, is significant.

        This is so if it holds beside any of the rivals that were scored there.
        """
        own = len(self.values(who, problem, mark))
        others = [len(self.values(rival, problem, mark)) for rival in self.scored(rivals, problem, mark)]
        paired = [max(own, other) if min(own, other) == 1 else min(own, other) for other in others]
        return any(seeds > 1 and tests * 2.0 ** (1 - seeds) >= SIGNIFICANT for seeds in paired)

    def winners(self, problem: str, contenders: Collection[str]) -> pd.DataFrame:
        """Return which of some contenders has the lowest mean loss at each judged mark, and whether it is ahead."""
        run = [name for name in contenders if self.has(name, problem, self.last(problem))]
        pairs = {}
        for mark in self.judged_marks(problem, run) if len(run) > 1 else ():
            first, second, *_ = sorted(run, key=lambda name: self.mean(name, problem, mark))
            pairs[mark] = first, second
        return pd.DataFrame(
            {
                "updates": mark,
                "lowest": first,
                "loss": self.mean(first, problem, mark),
                "runner-up": second,
                "its loss": self.mean(second, problem, mark),
                "difference [95 %]": difference.within(".3g"),
                "p, corrected": difference.p,
                "the lowest is": verdict,
            }
            for mark, (difference, verdict) in self.judged(pairs, problem).items()
            for first, second in [pairs[mark]]
        )

    def against(self, contenders: Collection[str], rivals: Collection[str]) -> pd.DataFrame:
        """Return the losses of some contenders at the end of every problem, the best rival's, and their ratio."""
        return pd.DataFrame(
            {
                "problem": problem,
                "updates": mark,
                "contender": name,
                "loss": ours,
                "best rival": best,
                "its loss": theirs,
                "ratio": ours / theirs,
                "difference [95 %]": difference.within(".3g"),
                STANDS: stands(difference.interval),
            }
            for problem in self.problems
            for mark in [self.last(problem)]
            for best in [self.best(rivals, problem, mark)]
            if best is not None
            for name in self.scored(contenders, problem, mark)
            for ours, theirs in [(self.mean(name, problem, mark), self.mean(best, problem, mark))]
            for difference in [self.difference(name, best, problem, mark)]
        )

    def spread(self, problem: str, mark: int) -> pd.DataFrame:
        """Return mean, median and tail of every contender's losses over episodes, which are means over seeds.

        The mean's interval is that of ``mean_of``; the median has an interval if there is only one seed.
        """
        table, shares = [], (0.1, 0.75, 0.9, 0.99)
        for name in self.scored(self.contenders, problem, mark):
            losses, values = self.losses[name, problem, mark], self.episodes(name, problem, mark)
            table.append(
                {
                    "contender": name,
                    "problems": len(values),
                    "mean [95 %]": mean_of(losses).within(),
                    "median [95 %]": median_of(values).within() if len(losses) == 1 else f"{np.median(values):.3g}",
                    **{
                        # An order statistic, since interpolation with an infinite loss is not defined.
                        f"{share:.0%} below": float(np.quantile(values, share, method="higher"))
                        for share in shares
                    },
                    "largest": float(values.max()),
                }
            )
        return pd.DataFrame(table)


def stands(difference: Interval, p: float | None = None) -> str:
    """Return how the first of two contenders compares with the second, by the interval of their losses' difference.

    A corrected ``p`` decides in place of the interval.
    """
    if np.isinf(difference.value) or (p is not None and p < SIGNIFICANT):
        side = int(np.sign(difference.value))
    else:
        side = difference.side if p is None else 0
    return {-1: AHEAD, 0: LEVEL, 1: BEHIND}[side]


def standings_of(
    frames: Mapping[str, pd.DataFrame], metric: str = "loss", mark: Marking = lambda step: step
) -> Standings:
    """Read the standings from measurements of single episodes.

    Args:
        frames: Measurements by contender; one that was not run has an empty frame.
        metric: Name of the loss.
        mark: Function from the step of a measurement to its mark.
    """
    losses: dict[tuple[str, str, int], Array] = {}
    problems: dict[str, None] = {}
    for name, frame in frames.items():
        rows = frame[(frame.metric == metric) & frame.episode.notna()] if len(frame) else frame
        for _, group in rows.groupby(["problem", "step"], sort=False) if len(rows) else ():
            problem, step = str(group.problem.iloc[0]), int(group.step.iloc[0])
            problems.setdefault(problem)
            values = _table(group)
            losses[name, problem, mark(step)] = np.where(np.isfinite(values), values, np.inf)
    run = [name for name in frames if any(contender == name for contender, _, _ in losses)]
    return Standings(losses, run, list(problems))


def _table(group: pd.DataFrame) -> Array:
    """Return values by seed and episode, (S, E); NaN where there is none, and the mean of those that occur twice."""
    seeds, episodes = np.unique(group.seed), np.unique(group.episode)
    ordered = group.iloc[np.lexsort((group.episode, group.seed))]
    everywhere = len(group) == len(seeds) * len(episodes)
    if everywhere and np.array_equal(ordered.seed, np.repeat(seeds, len(episodes))):
        if np.array_equal(ordered.episode, np.tile(episodes, len(seeds))):
            values: Array = ordered.value.to_numpy(float).reshape(len(seeds), len(episodes))
            return values
    return group.pivot_table(index="seed", columns="episode", values="value", dropna=False).to_numpy(float)


def curves_of(
    frames: Mapping[str, pd.DataFrame],
    problem: str,
    metric: str = "loss",
    statistic: str = "mean",
    mark: Marking = lambda step: step,
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
    """Return each contender's value at its last mark, averaged over seeds, from a table of ``curves_of``."""
    last = table[table.updates == table.groupby("contender").updates.transform("max")] if len(table) else table
    return {str(name): float(part.value.mean()) for name, part in last.groupby("contender", sort=False)}
