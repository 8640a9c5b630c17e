"""What to measure of a contender, and which artefact is whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.meta import loss
from l2l_cli.optimizers import coordinatewise_lstm, preprocess
from l2l_cli.papers.andrychowicz2016 import beyond, ends, figure4, figure5, figure6, figure7, figure10, published
from l2l_cli.papers.andrychowicz2016.measures import entries, entry_rows, restricted
from l2l_cli.papers.base import Artefact, Paper
from l2l_cli.results.frame import Metric
from l2l_cli.runs.loading import Trained
from l2l_cli.tasks import images, quadratic

ARTEFACTS: Mapping[str, Callable[[Mapping[str, pd.DataFrame], Path], Artefact]] = {
    "figure4_quadratics": figure4.figure4_quadratics,
    "figure4_mnist": figure4.figure4_mnist,
    "figure5": figure5.figure5,
    "figure6": figure6.figure6,
    "figure7": figure7.figure7,
    "figure10": figure10.figure10,
    "beyond": beyond.beyond,
}

PROBLEMS = {
    "figure4_mnist": (published.BASE, published.LONGER),
    "figure5": (*published.FIGURE5, *figure5.WIDER_START),
    "beyond": (published.BASE, *published.FIGURE5, *beyond.LONG),
}
"""What an artefact shows of the problems of MNIST, on all of which a row is measured at once."""


class Andrychowicz2016(Paper):
    """The recipe of Figures 4 to 7 and 10, and of what goes beyond them."""

    title = "Learning to learn by gradient descent by gradient descent, reproduced"
    citation = (
        "Marcin Andrychowicz, Misha Denil, Sergio Gómez Colmenarejo, Matthew W. Hoffman, David Pfau, Tom Schaul, "
        "Brendan Shillingford and Nando de Freitas: Learning to learn by gradient descent by gradient descent.  "
        "NIPS 2016, arXiv 1606.04474."
    )
    modules = (quadratic, images, coordinatewise_lstm, preprocess, loss, published, figure4, figure5, figure7, figure10)

    def measure(self, row: str, trained: Trained) -> list[Metric]:
        """Measure the losses on every problem, and on the base what is proposed for single coordinates."""
        rows: list[Metric] = []
        for entry in entries(trained):
            rows += entry_rows(row, entry, trained.settings)
            if entry.problem == published.BASE:
                rows += figure10.update_rows(row, entry, trained.settings.seed)
            if entry.problem in beyond.PAPER:
                rows += ends.end_rows(row, entry, trained.settings.seed)
        return rows

    def artefact(self, name: str, rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
        """Judge and draw one of ``ARTEFACTS``."""
        shown = PROBLEMS.get(name)
        return ARTEFACTS[name](rows if shown is None else restricted(rows, shown), folder)
