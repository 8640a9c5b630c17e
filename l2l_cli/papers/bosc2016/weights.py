"""What the weights do: the paper's figure, in which one data set is learned, and which weights move, and when.

Source: Bosc 2016, §4, reads off its figure that both layers move, that some weights stay, and that all stay after the
separator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.bosc2016.recipe import FROZEN, HELD_OUT, SHOWN_FROM
from l2l_cli.papers.claims import shown
from l2l_cli.papers.measured import Measured, name_of
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels

FLAT = 0.02
"""Nats by which the mean test loss may change after the separator and still be called flat."""

STATIC, MOVED, VANISHED = 0.1, 0.1, 10.0
"""A weight is static if it moves by less than this share of the largest movement in its layer; a layer is updated if it
moves by more than this share of its initial size; updates have vanished if they are so many times smaller."""

METRICS = {
    "static_share": ("share static", ""),
    "update_ratio": ("their ratio", "updates before ÷ after the separator"),
    "rms_move": ("moved in the training part", ""),
}
"""Fact and note of each result."""


@dataclass(frozen=True)
class LearnedDataSet(Artefact):
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
            f"mean over data sets {before:.3f} with θ_0, {end:.3f} at the separator, {after:.3f} at the end",
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
        for statistic, colour in (("mean", LIMIT), ("of the data set shown", COLOURS[0])):
            curve = measured.curve(self.model, "test_loss", statistic=statistic)
            axes[-1].plot(curve.index, curve[curve.columns.min()], color=colour)
        decorate(axes[-1], "Test loss of θ_t", "samples", "cross-entropy")
        axes[-1].set_xlim(*axes[0].get_xlim())
        for panel in axes:
            panel.axvline(half, color="#000000", linestyle=":", linewidth=0.9)
        caption = (
            "One data set of 50 training and 50 test samples, the median one: weight matrices of both layers against "
            f"time, and the loss of θ_t on the whole test part (grey: mean over {SHOWN_FROM} data sets).  Dotted: the "
            "separator."
        )
        return measured.save(drawing, caption)


@dataclass(frozen=True)
class Moves(Artefact):
    """Claims 3 to 5: who moves, and when.

    Deviation: the paper gives no numbers and no criteria; what counts as moving and as vanishing is ours.

    Attributes:
        learner: Row of the learner whose weights are followed.
        layers: Names of the layers of its model.
    """

    learner: RowName
    layers: list[str]

    def judge(self, measured: Measured) -> Findings:
        """Judge claims 3 to 5 and draw who moves when."""
        run = self.learner in measured.run
        facts = {layer: _facts(measured, self.learner, layer) for layer in self.layers if run}
        results = [
            measured.result(layer, metric, facts[layer][name].tolist() if run else [], note=note)
            for layer in self.layers
            for metric, (name, note) in METRICS.items()
        ]
        if not run:
            return Findings(results)
        standings = measured.standings(HELD_OUT)
        difference = standings.difference(self.learner, name_of(self.learner, FROZEN), "", standings.last(""))
        text = (
            "The same φ with its weights frozen after the separator: moving on is worth "
            f"{difference} on the held-out loss (below 0, moving helps)."
        )
        means = pd.DataFrame({layer: each.mean() for layer, each in facts.items()}).T
        tables, drawn = [means.rename_axis("layer").reset_index()], [self._draw(measured)]
        section = Section("Which weights move, and when", [text], tables, drawn, claims=_claims(means))
        return Findings(results, [section])

    def _draw(self, measured: Measured) -> Figure:
        figure, axes = panels(1, 2, height=3.0)
        for layer, colour in zip(self.layers, COLOURS, strict=False):
            table = measured.curve(self.learner, "update", part=layer, variant="")
            axes[0].plot(table.index, table.mean(axis=1), color=colour, label=layer)
            axes[0].fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.15, lw=0)
            for _, seed in measured.select(self.learner, "moved", part=layer).groupby("seed"):
                values = np.sort(seed.value.to_numpy(float))[::-1]
                axes[1].plot(np.arange(len(values)) / len(values), values / values.max(), color=colour, alpha=0.6)
        axes[0].axvline(measured.select(self.learner, "update").step.max() / 2, color=LIMIT, linestyle=":")
        axes[1].axhline(STATIC, color=LIMIT, linestyle=":")
        axes[0].legend()
        decorate(axes[0], "Update size", "sample", "mean |Δθ|", "y")
        decorate(axes[1], "Distance gone by the separator", "share of the layer's weights", "÷ the largest")
        caption = (
            "Left: mean absolute update at each step; the separator is dotted.  Right: how far each weight has gone by "
            "then, root mean square over data sets, sorted.  Bands and faint lines: seeds."
        )
        return measured.save(figure, caption)


def _facts(measured: Measured, row: str, layer: str) -> pd.DataFrame:
    """Return what is known of a layer, one row a seed."""
    updates, moved, *sizes = (
        measured.curve(row, metric, part=layer) for metric in ("update", "moved", "start", "learned", "drifted")
    )
    start, learned, drifted = (size.iloc[0] for size in sizes)
    parts = updates.iloc[: len(updates) // 2], updates.iloc[len(updates) // 2 :]
    before, after = (part.apply(lambda seed: seed.to_numpy().mean()) for part in parts)
    return pd.DataFrame(
        {
            "size at the start": start,
            "moved in the training part": learned,
            "moved in the test part": drifted,
            "share static": (moved < STATIC * moved.max()).mean(),
            "update, training part": before,
            "update, test part": after,
            "their ratio": before / after,
        }
    )


def _claims(table: pd.DataFrame) -> list[Claim]:
    moved = dict(table["moved in the training part"] / table["size at the start"])
    drifted = dict(table["moved in the test part"] / table["moved in the training part"])
    ratio, static = dict(table["their ratio"]), dict(table["share static"])
    return [
        Claim(
            "Claim 3, both layers are updated",
            min(moved.values()) > MOVED,
            f"by the separator a layer has moved by so many times its initial size: {shown(moved, '.2f')}",
        ),
        Claim(
            "Claim 4, updates vanish in the test part though nothing enforces it",
            min(ratio.values()) >= VANISHED,
            f"they are so many times smaller there: {shown(ratio, '.1f')} (vanished: {VANISHED:g}); the test part "
            f"moves weights by so much of what the training part did: {shown(drifted, '.2f')}",
        ),
        Claim(
            "Claim 5, some weights stay where θ_0 has put them, others move",
            all(0.0 < value < 1.0 for value in static.values()),
            f"share of static weights: {shown(static, '.0%')}",
        ),
    ]
