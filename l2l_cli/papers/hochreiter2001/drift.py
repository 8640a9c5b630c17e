"""The abstract's claim, measured: prediction where functions change and nobody says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2l_cli.core.random import derive
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.score import score
from l2l_cli.learners.base import Learner
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.hochreiter2001.measures import values_of
from l2l_cli.results.frame import Metric, Result, summarise
from l2l_cli.results.plot import curves, decorate, panels, save
from l2l_cli.results.report import Figure, Section
from l2l_cli.runs.building import build_learner
from l2l_cli.runs.loading import Trained
from l2l_cli.tasks.functions import Booleans
from l2l_cli.tasks.switching import Switching

EVERY, STEPS, SEQUENCES, OLDEST = 64, 1024, 500, 64
"""Examples between changes on average, examples and number of sequences, and the largest age that is drawn."""


def drift_rows(trained: Trained) -> list[Metric]:
    """Measure the error where Booleans change unannounced, in all and by the age of the present function."""
    family = trained.task.family if isinstance(trained.task, Switching) else trained.task
    if not isinstance(family, Booleans):
        return []
    task = Switching(family, EVERY, STEPS)
    learner = build_learner(trained.settings, task)
    learner.load_state_dict(trained.learner.state_dict())
    rows = []
    for name, one in (("learner", learner), ("bayes", Bayes(task))):
        rows += _rows(name, one, task, trained.settings.seed)
    return rows


def _rows(name: str, learner: Learner[Any], task: Switching, seed: int) -> list[Metric]:
    losses = score(learner, SEQUENCES, STEPS, derive(seed, "drift"), Phase.TEST, chunk=SEQUENCES).losses
    episode = task.sample(SEQUENCES, derive(derive(seed, "drift"), "chunk", 0), Phase.TEST)
    age = episode.age(0, STEPS)
    rows = [Metric(name, seed, "mean", 0, "switching", "mse", losses.mean().item())]
    for step in range(1, OLDEST + 1):
        value = losses[age == step].mean().item()
        rows.append(Metric(name, seed, "mean", step, "switching", "error", value))
    return rows


def drift(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw the error after unannounced changes."""
    run = {row: frame for row, frame in rows.items() if len(frame)}
    results = [_result(row, frame) for row, frame in run.items()]
    parts = [
        frame[(frame.metric == "error") & (frame.split == "switching") & (frame.contender == "learner")].assign(
            contender=row
        )
        for row, frame in run.items()
    ]
    figure, axes = panels(1, 1, height=3.0)
    if run:
        first = next(iter(run.values()))
        bayes = first[(first.metric == "error") & (first.split == "switching") & (first.contender == "bayes")]
        curves(axes[0], pd.concat([*parts, bayes]), [*run, "bayes"])
        axes[0].legend()
    decorate(axes[0], "Unannounced changes, B14", "examples of the present function", "mean squared error", "xy")
    save(figure, folder / "figures" / "drift")
    text = [
        "The abstract claims prediction of what is not stationary; the paper has no experiment on it.  Here another "
        f"Boolean function takes over with probability 1/{EVERY} before each example, nobody says so, and no state is "
        "reset.  The limit is a Bayes learner with a change-point prior, which knows how often functions change.  "
        "`B14-64` and `B14-64-1997` were meta-trained on functions that stay, `B14-switching` on functions that "
        "change.",
    ]
    caption = "Mean squared error by the age of the present function; bands: range over seeds."
    drawn = Figure(folder / "figures" / "drift.png", caption)
    return Artefact(results, [Section("Beyond the paper: functions that change", text, figures=[drawn])])


def _result(row: str, frame: pd.DataFrame) -> Result:
    limit = values_of(frame, "bayes", "switching")
    note = f"{STEPS} examples, a change every {EVERY} on average, unannounced; limit: change-point Bayes learner"
    values = values_of(frame, "learner", "switching")
    return summarise(("drift", row, "mse"), values, None, float(np.mean(limit)), note)
