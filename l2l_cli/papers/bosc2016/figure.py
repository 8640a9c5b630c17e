"""The figure: a model of four hidden units learns one data set, weight by weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes

from l2l_cli.core.types import Phase
from l2l_cli.core.vectors import named
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.papers.base import Artefact, Findings, RowName, Subject
from l2l_cli.papers.bosc2016.measures import matrices, trajectory
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.content import Figure as Shown
from l2l_cli.results.metrics import Metric
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels
from l2l_cli.results.statistics import Array
from l2l_cli.tasks.base import Task

SETS = 50
"""Data sets among which the shown one is the median, and over which the loss is averaged."""

FLAT = 0.02
"""Nats by which the mean test loss may change after the separator and still be called flat."""


@torch.no_grad()
def figure_rows(subject: Subject) -> Iterator[Metric]:
    """Yield θ_t of one data set, and the loss of θ_t on the whole test part, of that data set and on average."""
    learner, task, seed = subject.learner, subject.task, subject.settings.evaluation.seeds[0]
    if not isinstance(learner, WeightsInCell):
        return
    row = partial(Metric, subject.name, subject.seed)
    thetas = trajectory(learner, SETS, seed)
    losses = test_losses(task, thetas, seed)
    median = int(losses[-1].argsort()[SETS // 2])
    for step in range(len(thetas)):
        for layer, span in matrices(task).items():
            for index, value in enumerate(thetas[step, median, span].tolist()):
                yield row("theta", value, step, index, part=layer)
        yield row("test_loss", losses[step].mean().item(), step, statistic="mean")
        yield row("test_loss", losses[step, median].item(), step, statistic="of the data set shown")


def test_losses(task: Task, thetas: torch.Tensor, seed: int) -> torch.Tensor:
    """Return the mean loss of θ_t over the second half of each data set, (T + 1, E)."""
    episode, half = task.sample(SETS, seed, Phase.TEST), task.horizon // 2
    batches = episode.batches(half, task.horizon)
    inputs, targets = (values.squeeze(2).transpose(0, 1) for values in batches[:2])
    models = [named(theta, task.model.shapes) for theta in thetas]
    return torch.stack([task.loss(task.model(params, inputs), targets) for params in models])


@dataclass(frozen=True)
class Figure(Artefact):
    """The paper's figure: weight matrices and the test loss while one data set is learned.

    Deviation: the paper does not say how it chose its data set; ours is that of the median final loss among the first
    few.

    Attributes:
        model: Row of the small model.
        steps: Numbers of samples after which the test loss is given.
    """

    model: RowName
    steps: list[int]

    def judge(self, measured: Measured) -> Findings:
        """Draw seed 0 of the small model; judge whether its loss falls before the separator and is flat after it."""
        table = measured.curve(self.model, "test_loss", statistic="mean")
        last = int(table.index.max()) if len(table) else self.steps[-1]
        steps = [0, last // 2, last]
        losses = {step: table.loc[[step]].to_numpy(float).ravel().tolist() if len(table) else [] for step in steps}
        note = "test loss of θ_t, mean over data sets; the paper shows one data set"
        results = [measured.result(self.model, f"loss@{step}", values, note=note) for step, values in losses.items()]
        if not len(table):
            return Findings(results)
        drawn = self._draw(measured, last // 2)
        before, end, after = (float(np.mean(values)) for values in losses.values())
        claim = Claim(
            "The loss falls while samples are shown and is flat afterwards",
            end < before and abs(after - end) < FLAT,
            f"mean over {SETS} data sets {before:.3f} with θ_0, {end:.3f} at the separator, {after:.3f} at the end",
        )
        return Findings(results, [Section("The figure: a data set is learned", figures=[drawn], claims=[claim])])

    def _draw(self, measured: Measured, half: int) -> Shown:
        theta = measured.select(self.model, "theta")
        theta = theta[theta.seed == theta.seed.min()]
        layers = list(theta.part.unique())
        drawing, axes = panels(len(layers) + 1, 1, height=1.9)
        for panel, layer in zip(axes, layers, strict=False):
            part = theta[theta.part == layer]
            _heat(panel, part.pivot_table(index="episode", columns="step", values="value").to_numpy(float))
            decorate(panel, f"Weights of {layer}", "", "weight")
        for statistic, colour in (("mean", LIMIT), ("of the data set shown", COLOURS[0])):
            curve = measured.curve(self.model, "test_loss", statistic=statistic)
            axes[-1].plot(curve.index, curve[curve.columns.min()], color=colour)
        decorate(axes[-1], "Test loss of θ_t", "samples", "cross-entropy")
        axes[-1].set_xlim(*axes[0].get_xlim())
        for panel in axes:
            panel.axvline(half, color="#000000", linestyle=":", linewidth=0.9)
        caption = (
            "One data set of 50 training and 50 test samples, the median one: weight matrices of both layers against "
            f"time, and the loss of θ_t on the whole test part (grey: mean over {SETS} data sets).  The separator is "
            "dotted."
        )
        return measured.save(drawing, caption)


def _heat(axes: Axes, values: Array) -> None:
    reach = float(np.abs(values).max())
    image = axes.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, pad=0.01).outline.set_visible(False)
