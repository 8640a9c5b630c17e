"""What to measure of a contender, and which artefact is whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.learners import weights_in_cell
from l2l_cli.papers.base import Artefact, Paper
from l2l_cli.papers.bosc2016 import beyond, curves, figure, moves, published, table, variants
from l2l_cli.papers.bosc2016.measures import loss_rows
from l2l_cli.results.frame import Metric
from l2l_cli.runs.loading import Trained
from l2l_cli.tasks import halfplanes

ARTEFACTS: Mapping[str, Callable[[Mapping[str, pd.DataFrame], Path], Artefact]] = {
    "table": table.table,
    "figure": figure.figure,
    "moves": moves.moves,
    "variants": variants.variants,
    "curves": curves.curves,
    "beyond": beyond.beyond,
}


class Bosc2016(Paper):
    """The recipe of the table, the figure and the claims, and of what goes beyond them."""

    title = "Learning to Learn Neural Networks, reproduced"
    citation = "Tom Bosc: Learning to Learn Neural Networks.  2016, arXiv 1610.06072."
    modules = (halfplanes, weights_in_cell, published, moves, figure)

    def measure(self, row: str, trained: Trained) -> list[Metric]:
        """Measure the losses on every problem, and how the weights of a network in a cell move."""
        rows = [*loss_rows(row, trained), *figure.figure_rows(row, trained)]
        if row == published.LEARNED and not trained.settings.evaluation.problems:
            rows += moves.move_rows(row, trained)
        return rows

    def artefact(self, name: str, rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
        """Judge and draw one of ``ARTEFACTS``."""
        return ARTEFACTS[name](rows, folder)
