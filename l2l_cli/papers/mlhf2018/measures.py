"""Variants in which a row's learner is run: a meta-trained MLHF at several learning rates, all others in one way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from l2l_cli.config.schema import Settings
from l2l_cli.evaluation.contest import Entry, Problem
from l2l_cli.papers.base import Subject
from l2l_cli.papers.mlhf2018.diagnostics import mlhf_of
from l2l_cli.runs.contenders import problems_of
from l2l_cli.runs.tuning import tunable, tuned

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
        for problem in problems_of(subject.settings):
            yield from _at_rates(subject, problem)


def _at_rates(subject: Subject, problem: Problem) -> Iterator[tuple[str, Entry]]:
    settings = subject.settings
    yield AT_ONE, Entry(subject.name, problem, subject.learner.on(problem.task), None, {})
    points = tunable(settings)
    if points == [{}]:
        return
    if len(points) == 1:  # asked for in place of the others, not tuned
        yield f"lr {float(points[0][RATE]):g}", _tuned(subject, problem, settings)
        return
    ratio = problem.task.spec.examples / subject.task.spec.examples
    if ratio != 1:
        at_ratio = replace(settings.tune, grid={RATE: [ratio]}, ranges={})
        yield AT_RATIO, _tuned(subject, problem, replace(settings, tune=at_ratio))
    yield TUNED, _tuned(subject, problem, settings)


def _tuned(subject: Subject, problem: Problem, settings: Settings) -> Entry:
    """Return a learner at its best learning rate on a problem, with the φ that was meta-trained."""
    best = tuned(settings, problem.task, problem.steps, subject.tell, subject.learner)
    return Entry(subject.name, problem, best.learner, best.tuning, {})
