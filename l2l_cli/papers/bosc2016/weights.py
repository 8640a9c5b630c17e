"""The movement of the weights: which of them move, and when.

Source: Bosc 2016, §4, reads off its figure that both layers move, that some weights stay, and that all stay after the
separator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.bosc2016.recipe import FROZEN, HELD_OUT
from l2l_cli.papers.claims import in_every_seed, shown
from l2l_cli.papers.measured import Measured, name_of
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels

STATIC, MOVED, VANISHED = 0.1, 0.1, 10.0
"""A weight is static if it moves by less than this share of the largest movement in its layer; a layer is updated if it
moves by more than this share of its initial size; updates have vanished if they are so many times smaller."""

METRICS = {
    "static_share": ("share static", ""),
    "update_ratio": ("their ratio", "updates before ÷ after the separator"),
    "rms_move": ("moved in the training part", ""),
}
"""Column of ``_facts`` and note, by metric."""


@dataclass(frozen=True)
class Moves(Artefact):
    """Claims 3 to 5: which weights move, and when.

    Deviation: the paper gives no numbers and no criteria; what counts as moving and as vanishing is ours.

    Attributes:
        learner: Row of the learner whose weights are followed.
        layers: Names of the layers of its model.
    """

    learner: RowName
    layers: list[str]

    def judge(self, measured: Measured) -> Findings:
        """Judge claims 3 to 5 and draw which weights move when."""
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
            "Compared with the same φ and weights frozen after the separator, moving weights change the held-out loss "
            f"by {difference} (below 0, moving helps)."
        )
        means = pd.DataFrame({layer: each.mean() for layer, each in facts.items()}).T
        tables, drawn = [means.rename_axis("layer").reset_index()], [self._draw(measured)]
        section = Section("Which weights move, and when", [text], tables, drawn, claims=_claims(facts))
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
        decorate(axes[0], "Update size", "sample", "mean |Δθ|", "y")
        decorate(axes[1], "Distance moved by the separator", "share of the layer's weights", "distance ÷ the largest")
        caption = (
            "Left: mean absolute update at each step; the separator is dotted.  Right: how far each weight has moved "
            f"by then, root mean square over data sets, sorted; below the dotted line, {STATIC:g}, it counts as "
            "static.  Bands and faint lines: seeds."
        )
        return measured.save(figure, caption, columns=2)


def _facts(measured: Measured, row: str, layer: str) -> pd.DataFrame:
    """Return the facts about a layer, one row per seed."""
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


def _claims(facts: Mapping[str, pd.DataFrame]) -> list[Claim]:
    """Judge each of claims 3 to 5 in every seed; the ``facts`` of a layer have one row per seed."""

    def of_layers(name: str, over: str = "") -> pd.DataFrame:
        return pd.DataFrame({layer: each[name] / each[over] if over else each[name] for layer, each in facts.items()})

    moved = of_layers("moved in the training part", "size at the start")
    drifted = of_layers("moved in the test part", "moved in the training part")
    ratio, static = of_layers("their ratio"), of_layers("share static")
    return [
        in_every_seed(
            "Claim 3, both layers are updated",
            (moved > MOVED).all(axis=1).tolist(),
            f"by the separator a layer has moved by so many times its initial size: {_means(moved, '.2f')}",
        ),
        in_every_seed(
            "Claim 4, updates vanish in the test part though nothing enforces it",
            (ratio >= VANISHED).all(axis=1).tolist(),
            f"they are so many times smaller there: {_means(ratio, '.1f')} (vanished: {VANISHED:g}); the test part "
            f"moves weights by so much of what the training part did: {_means(drifted, '.2f')}",
        ),
        in_every_seed(
            "Claim 5, some weights stay where θ₀ has put them, others move",
            ((static > 0) & (static < 1)).all(axis=1).tolist(),
            f"share of static weights: {_means(static, '.0%')}",
        ),
    ]


def _means(table: pd.DataFrame, form: str) -> str:
    return shown({str(layer): float(value) for layer, value in table.mean().items()}, form)
