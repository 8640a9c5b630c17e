"""The paper's figure, in which one data set is learned: weight matrices against time, and the test loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.bosc2016.recipe import SHOWN_FROM
from l2l_cli.papers.claims import in_every_seed
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Figure, Section
from l2l_cli.results.plot import COLOURS, decorate, panels

FLAT = 0.02
"""Nats by which the mean test loss may change after the separator and still be called flat."""


@dataclass(frozen=True)
class LearnedDataSet(Artefact):
    """The paper's figure: weight matrices and the test loss while one data set is learned.

    Deviation: the paper does not say how it chose its data set; ours is that of the median final loss among the first
    few.

    Attributes:
        model: Row of the small model.
        steps: Numbers of samples; if nothing was run, results are named after 0, half of the last one, and the last.
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
        seeds = zip(*losses.values(), strict=True)
        claim = in_every_seed(
            "The loss falls while samples are shown and is flat afterwards",
            [middle < first and abs(late - middle) < FLAT for first, middle, late in seeds],
            f"mean over data sets {before:.3f} with θ₀, {end:.3f} at the separator, {after:.3f} at the end",
        )
        return Findings(results, [Section("The figure: a data set is learned", figures=[drawn], claims=[claim])])

    def _draw(self, measured: Measured, half: int) -> Figure:
        theta = measured.select(self.model, "theta")
        theta = theta[theta.seed == theta.seed.min()]
        layers = list(theta.part.unique())
        drawing, axes = panels(len(layers) + 1, 1, height=1.9)
        for panel, layer in zip(axes, layers, strict=False):
            part = theta[theta.part == layer]
            values = part.pivot_table(index="episode", columns="step", values="value").to_numpy(float)
            reach = float(np.abs(values).max())
            image = panel.imshow(values, "RdBu_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
            panel.grid(visible=False)
            drawing.colorbar(image, ax=panel, pad=0.01).outline.set_visible(False)
            decorate(panel, f"Weights of {layer}", "", "weight")
        for statistic, stroke in (("of the data set shown", "-"), ("mean", "--")):
            curve = measured.curve(self.model, "test_loss", statistic=statistic)
            label = f"mean over {SHOWN_FROM} data sets" if statistic == "mean" else "the data set shown"
            axes[-1].plot(curve.index, curve[curve.columns.min()], stroke, color=COLOURS[0], label=label)
        decorate(axes[-1], "Test loss", "samples", "cross-entropy, nats")
        axes[-1].set_xlim(*axes[0].get_xlim())
        for panel in axes:
            panel.axvline(half, color="#000000", linestyle=":", linewidth=0.9)
        caption = (
            f"One data set of {half} training and {half} test samples, the median one: the weights of both layers "
            "after each sample, and their loss on the whole test part.  Dotted: the separator."
        )
        return measured.save(drawing, caption, columns=2)
