"""The paper's claims, each judged by our numbers: who beats whom, and what a learned rule cannot do.

Source: Andrychowicz et al. 2016, §3; no claim there has a criterion, so each is ours and is said with its verdict.
"""

from __future__ import annotations

from collections.abc import Sequence

from l2l_cli.papers.andrychowicz2016.tables import rivals_of
from l2l_cli.papers.losses import Losses, lead
from l2l_cli.papers.shared import Claim

LEARNS = 0.9
"""A rule learns if it brings the loss below this share of the first one."""

ALIKE = 0.25
"""Relative distance from their mean within which losses count as about equal."""


def beats(
    text: str, losses: Losses, problem: str, marks: Sequence[int], learned: str = "LSTM", rivals: Sequence[str] = ()
) -> Claim:
    """Judge whether a learned rule has a lower mean loss than every rival at every mark.

    Args:
        text: The claim.
        losses: Of all contenders.
        problem: On which.
        marks: Numbers of updates; those that were not run are passed over.
        learned: The rule.
        rivals: Those to be beaten; by default the paper's four that were run.
    """
    rivals = list(rivals) or rivals_of(losses)
    run = [step for step in marks if losses.has(learned, problem, step) and losses.best(list(rivals), problem, step)]
    if not run:
        return Claim(text, None, "")
    lost = []
    for step in run:
        best = losses.best(list(rivals), problem, step)
        assert best is not None
        if not losses.mean(learned, problem, step) < losses.mean(best, problem, step):
            lost.append(f"{step} (to {best})")
    evidence = f"lowest mean loss at {len(run) - len(lost)} of {len(run)} numbers of updates"
    evidence += f", behind at {', '.join(lost)}" if lost else ""
    return Claim(text, not lost, f"{evidence}; {against_the_best(losses, problem, run[-1], learned, rivals)}")


def against_the_best(
    losses: Losses, problem: str, updates: int, learned: str = "LSTM", rivals: Sequence[str] = ()
) -> str:
    """Return a learned rule's loss beside that of the best rival, and the difference with its paired interval."""
    best = losses.best(list(rivals) or rivals_of(losses), problem, updates)
    ours = losses.mean(learned, problem, updates)
    if best is None:
        return f"{ours:.3g} after {updates} updates"
    theirs = losses.mean(best, problem, updates)
    difference = lead(losses, learned, best, problem, updates)
    return f"after {updates} updates {ours:.3g} against {theirs:.3g} of the best rival, {best}; difference {difference}"


def alike(text: str, losses: Losses, problem: str, updates: int, contenders: Sequence[str]) -> Claim:
    """Judge whether contenders end about equally: each within ``ALIKE`` of their mean."""
    if not all(losses.has(name, problem, updates) for name in contenders):
        return Claim(text, None, "")
    values = {name: losses.mean(name, problem, updates) for name in contenders}
    mean = sum(values.values()) / len(values)
    shown = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
    return Claim(text, all(abs(value - mean) <= ALIKE * mean for value in values.values()), shown)


def fails(text: str, losses: Losses, problem: str, updates: int, start: float, learned: str = "LSTM") -> Claim:
    """Judge whether a rule learns nothing on a problem: the loss stays above ``LEARNS`` of the first one.

    Args:
        text: The claim.
        losses: Of all contenders.
        problem: On which.
        updates: When.
        start: The loss before the first update, in nats.
        learned: The rule.
    """
    if not losses.has(learned, problem, updates):
        return Claim(text, None, "")
    loss = losses.mean(learned, problem, updates)
    best = losses.best(rivals_of(losses), problem, updates)
    holds = not loss < LEARNS * start
    if holds:
        manner = "the rule learns nothing"
    elif best is not None and loss > losses.mean(best, problem, updates):
        manner = "the rule learns, and remains behind the best tuned rule"
    else:
        manner = "the rule learns, and is ahead of every tuned rule"
    return Claim(
        text, holds, f"{manner}; {against_the_best(losses, problem, updates, learned)}; first loss {start:.3g}"
    )


def one_for_all(text: str, losses: Losses, learned: str, problems: Sequence[str], updates: int) -> Claim:
    """Judge whether a rule is at or below the best of the paper's four, each tuned on the problem, on all problems."""
    ratios = {}
    for problem in problems:
        best = losses.best(rivals_of(losses), problem, updates)
        if best is not None and losses.has(learned, problem, updates):
            ratios[problem] = losses.mean(learned, problem, updates) / losses.mean(best, problem, updates)
    if not ratios:
        return Claim(text, None, "")
    shown = ", ".join(f"{problem} {ratio:.2f}" for problem, ratio in ratios.items())
    return Claim(text, max(ratios.values()) <= 1.0, f"its loss as a multiple of the best tuned rule's: {shown}")


def sane(text: str, losses: Losses, learned: str, problems: Sequence[str], updates: int, after: int) -> Claim:
    """Judge whether a rule goes on learning long after what it was meta-trained for.

    Args:
        text: The claim.
        losses: Of all contenders.
        learned: The rule.
        problems: The long ones.
        updates: At the end.
        after: How many updates a problem had in meta-training; the loss may not be higher at the end than then.
    """
    run = [problem for problem in problems if losses.has(learned, problem, updates)]
    if not run:
        return Claim(text, None, "")
    pairs = {problem: [losses.mean(learned, problem, step) for step in (after, updates)] for problem in run}
    shown = ", ".join(
        f"{problem}: {before:.3g} after {after}, {end:.3g} then" for problem, (before, end) in pairs.items()
    )
    return Claim(text, all(end <= before for before, end in pairs.values()), shown)
