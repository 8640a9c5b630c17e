"""What is measured of a learner."""

from __future__ import annotations

from collections.abc import Iterator

from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.papers.base import Paper, Subject
from l2l_cli.papers.hochreiter2001.measures import BAYES, drift_rows, error_rows, sequence_rows
from l2l_cli.papers.hochreiter2001.volume import volume_rows
from l2l_cli.results.metrics import Metric
from l2l_cli.tasks.functions import FunctionTask
from l2l_cli.tasks.switching import Switching


class Hochreiter2001(Paper):
    """Tables 1 and 2, Figure 2, and what goes beyond them.

    Rows that are ours are trained by the modern recipe; the others to the letter.  Both meet the same test sequences,
    so the limit is measured for the modern ones alone.
    """

    title = "Learning to Learn Using Gradient Descent, reproduced"
    citation = (
        "Sepp Hochreiter, A. Steven Younger and Peter R. Conwell: Learning to Learn Using Gradient Descent.  ICANN "
        "2001, LNCS 2130, pages 87–94."
    )

    def measure(self, subject: Subject) -> Iterator[Metric]:
        """Yield MSEt and errors by step, and what the row names beside them."""
        task, also = subject.task, subject.row.also
        learners = {subject.name: subject.learner}
        if subject.row.ours and isinstance(task, FunctionTask):
            learners[BAYES] = Bayes(task)
        for name, learner in learners.items():
            yield from error_rows(name, learner, subject)
            if "sequences" in also:
                yield from sequence_rows(name, learner, task, subject.seed)
        if "volume" in also:
            yield from volume_rows(subject)
        family = task.family if isinstance(task, Switching) else task
        if "drift" in also and isinstance(family, FunctionTask):
            yield from drift_rows(subject, family)
