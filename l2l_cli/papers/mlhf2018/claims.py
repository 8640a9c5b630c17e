"""The paper's claims and the project's own marks, each judged by our numbers.

Source: Chen and Lu 2018, §4; no claim there has a criterion, so each is ours and is said with its verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from l2l_cli.papers.losses import Losses, lead
from l2l_cli.papers.mlhf2018.looks import DOWNHILL
from l2l_cli.papers.mlhf2018.measures import table_of
from l2l_cli.papers.shared import Claim
from l2l_cli.results.frame import Result, summarise

FELL = 0.01
"""Nats by which the loss must still fall over the last half of a run for progress to go on."""


def rivals(losses: Losses, names: Sequence[str], problem: str) -> tuple[str, float] | None:
    """Return the best of some contenders by the end of a run, and its loss there; None if none was run."""
    best = losses.best(list(names), problem, end_of(losses, problem))
    return None if best is None else (best, losses.mean(best, problem, end_of(losses, problem)))


def end_of(losses: Losses, problem: str) -> int:
    """Return the last step; 0 if nothing was run."""
    return max(losses.marks(problem), default=0)


def ratio(key: tuple[str, str, str], losses: Losses, name: str, names: Sequence[str], problem: str) -> Result:
    """Return a contender's loss at the end of a run, seed by seed, as a multiple of the best of some others'."""
    best = rivals(losses, names, problem)
    if best is None:
        return summarise(key, [], None)
    values = [value / best[1] for value in losses.seeds(name, problem, end_of(losses, problem))]
    return summarise(key, values, None, None, f"÷ {best[0]}, {best[1]:.4g}")


def within(text: str, losses: Losses, name: str, names: Sequence[str], problem: str, share: float) -> Claim:
    """Judge whether a contender ends at or below so large a share of the best of some others."""
    best, end = rivals(losses, names, problem), end_of(losses, problem)
    if best is None or not losses.has(name, problem, end):
        return Claim(text, None, "")
    own = losses.mean(name, problem, end)
    found = own / best[1] if best[1] else np.inf
    difference = lead(losses, name, best[0], problem, end)
    evidence = f"{own:.4g} against {best[1]:.4g} of {best[0]}, ratio {found:.3f} (mark: {share:g}); {difference}"
    return Claim(text, bool(found <= share), evidence)


def per_sample(text: str, losses: Losses, name: str, names: Sequence[str], problem: str) -> Claim:
    """Judge whether a contender is below all of some others over every tenth of a run."""
    marks = [mark for mark in losses.marks(problem) if losses.has(name, problem, mark)]
    best = {mark: losses.best(list(names), problem, mark) for mark in marks}
    lost = [
        f"{mark} (to {rival})"
        for mark, rival in best.items()
        if rival is not None and not losses.mean(name, problem, mark) < losses.mean(rival, problem, mark)
    ]
    if not marks or None in best.values():
        return Claim(text, None, "")
    behind = f", behind at updates {', '.join(lost)}" if lost else ""
    return Claim(text, not lost, f"lowest over {len(marks) - len(lost)} of {len(marks)} tenths of the run{behind}")


def per_second(
    text: str, contenders: Mapping[str, pd.DataFrame], name: str, names: Sequence[str], problem: str
) -> Claim:
    """Judge whether a contender has the lowest loss when the quickest of all has used up its samples."""
    loss, seconds = (
        table_of(contenders, metric, problem).groupby(["contender", "updates"], sort=False).value.mean()
        for metric in ("loss", "seconds")
    )
    run = [other for other in names if other in loss.index.get_level_values(0)]
    if name not in loss.index.get_level_values(0) or not run:
        return Claim(text, None, "")
    until = min(float(seconds[other].max()) for other in run)
    at = {other: float(np.interp(until, seconds[other], loss[other])) for other in [name, *run]}
    best = min(run, key=lambda other: at[other])
    evidence = f"after {until:.3g} s, when the quickest is through, {at[name]:.3g} against {at[best]:.3g}"
    price = seconds[name].max() / seconds[best].max()
    return Claim(text, at[name] < at[best], f"{evidence} of {best}; one of its steps takes {price:.1f} times as long")


def goes_on(text: str, losses: Losses, name: str, problem: str) -> Claim:
    """Judge whether the loss still falls over the last half of a run."""
    marks = [mark for mark in losses.marks(problem) if losses.has(name, problem, mark)]
    if len(marks) < 2:
        return Claim(text, None, "")
    half, end = (losses.mean(name, problem, mark) for mark in (marks[(len(marks) - 1) // 2], marks[-1]))
    evidence = f"{half:.4g} half-way, {end:.4g} at the end, {marks[-1]} updates (mark: a fall of {FELL:g})"
    return Claim(text, half - end >= FELL, evidence)


def stays_finite(text: str, contenders: Mapping[str, pd.DataFrame], names: Sequence[str]) -> Claim:
    """Judge whether no loss of some contenders was ever not finite."""
    frames = [contenders[name] for name in names if name in contenders and len(contenders[name])]
    if not frames:
        return Claim(text, None, "")
    lost = {frame.contender.iloc[0]: int(frame[frame.metric == "not finite"].value.sum()) for frame in frames}
    bad = [f"{name} {count}" for name, count in lost.items() if count]
    return Claim(text, not bad, f"losses that were not finite: {', '.join(bad) or 'none'}")


def downhill(text: str, contenders: Mapping[str, pd.DataFrame], problem: str) -> Claim:
    """Judge whether ⟨g, x_n⟩ > 0 at every step that was looked into."""
    table = table_of(contenders, DOWNHILL, problem)
    if not len(table):
        return Claim(text, None, "")
    shares = table.groupby("contender", sort=False).value.mean()
    shown = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return Claim(text, bool((shares == 1).all()), f"share of the steps looked into: {shown}")
