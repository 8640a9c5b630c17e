"""What the weights do: the paper's figure, in which one data set is learned, and which weights move, and when.

Source: Bosc 2016, §4, reads off its figure that both layers move, that some weights stay, and that all stay after the
separator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.bosc2016.recipe import FROZEN, HELD_OUT, SHOWN_FROM
from l2l_cli.papers.claims import shown
from l2l_cli.papers.measured import Measured, name_of
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.content import Figure as Drawn
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels
from l2l_cli.results.statistics import Array
from l2l_cli.results.verdicts import Result

FLAT = 0.02
"""Nats by which the mean test loss may change after the separator and still be called flat."""

STATIC = 0.1
"""A weight is static if it moves by less than this fraction of the largest movement in its layer."""

MOVED = 0.1
"""A layer is updated if it moves by more than this fraction of its initial size."""

VANISHED = 10.0
"""Updates have vanished if they are this many times smaller than before."""

LEARNED = "moved in the training part"


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
            f"mean over {SHOWN_FROM} data sets {before:.3f} with θ_0, {end:.3f} at the separator, {after:.3f} at the end",
        )
        return Findings(results, [Section("The figure: a data set is learned", figures=[drawn], claims=[claim])])

    def _draw(self, measured: Measured, half: int) -> Drawn:
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
            f"time, and the loss of θ_t on the whole test part (grey: mean over {SHOWN_FROM} data sets).  The separator is "
            "dotted."
        )
        return measured.save(drawing, caption)


def _heat(axes: Axes, values: Array) -> None:
    reach = float(np.abs(values).max())
    image = axes.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, pad=0.01).outline.set_visible(False)


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
        if self.learner not in measured.run:
            return Findings(self._results(measured, {}))
        facts = {layer: _facts(measured, self.learner, layer) for layer in self.layers}
        standings = measured.standings(HELD_OUT)
        difference = standings.difference(self.learner, name_of(self.learner, FROZEN), "", standings.last(""))
        text = (
            "On test data sets of which the first half is shown; weight matrices alone.  A weight counts as static if "
            f"it moves by less than {STATIC:.0%} of the largest movement in its layer.  The same φ with its weights "
            f"frozen after the separator: moving on is worth {difference} on the held-out loss (below 0, moving helps)."
        )
        table = pd.DataFrame(facts).map(np.mean).T
        claims, drawn = _claims(table), [self._draw(measured)]
        tables = [table.rename_axis("layer").reset_index()]
        section = Section("Which weights move, and when", [text], tables, drawn, claims=claims)
        return Findings(self._results(measured, facts), [section])

    def _results(self, measured: Measured, facts: Mapping[str, Mapping[str, list[float]]]) -> list[Result]:
        metrics = {
            "static_share": ("share static", ""),
            "update_ratio": ("their ratio", "updates before ÷ after the separator"),
            "rms_move": (LEARNED, ""),
        }
        return [
            measured.result(layer, metric, facts.get(layer, {}).get(name, []), note=note)
            for layer in self.layers
            for metric, (name, note) in metrics.items()
        ]

    def _draw(self, measured: Measured) -> Drawn:
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


def _facts(measured: Measured, row: str, layer: str) -> dict[str, list[float]]:
    """Return what is known of a layer by name, one number a seed."""
    facts: dict[str, list[float]] = {}
    updates = measured.curve(row, "update", part=layer)
    moved = measured.curve(row, "moved", part=layer)
    sizes = {name: measured.curve(row, name, part=layer) for name in ("start", "learned", "drifted")}
    half = len(updates) // 2
    for seed in updates.columns:
        before, after = updates[seed].to_numpy()[:half], updates[seed].to_numpy()[half:]
        numbers = {
            "size at the start": sizes["start"][seed].iloc[0],
            LEARNED: sizes["learned"][seed].iloc[0],
            "moved in the test part": sizes["drifted"][seed].iloc[0],
            "share static": (moved[seed] < STATIC * moved[seed].max()).mean(),
            "update, training part": before.mean(),
            "update, test part": after.mean(),
            "their ratio": before.mean() / after.mean(),
        }
        for name, value in numbers.items():
            facts.setdefault(name, []).append(float(value))
    return facts


def _claims(table: pd.DataFrame) -> list[Claim]:
    moved = dict(table[LEARNED] / table["size at the start"])
    drifted = dict(table["moved in the test part"] / table[LEARNED])
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
