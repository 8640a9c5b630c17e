"""What to measure of a contender, and which artefact is whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.meta import mlhf as meta
from l2l_cli.meta import replay
from l2l_cli.optimizers import hessian_free, mlhf
from l2l_cli.papers.base import Artefact, Paper
from l2l_cli.papers.mlhf2018 import beyond, figure1, figure2, figure3, parallel, track
from l2l_cli.papers.mlhf2018.measures import measure_rows
from l2l_cli.results.frame import Metric
from l2l_cli.runs.loading import Trained

ARTEFACTS: Mapping[str, Callable[[Mapping[str, pd.DataFrame], Path], Artefact]] = {
    "figure1": figure1.figure1,
    "figure2": figure2.figure2,
    "figure3": figure3.figure3,
    "transfer": figure2.transfer,
    "mlp": beyond.mlp,
    "rnn": beyond.rnn,
    "long": beyond.long,
    "parallel": parallel.parallel,
}


class Mlhf2018(Paper):
    """The recipe of Figures 1 to 3, and of what goes beyond them."""

    title = "Meta-learning with Hessian-free approach in deep neural nets training, reproduced"
    citation = (
        "Boyu Chen, Wenlian Lu and Ernest Fokoue: Meta-learning with Hessian-free approach in deep neural nets "
        "training.  2018, arXiv 1805.08462."
    )
    modules = (mlhf, meta, replay, hessian_free, track, figure1, figure2, figure3, beyond, parallel)

    def measure(self, row: str, trained: Trained) -> list[Metric]:
        """Measure every contender of a row on every problem."""
        return list(measure_rows(row, trained))

    def artefact(self, name: str, rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
        """Judge and draw one of ``ARTEFACTS``."""
        return ARTEFACTS[name](rows, folder)
