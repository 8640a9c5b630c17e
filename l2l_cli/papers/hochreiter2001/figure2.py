"""Figure 2: the error as one function follows another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.base import Learner
from l2l_cli.learners.bayes.posterior import Bayes
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.hochreiter2001.measures import plateau
from l2l_cli.papers.hochreiter2001.published import LITERAL, TABLE2
from l2l_cli.results.frame import Metric, Result, summarise
from l2l_cli.results.plot import decorate, error_over_time, panels, save
from l2l_cli.results.report import Figure, Section
from l2l_cli.tasks.functions import FunctionTask

FUNCTIONS, EXAMPLES = 5, 256
"""Of Figure 2: functions in a row, and examples of each; one more step resets, hence the spacing of 257."""

PAPERS = "B16-256"
"""The row of the paper's own figure."""

NAMES = ("learner", "bayes")

TEXT = (
    "Five test functions in a row, 256 examples each; dotted lines mark where a new function starts.  The paper's "
    "figure shows starts at 513, 770 and 1027, that is 256 examples and one reset step; ours leaves the reset step "
    "out.  Above, the state is reset as in the paper; below, the network carries its state over and nobody tells it "
    "that the function has changed, which it was never trained for.  The Bayes learner is always told.",
)


def figure2_rows(name: str, learner: Learner[Any], task: FunctionTask, seed: int) -> list[Metric]:
    """Measure |y − o| over functions in a row, with the state reset at each new one and without."""
    rows = []
    for protocol in ("told", "untold"):
        errors = _in_a_row(learner, task, 200, derive(seed, "figure2"), reset=protocol == "told")
        for statistic, curve in (("0", errors[:, 0]), ("mean", errors.mean(1))):
            values = enumerate(curve.tolist(), start=1)
            rows += [
                Metric(f"{name} {protocol}", seed, statistic, step, "test", "absolute_error", v) for step, v in values
            ]
    return rows


@torch.no_grad()
def _in_a_row(learner: Learner[Any], task: FunctionTask, episodes: int, seed: int, reset: bool) -> Tensor:
    """Return |y − o| of ``FUNCTIONS`` functions, one after the other, (FUNCTIONS · examples, episodes)."""
    state = learner.init(episodes, generator(seed))
    errors = []
    for index in range(FUNCTIONS):
        batches = task.sample(episodes, derive(seed, index), Phase.TEST).batches(0, min(EXAMPLES, task.horizon))
        # A Bayes learner that is not told would meet data that no function explains; it is always told.
        if reset or isinstance(learner, Bayes):
            state = learner.init(episodes, generator(seed))
        state, outputs = learner.unroll(state, batches)
        errors.append((outputs - batches.targets).abs().flatten(1))
    return torch.cat(errors)


def figure2(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Draw the paper's figure, the same for every family, and say how soon errors settle after a change."""
    results, sections = [], []
    if len(rows[PAPERS]):
        figures = [_one_sequence(rows[PAPERS], folder)]
        for row in (PAPERS, PAPERS + LITERAL):
            results += _settling_results(row, rows[row], rows[PAPERS])
        if any(len(frame) for row, frame in rows.items() if row != PAPERS):
            figures.append(_families(rows, folder))
        sections = [Section("Figure 2: error against time", TEXT, figures=figures)]
    return Artefact(results, sections)


def _one_sequence(frame: pd.DataFrame, folder: Path) -> Figure:
    first = frame[(frame.metric == "absolute_error") & (frame.seed == frame.seed.min()) & (frame.episode == "0")]
    figure, axes = panels(2, 1, height=2.1)
    titles = {"told": "State reset at each new function (the paper's protocol)", "untold": "Nobody tells the network"}
    for panel, (protocol, title) in zip(axes, titles.items(), strict=True):
        shown = [first[first.contender == f"{name} {protocol}"].sort_values("step").value for name in NAMES]
        error_over_time(panel, shown[0].to_numpy(), shown[1].to_numpy(), _switches(len(shown[0])))
        decorate(panel, title, "time step", "absolute error |y − o|")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    save(figure, folder / "figures" / "figure2")
    caption = "Absolute error against time on one test sequence (seed 0), B16 with 256 examples a function."
    return Figure(folder / "figures" / "figure2.png", caption)


def _families(rows: Mapping[str, pd.DataFrame], folder: Path) -> Figure:
    figure, axes = panels(len(TABLE2), 2, height=1.65)
    for line, row in enumerate(TABLE2):
        floor = _mean_error(rows[row], "bayes told")
        for panel, name in zip(axes[2 * line : 2 * line + 2], (row + LITERAL, row), strict=True):
            if len(rows[name]):
                errors = _mean_error(rows[name], "learner untold")
                error_over_time(panel, errors, np.maximum(floor, 1e-4), _switches(len(errors)))
            else:
                panel.annotate("not run at this scale", (0.5, 0.5), xycoords="axes fraction", ha="center")
            decorate(panel, name, "time step" if line == len(TABLE2) - 1 else "", "mean |y − o|", "y")
            panel.set_ylim(bottom=1e-4)
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    save(figure, folder / "figures" / "figure2_families")
    caption = (
        "Mean |y − o| over 200 test sequences (seed 0) of every family, nobody telling the network that a new function "
        "starts: left after literal, right after modern meta-training; the Bayes learner is told."
    )
    return Figure(folder / "figures" / "figure2_families.png", caption)


def _mean_error(frame: pd.DataFrame, contender: str) -> np.ndarray[Any, Any]:
    part = frame[(frame.contender == contender) & (frame.episode == "mean") & (frame.metric == "absolute_error")]
    curve: np.ndarray[Any, Any] = part[part.seed == part.seed.min()].sort_values("step").value.to_numpy()
    return curve


def _switches(length: int) -> list[int]:
    return [length // FUNCTIONS * index + 1 for index in range(FUNCTIONS)]


def _settling_results(row: str, frame: pd.DataFrame, modern: pd.DataFrame) -> list[Result]:
    """Say how many examples of a new function the error needs to settle, told of the change and not."""
    results = []
    for protocol in ("told", "untold"):
        limit = _settling(modern, f"bayes {protocol}")
        note = "examples of a new function until the mean |y − o| stays below 0.1, worst of five functions"
        values = _settling(frame, f"learner {protocol}") if len(frame) else []
        key = ("figure2", f"{row} {protocol}", "settling_steps")
        results.append(summarise(key, values, None, float(np.mean(limit)), note))
    return results


def _settling(frame: pd.DataFrame, contender: str) -> list[float]:
    """Return each seed's worst settling time over the functions after the first."""
    part = frame[(frame.contender == contender) & (frame.episode == "mean") & (frame.metric == "absolute_error")]
    series = [group.sort_values("step").value.to_numpy() for _, group in part.groupby("seed")]
    return [max(plateau(piece, 0.1)[0] for piece in curve.reshape(FUNCTIONS, -1)[1:]) for curve in series]
