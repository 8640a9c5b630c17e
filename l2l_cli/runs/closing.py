"""Summary of a meta-training when it ends: the course of its validation, and how it compares with an untuned rule."""

from __future__ import annotations

from collections.abc import Callable

from l2l_cli.config.schema import Settings
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.nodes import Entries
from l2l_cli.evaluation.score import criterion_for
from l2l_cli.meta.gradient import set_phi
from l2l_cli.meta.training import Training
from l2l_cli.results.course import course_of, losses_of
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.run import METRICS, RunFolder
from l2l_cli.runs.untuned import beside_untuned

CLOSING = "closing"
"""Entry of run.json with the sentences for people; programs read ``course`` and ``beside``."""


def closing(settings: Settings, training: Training, folder: RunFolder, company: int) -> Entries:
    """Return entries of run.json about a training whose learner has the selected weights.

    Args:
        settings: Whole configuration.
        training: The training.
        folder: Its folder, whose metrics.csv is complete.
        company: Number of trainings that share the folder's seconds, each of which is summarized like this.
    """
    criterion = criterion_for(training.learner.task, training.plan.criterion)
    losses = losses_of(MetricsFile(folder.path / METRICS).rows(), criterion)
    course = course_of(losses)
    lowest = [step for step, loss in losses.items() if loss == training.best]  # none for a criterion that is not noted
    folder.note()  # brings the seconds up to date
    beside = beside_untuned(settings, training, folder.facts()["seconds"] / company)
    selected = training.kept or next(iter(lowest), None)
    return {
        "selected": selected,
        "course": course._asdict(),
        "beside": beside._asdict(),
        CLOSING: [str(course), str(beside)],
    }


def closed(
    settings: Settings, training: Training, folder: RunFolder, company: int, save: Callable[[], None]
) -> Entries:
    """Give the learner the selected weights and return what ``closing`` does; ``save`` is called if interrupted.

    Raises:
        KeyboardInterrupt: The user stops it here; the run can then be continued.
    """
    last = training.phi()
    training.finish()
    try:
        with LEDGER.of("training"):
            return closing(settings, training, folder, company)
    except KeyboardInterrupt:
        if training.ranks is None:  # the other ranks have ended
            set_phi(training.learner, last)
            save()
        raise
