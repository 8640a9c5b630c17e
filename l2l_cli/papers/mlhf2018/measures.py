"""Variants in which a row's learner is run: a meta-trained MLHF at several learning rates, all others in one way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from l2l_cli.evaluation.contest import Entry, Problem
from l2l_cli.papers.base import Subject
from l2l_cli.papers.mlhf2018.diagnostics import mlhf_of
from l2l_cli.runs.tuning import tunable

AT_ONE, AT_RATIO, TUNED = "lr 1", "batch ratio", "lr tuned"
"""The paper's learning rate, that of its second version (a batch's size ÷ that of meta-training), and a tuned one."""

RATE = "learner.rule.lr"


def variants_of(subject: Subject) -> Iterator[tuple[str, Entry]]:
    """Yield a row's learner on every problem, by variant.

    A hand-made rule is tuned for each problem; a meta-trained MLHF is run at the learning rate of its training, and if
    it is tuned likewise also at the batch ratio and at the tuned one.
    """
    if mlhf_of(subject.learner) is None:
        yield from (("", entry) for entry in subject.entries())
    else:
        for problem in subject.problems():
            yield from _at_rates(subject, problem)


def _at_rates(subject: Subject, problem: Problem) -> Iterator[tuple[str, Entry]]:
    yield AT_ONE, subject.contender().enter(problem)
    settings, points = subject.settings, tunable(subject.settings)
    if points == [{}]:
        return
    tuned = subject.contender(tuned=True).enter(problem)
    if len(points) == 1:  # asked for in place of the others, not tuned
        yield f"lr {float(points[0][RATE]):g}", tuned
        return
    ratio = problem.task.spec.examples / subject.task.spec.examples
    if ratio != 1:
        fixed = replace(settings, tune=replace(settings.tune, grid={RATE: [ratio]}, ranges={}))
        yield AT_RATIO, replace(subject, settings=fixed).contender(tuned=True).enter(problem)
    yield TUNED, tuned
