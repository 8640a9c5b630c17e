"""Figure 2: the error as one function follows another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Batches, Phase
from l2l_cli.learners.base import Learner
from l2l_cli.learners.bayes import Bayes
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.hochreiter2001.measures import plateau
from l2l_cli.results.frame import Metric, Result, summarise
from l2l_cli.results.plot import decorate, error_over_time, panels, save
from l2l_cli.results.report import Figure, Section
from l2l_cli.tasks.base import Task

FUNCTIONS, EXAMPLES = 5, 256
"""Of Figure 2: functions in a row, and examples of each; one more step resets, hence the spacing of 257."""


def figure2_rows(name: str, learner: Learner[Any], task: Task, seed: int) -> list[Metric]:
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
def _in_a_row(learner: Learner[Any], task: Task, episodes: int, seed: int, reset: bool) -> Tensor:
    """Return |y − o| of ``FUNCTIONS`` functions, one after the other, (FUNCTIONS · EXAMPLES, episodes)."""
    state = learner.init(episodes, generator(seed))
    errors = []
    for index in range(FUNCTIONS):
        batches: Batches = task.sample(episodes, derive(seed, index), Phase.TEST).batches(0, EXAMPLES)
        if reset:
            state = learner.init(episodes, generator(seed))
        # A Bayes learner that is not told would meet data that no function explains; it is always told.
        elif isinstance(learner, Bayes):
            state = learner.init(episodes, generator(seed))
        state, outputs = learner.unroll(state, batches)
        errors.append((outputs - batches.targets).abs().flatten(1))
    return torch.cat(errors)


def figure2(frame: pd.DataFrame, folder: Path) -> Artefact:
    """Draw the errors of one sequence and say how soon they settle after a change."""
    if not len(frame):
        return Artefact([])
    part = frame[frame.metric == "absolute_error"]
    first = part[part.seed == part.seed.min()]
    figure, axes = panels(2, 1, height=2.1)
    switches = [EXAMPLES * index + 1 for index in range(FUNCTIONS)]
    titles = {"told": "State reset at each new function (the paper's protocol)", "untold": "Nobody tells the network"}
    for panel, (protocol, title) in zip(axes, titles.items(), strict=True):
        one = first[first.episode == "0"]
        shown = [one[one.contender == f"{name} {protocol}"].sort_values("step").value for name in ("lstm", "bayes")]
        error_over_time(panel, shown[0].to_numpy(), shown[1].to_numpy(), switches)
        decorate(panel, title, "time step", "absolute error |y − o|")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    save(figure, folder / "figures" / "figure2")
    text = [
        "Five test functions in a row, 256 examples each; dotted lines mark where a new function starts.  The paper's "
        "figure shows starts at 513, 770 and 1027, that is 256 examples and one reset step; ours leaves the reset step "
        "out.  Above, the state is reset as in the paper; below, the network carries its state over and nobody tells "
        "it that the function has changed, which it was never trained for.  The Bayes learner is always told."
    ]
    caption = "Absolute error against time on one test sequence (seed 0), B16 with 256 examples a function."
    drawn = Figure(folder / "figures" / "figure2.png", caption)
    return Artefact(_settling_results(part), [Section("Figure 2: error against time", text, figures=[drawn])])


def _settling_results(part: pd.DataFrame) -> list[Result]:
    """Say how many examples of a new function the error needs to settle, told of the change and not."""
    results = []
    for protocol in ("told", "untold"):
        values = [_settling(part[part.seed == seed], protocol) for seed in sorted(part.seed.unique())]
        limit = [_settling(part[part.seed == seed], protocol, "bayes") for seed in sorted(part.seed.unique())]
        note = "examples of a new function until the mean |y − o| stays below 0.1, worst of five functions"
        results.append(
            summarise(("figure2", f"B16-256 {protocol}", "settling_steps"), values, None, float(np.mean(limit)), note)
        )
    return results


def _settling(frame: pd.DataFrame, protocol: str, name: str = "lstm") -> float:
    curve = (
        frame[(frame.contender == f"{name} {protocol}") & (frame.episode == "mean")]
        .sort_values("step")
        .value.to_numpy()
    )
    return max(plateau(part, 0.1)[0] for part in curve.reshape(FUNCTIONS, EXAMPLES)[1:])
