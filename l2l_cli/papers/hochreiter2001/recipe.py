"""What to measure of a run, and which artefact is whose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.core.types import Phase
from l2l_cli.learners import in_weights
from l2l_cli.learners.bayes import Bayes
from l2l_cli.learners.rollout import score
from l2l_cli.meta import horizon
from l2l_cli.papers.base import Artefact, Paper
from l2l_cli.papers.hochreiter2001.figure2 import figure2, figure2_rows
from l2l_cli.papers.hochreiter2001.tables import table1, table2
from l2l_cli.results.frame import Metric
from l2l_cli.runs import Trained
from l2l_cli.tasks import functions


class Hochreiter2001(Paper):
    """The recipe of Tables 1 and 2 and Figure 2."""

    title = "Learning to Learn Using Gradient Descent, reproduced"
    citation = (
        "Sepp Hochreiter, A. Steven Younger and Peter R. Conwell: Learning to Learn Using Gradient Descent.  ICANN "
        "2001, LNCS 2130, pages 87–94."
    )
    modules = (functions, in_weights, horizon)

    def measure(self, row: str, trained: Trained) -> list[Metric]:
        """Measure MSEt and the error at each step on train and test sequences, and the error of Figure 2."""
        seed, limit = trained.settings.seed, Bayes(trained.task)
        rows: list[Metric] = []
        for name, learner in (("lstm", trained.learner), ("bayes", limit)):
            for phase, split in ((Phase.META_TRAIN, "train"), (Phase.TEST, "test")):
                losses = score(learner, trained.settings.evaluation.episodes, trained.task.horizon, seed, phase).losses
                rows.append(Metric(name, seed, "mean", 0, split, "mse", losses.mean().item()))
                steps = enumerate(losses.mean(1).tolist(), start=1)
                rows += [Metric(name, seed, "mean", step, split, "error", value) for step, value in steps]
            if row == "B16-256":
                rows += figure2_rows(name, learner, trained.task, seed)
        return rows

    def artefact(self, name: str, rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
        """Judge and draw table1, table2 or figure2."""
        match name:
            case "table1":
                return table1(rows["B14-64"])
            case "table2":
                return table2(rows, folder)
            case "figure2":
                return figure2(rows["B16-256"], folder)
        raise KeyError(f"hochreiter2001 has no artefact {name!r}")
