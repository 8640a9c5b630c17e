"""What is measured of a contender."""

from __future__ import annotations

from collections.abc import Iterator

from l2l_cli.papers.base import Paper, Subject
from l2l_cli.papers.bosc2016.figure import figure_rows
from l2l_cli.papers.bosc2016.measures import loss_rows
from l2l_cli.papers.bosc2016.moves import move_rows
from l2l_cli.results.metrics import Metric


class Bosc2016(Paper):
    """Tom Bosc's network in another network's memory cells.

    Rows may also be measured for "moves" and for the "figure".

    Deviation: numbers that the paper typesets as mathematics are lost in its readable copies: the dimension, the sizes
    of the learner's layers, the noise, K and T of meta-training, the learning rate, the grid of C and the number of
    folds.  All are ours, so a published loss says how hard the author's data sets were for a method, not what it comes
    to on ours.
    """

    title = "Learning to Learn Neural Networks, reproduced"
    citation = "Tom Bosc: Learning to Learn Neural Networks.  2016, arXiv 1610.06072."

    def measure(self, subject: Subject) -> Iterator[Metric]:
        """Yield the losses on every problem, and what else the row asks for."""
        for entry in subject.entries():
            yield from loss_rows(subject, entry)
        for name, extra in (("moves", move_rows), ("figure", figure_rows)):
            if name in subject.row.also:
                yield from extra(subject)
