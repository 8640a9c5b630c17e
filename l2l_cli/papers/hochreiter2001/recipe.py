"""What to measure of a run, and which artefact is whose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.learners import in_weights, logistic_network, lstm1997
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.meta import horizon, rules
from l2l_cli.meta import online_training as online
from l2l_cli.papers.base import Artefact, Paper
from l2l_cli.papers.hochreiter2001.budget import budget
from l2l_cli.papers.hochreiter2001.drift import drift, drift_rows
from l2l_cli.papers.hochreiter2001.figure2 import figure2, figure2_rows
from l2l_cli.papers.hochreiter2001.measures import error_rows
from l2l_cli.papers.hochreiter2001.published import LITERAL, TABLE2
from l2l_cli.papers.hochreiter2001.table1 import table1
from l2l_cli.papers.hochreiter2001.table2 import table2
from l2l_cli.papers.hochreiter2001.volume import volume, volume_rows
from l2l_cli.results.frame import Metric
from l2l_cli.runs.loading import Trained
from l2l_cli.tasks import functions, switching
from l2l_cli.tasks.functions import Booleans, FunctionTask


class Hochreiter2001(Paper):
    """The recipe of Tables 1 and 2, Figure 2, and what goes beyond them."""

    title = "Learning to Learn Using Gradient Descent, reproduced"
    citation = (
        "Sepp Hochreiter, A. Steven Younger and Peter R. Conwell: Learning to Learn Using Gradient Descent.  ICANN "
        "2001, LNCS 2130, pages 87–94."
    )
    modules = (functions, switching, in_weights, lstm1997, logistic_network, rules, online, horizon)

    def measure(self, row: str, trained: Trained) -> list[Metric]:
        """Measure MSEt, the error at each step and of Figure 2, the volume of B14's networks, and drift."""
        seed, task = trained.settings.seed, trained.task
        contenders = [("learner", trained.learner)]
        if row in TABLE2:  # literal rows are scored on the same test sequences
            contenders.append(("bayes", Bayes(task)))
        rows: list[Metric] = []
        for name, learner in contenders:
            rows += error_rows(name, learner, trained)
            if row.removesuffix(LITERAL) in TABLE2 and isinstance(task, FunctionTask):
                rows += figure2_rows(name, learner, task, seed)
        if isinstance(task, Booleans) and task.horizon == 64:
            rows += volume_rows(trained)
        if row.startswith("B14"):
            rows += drift_rows(trained)
        return rows

    def artefact(self, name: str, rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
        """Judge and draw table1, table2, figure2, volume, drift or budget."""
        match name:
            case "table1":
                return table1(rows)
            case "table2":
                return table2(rows, folder)
            case "figure2":
                return figure2(rows, folder)
            case "volume":
                return volume(rows, folder)
            case "drift":
                return drift(rows, folder)
            case "budget":
                return budget(rows, folder)
        raise KeyError(f"hochreiter2001 has no artefact {name!r}")
