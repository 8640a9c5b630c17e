"""The figure: a model of four hidden units learns one data set, weight by weight.

Deviation: the paper does not say how it chose its data set; ours is that of the median final loss among the first few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from l2l_cli.core.types import Phase
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.bosc2016.moves import matrices, trajectory
from l2l_cli.papers.shared import Claim, listed
from l2l_cli.results.frame import Metric, Result, summarise
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels, save
from l2l_cli.results.report import Figure, Section
from l2l_cli.runs.loading import Trained
from l2l_cli.tasks.base import Task

SMALL = "2–4–1"
"""The row: two inputs, four hidden units, 17 weights; 50 training and 50 test samples."""

SETS = 50
"""Data sets among which the shown one is the median, and over which the loss is averaged."""

FLAT = 0.02
"""Nats by which the mean test loss may change after the separator and still be called flat."""


@torch.no_grad()
def figure_rows(row: str, trained: Trained) -> Iterator[Metric]:
    """Yield θ_t of one data set, and the loss of θ_t on the whole test part, of that data set and on average."""
    learner, settings = trained.learner, trained.settings
    if row != SMALL or not isinstance(learner, WeightsInCell):
        return
    task, seed = trained.task, settings.evaluation.seeds[0]
    way = trajectory(learner, SETS, seed)
    losses = _test_losses(task, way, seed)
    shown = int(losses[-1].argsort()[SETS // 2])
    for step in range(len(way)):
        for layer, where in matrices(task).items():
            for index, value in enumerate(way[step, shown, where].tolist()):
                yield Metric(row, settings.seed, str(index), step, layer, "theta", value)
        for name, value in (("mean", losses[step].mean()), ("shown", losses[step, shown])):
            yield Metric(row, settings.seed, name, step, "test part", "loss", value.item())


def _test_losses(task: Task, way: torch.Tensor, seed: int) -> torch.Tensor:
    """Return the mean loss of θ_t over the second half of each data set, (T + 1, E)."""
    episode, half = task.sample(SETS, seed, Phase.TEST), task.horizon // 2
    batches = episode.batches(half, task.horizon)
    inputs, targets = (values.squeeze(2).transpose(0, 1) for values in batches[:2])
    shapes = task.model.shapes
    found = []
    for theta in way:
        pieces = torch.split(theta, [int(np.prod(shape)) for shape in shapes.values()], 1)
        params = {name: piece.view(-1, *shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        found.append(task.loss(task.model(params, inputs), targets))
    return torch.stack(found)


def figure(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Draw seed 0 of the small model, and judge whether its loss falls before the separator and is flat after it."""
    frame = rows[SMALL]
    if not len(frame):
        return Artefact(_results({}))
    mean = frame[(frame.metric == "loss") & (frame.split == "test part") & (frame.episode == "mean")]
    last = int(mean.step.max())
    half = last // 2
    at = {f"loss@{step}": mean[mean.step == step].value.tolist() for step in (0, half, last)}
    path = folder / "figures" / "figure"
    _draw(frame[frame.seed == frame.seed.min()], half, path)
    before, end, after = (float(np.mean(values)) for values in at.values())
    claim = Claim(
        "The loss falls while samples are shown and is flat afterwards",
        end < before and abs(after - end) < FLAT,
        f"mean over {SETS} data sets {before:.3f} with θ_0, {end:.3f} at the separator, {after:.3f} at the end",
    )
    caption = (
        "One data set of 50 training and 50 test samples, the median one: weight matrices of both layers against time, "
        f"and the loss of θ_t on the whole test part (grey: mean over {SETS} data sets).  The separator is dotted."
    )
    drawn = [Figure(path.with_suffix(".png"), caption)]
    return Artefact(_results(at), [Section("The figure: a data set is learned", [listed([claim])], figures=drawn)])


def _results(at: Mapping[str, list[float]]) -> list[Result]:
    names = list(at) or ["loss@0", "loss@50", "loss@100"]
    note = "test loss of θ_t, mean over data sets; the paper shows one data set"
    return [summarise(("figure", SMALL, name), at.get(name, []), None, None, note) for name in names]


def _draw(frame: pd.DataFrame, half: int, path: Path) -> None:
    theta = frame[frame.metric == "theta"]
    layers = list(dict.fromkeys(theta.split))
    drawing, axes = panels(len(layers) + 1, 1, height=1.9)
    for panel, layer in zip(axes, layers, strict=False):
        part = theta[theta.split == layer].assign(episode=theta.episode.astype(int))
        values: Any = part.pivot_table(index="episode", columns="step", values="value").to_numpy(float)
        _heat(panel, values)
        decorate(panel, f"Weights of {layer}", "", "weight")
    for name, colour in (("mean", LIMIT), ("shown", COLOURS[0])):
        part = frame[(frame.metric == "loss") & (frame.split == "test part") & (frame.episode == name)]
        axes[-1].plot(part.step, part.value, color=colour)
    decorate(axes[-1], "Test loss of θ_t", "samples", "cross-entropy")
    axes[-1].set_xlim(*axes[0].get_xlim())
    for panel in axes:
        panel.axvline(half, color="#000000", linestyle=":", linewidth=0.9)
    save(drawing, path)


def _heat(axes: Axes, values: np.ndarray[Any, Any]) -> None:
    reach = float(np.abs(values).max())
    image = axes.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, pad=0.01).outline.set_visible(False)
