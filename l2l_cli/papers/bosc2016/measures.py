"""What is measured of a contender: each data set's losses, on every problem of an artefact."""

from __future__ import annotations

from collections.abc import Iterator

from l2l_cli.evaluation.contest import Entry, scored
from l2l_cli.papers.base import Subject
from l2l_cli.results.metrics import Metric

HELD_OUT, ACCURACY = "held_out", "held_out_accuracy"
"""Means over a data set's hidden steps."""

LATE = "late"
"""Mean loss over a data set's second half, where the training part ends before."""


def loss_rows(subject: Subject, entry: Entry) -> Iterator[Metric]:
    """Yield a data set's loss and accuracy over hidden steps, and the loss over its second half if that is hidden."""
    yield from subject.scores(entry)
    scores, steps = scored(entry, subject.store).joined, entry.problem.steps
    if scores.visible is not None and not scores.visible[steps // 2 :].any():
        for episode, value in enumerate(scores.losses[steps // 2 :].mean(0).tolist()):
            yield Metric(subject.name, subject.seed, LATE, value, steps, episode, problem=entry.problem.name)
