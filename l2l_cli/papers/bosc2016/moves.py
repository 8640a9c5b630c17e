"""Which weights move: how far each weight of the model goes, and when.

Source: Bosc 2016, §4, reads off its figure that both layers move, that some weights stay, and that all stay after the
separator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch

from l2l_cli.config.build import build, changed
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.papers.base import Artefact, Findings, RowName, Subject
from l2l_cli.papers.bosc2016.measures import HELD_OUT, matrices, trajectory
from l2l_cli.papers.claims import shown
from l2l_cli.papers.measured import Measured, name_of
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.metrics import Metric
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels
from l2l_cli.results.verdicts import Result
from l2l_cli.runs.building import build_learner
from l2l_cli.tasks.base import Task

SETS = 200
"""Data sets that moves are averaged over, at most; half of each is its training part."""

STATIC = 0.1
"""A weight is static if it moves by less than this fraction of the largest movement in its layer."""

MOVED = 0.1
"""A layer is updated if it moves by more than this fraction of its initial size."""

VANISHED = 10.0
"""Updates have vanished if they are this many times smaller than before."""

LEARNED = "moved in the training part"

FROZEN = "frozen after the separator"
"""Variant with the same φ where hidden targets leave the weights alone."""


@torch.no_grad()
def move_rows(subject: Subject) -> Iterator[Metric]:
    """Yield updates at each step, how far each weight went, and what moving after the separator is worth."""
    learner, settings = subject.learner, subject.settings
    if not isinstance(learner, WeightsInCell):
        return
    row = partial(Metric, subject.name, subject.seed)
    sets = min(SETS, settings.evaluation.episodes)
    task: Task = build(changed(settings.task, {"share": [0.5, 0.5]}, "task"), "task")
    thetas = trajectory(learner.on(task), sets, settings.evaluation.seeds[0])
    half = task.horizon // 2
    for layer, span in matrices(task).items():
        theta = thetas[:, :, span]
        for step, value in enumerate(theta.diff(dim=0).abs().mean((1, 2)).tolist(), start=1):
            yield row("update", value, step, statistic="mean", part=layer)
        for index, value in enumerate((theta[half] - theta[0]).square().mean(0).sqrt().tolist()):
            yield row("moved", value, index, statistic="root mean square", part=layer)
        sizes = {"start": theta[0, 0], "learned": theta[half] - theta[0], "drifted": theta[-1] - theta[half]}
        for name, values in sizes.items():
            yield row(name, values.square().mean().sqrt().item(), statistic="root mean square", part=layer)
    node = changed(settings.learner, {"after_separator": "frozen"}, "learner")
    frozen = build_learner(settings, subject.task, node=node)
    frozen.load_state_dict(learner.state_dict())
    for entry in subject.entries():
        yield from subject.scores(entry._replace(learner=frozen, identity={"learner": node}), variant=FROZEN)


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
