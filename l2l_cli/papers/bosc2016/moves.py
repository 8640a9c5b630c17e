"""Who moves: how far each weight of the model goes, and when.

Source: Bosc 2016, §4, reads off its figure that both layers move, that some weights stay, and that all stay after the
separator.  Deviation: the paper gives no numbers and no criteria; what counts as moving and as vanishing is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from l2l_cli.config.build import build, changed
from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.weights_in_cell import WeightsInCell
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.bosc2016.measures import losses_of, score_rows, scores_of
from l2l_cli.papers.bosc2016.published import LEARNED
from l2l_cli.papers.shared import BASE, Claim, listed
from l2l_cli.results.frame import Metric, Result, summarise
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels, save
from l2l_cli.results.report import Figure, Section
from l2l_cli.runs.building import build_learner
from l2l_cli.runs.loading import Trained
from l2l_cli.tasks.base import Task

SETS = 200
"""Data sets that moves are averaged over, at most; half of each is its training part."""

STATIC = 0.1
"""A weight is static if it moves less than this share of what the most mobile one of its layer does."""

MOVES = 0.1
"""A layer is updated if it moves by more than this share of its initial size."""

VANISHED = 10.0
"""Updates have vanished if they are this many times smaller than before."""

FROZEN = "base, frozen after the separator"
"""The same φ where hidden targets leave the weights alone."""


def matrices(task: Task) -> dict[str, slice]:
    """Return where each layer's weight matrix lies among the model's flattened parameters."""
    found: dict[str, slice] = {}
    start = 0
    for name, shape in task.model.shapes.items():
        stop = start + int(np.prod(shape))
        if name.endswith("weight"):
            found[f"layer {len(found) + 1}"] = slice(start, stop)
        start = stop
    return found


def trajectory(learner: WeightsInCell, sets: int, seed: int) -> Tensor:
    """Return θ_t of test data sets, from θ_0 on, (T + 1, E, P)."""
    episode = learner.task.sample(sets, seed, Phase.TEST)
    state = learner.init(sets, generator(seed, "moves"))
    way = [learner.start.expand(sets, -1)]
    for step in range(learner.task.horizon):
        state, _ = learner.step(state, episode.batch(step))
        way.append(state.params)
    return torch.stack(way)


@torch.no_grad()
def move_rows(row: str, trained: Trained) -> Iterator[Metric]:
    """Yield updates at each step, how far each weight went, and what moving after the separator is worth."""
    learner, settings = trained.learner, trained.settings
    if not isinstance(learner, WeightsInCell):
        return
    seed, sets = settings.seed, min(SETS, settings.evaluation.episodes)
    task: Task = build(changed(settings.task, {"share": [0.5, 0.5]}, "task"), "task")
    way = trajectory(learner.on(task), sets, settings.evaluation.seeds[0])
    half = task.horizon // 2
    for layer, where in matrices(task).items():
        theta = way[:, :, where]
        updates = theta.diff(dim=0).abs().mean((1, 2))
        for step, value in enumerate(updates.tolist(), start=1):
            yield Metric(row, seed, "mean", step, layer, "update", value)
        moved = (theta[half] - theta[0]).square().mean(0).sqrt()
        for index, value in enumerate(moved.tolist()):
            yield Metric(row, seed, "weight", index, layer, "moved", value)
        sizes = {"start": theta[0, 0], "learned": theta[half] - theta[0], "drifted": theta[-1] - theta[half]}
        for name, values in sizes.items():
            yield Metric(row, seed, "rms", 0, layer, name, values.square().mean().sqrt().item())
    yield from _frozen_rows(row, trained)


def _frozen_rows(row: str, trained: Trained) -> Iterator[Metric]:
    """Yield the losses of the same φ with weights that stay after the separator."""
    settings = trained.settings
    node = changed(settings.learner, {"after_separator": "frozen"}, "learner")
    frozen = build_learner(settings, trained.task, node=node)
    frozen.load_state_dict(trained.learner.state_dict())
    yield from score_rows(row, settings.seed, FROZEN, scores_of(frozen, settings.evaluation))


def moves(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge claims 3 to 5 and draw who moves when."""
    frame = rows[LEARNED]
    if not len(frame):
        return Artefact(_results({}))
    layers = [str(name) for name in frame[frame.metric == "update"].split.unique()]
    found = {layer: _facts(frame[frame.split == layer]) for layer in layers}
    duel = losses_of({LEARNED: frame[frame.split.isin([BASE])], FROZEN: _renamed(frame)}).duel(LEARNED, FROZEN)
    path = folder / "figures" / "moves"
    _draw(frame, layers, path)
    text = [
        f"On test data sets of which the first half is shown; weight matrices alone.  {STATIC:.0%} of its layer's most "
        f"mobile weight is where a weight counts as static.  The same φ with its weights frozen after the separator: "
        f"moving on is worth {duel} on the held-out loss (below 0, moving helps).",
        listed(_claims(found)),
    ]
    table = pd.DataFrame(
        [{"layer": layer, **{key: np.mean(value) for key, value in facts.items()}} for layer, facts in found.items()]
    )
    caption = (
        "Left: mean absolute update at each step; the separator is dotted.  Right: how far each weight has gone by "
        "then, root mean square over data sets, sorted.  Bands and faint lines: seeds."
    )
    drawn = [Figure(path.with_suffix(".png"), caption)]
    return Artefact(_results(found), [Section("Who moves, and when", text, [table], drawn)])


def _renamed(frame: pd.DataFrame) -> pd.DataFrame:
    part = frame[frame.split == FROZEN]
    return part.assign(split=BASE)


def _facts(frame: pd.DataFrame) -> dict[str, list[float]]:
    """Return what is known of a layer by name, one number a seed."""
    facts: dict[str, list[float]] = {}
    for _, part in frame.groupby("seed"):
        updates = part[part.metric == "update"].sort_values("step").value.to_numpy(float)
        moved = part[part.metric == "moved"].value.to_numpy(float)
        sizes = part[part.episode == "rms"].set_index("metric").value
        half = len(updates) // 2
        seed = {
            "size at the start": sizes["start"],
            "moved in the training part": sizes["learned"],
            "moved in the test part": sizes["drifted"],
            "share static": float((moved < STATIC * moved.max()).mean()),
            "update, training part": float(updates[:half].mean()),
            "update, test part": float(updates[half:].mean()),
            "their ratio": float(updates[:half].mean() / updates[half:].mean()),
        }
        for name, value in seed.items():
            facts.setdefault(name, []).append(float(value))
    return facts


def _results(found: Mapping[str, Mapping[str, list[float]]]) -> list[Result]:
    names = {"share static": "static_share", "their ratio": "update_ratio", "moved in the training part": "rms_move"}
    return [
        summarise(("moves", layer, metric), list(found.get(layer, {}).get(name, [])), None, None, note)
        for layer in (found or {"layer 1": {}, "layer 2": {}})
        for name, metric in names.items()
        for note in ["updates before ÷ after the separator" if metric == "update_ratio" else ""]
    ]


def _claims(found: Mapping[str, Mapping[str, list[float]]]) -> list[Claim]:
    def of(name: str) -> dict[str, float]:
        return {layer: float(np.mean(facts[name])) for layer, facts in found.items()}

    def shown(values: Mapping[str, float], form: str) -> str:
        return ", ".join(f"{layer} {value:{form}}" for layer, value in values.items())

    moved = {layer: value / of("size at the start")[layer] for layer, value in of("moved in the training part").items()}
    ratio, static = of("their ratio"), of("share static")
    back = {
        layer: value / of("moved in the training part")[layer] for layer, value in of("moved in the test part").items()
    }
    return [
        Claim(
            "Claim 3, both layers are updated",
            min(moved.values()) > MOVES,
            f"by the separator a layer has moved by so many times its initial size: {shown(moved, '.2f')}",
        ),
        Claim(
            "Claim 4, updates vanish in the test part though nothing enforces it",
            min(ratio.values()) >= VANISHED,
            f"they are so many times smaller there: {shown(ratio, '.1f')} (vanished: {VANISHED:g}); the test part "
            f"moves weights by so much of what the training part did: {shown(back, '.2f')}",
        ),
        Claim(
            "Claim 5, some weights stay where θ_0 has put them, others move",
            all(0.0 < value < 1.0 for value in static.values()),
            f"share of static weights: {shown(static, '.0%')}",
        ),
    ]


def _draw(frame: pd.DataFrame, layers: list[str], path: Path) -> None:
    figure, axes = panels(1, 2, height=3.0)
    for layer, colour in zip(layers, COLOURS, strict=False):
        part = frame[frame.split == layer]
        table = part[part.metric == "update"].pivot_table(index="step", columns="seed", values="value")
        axes[0].plot(table.index, table.mean(axis=1), color=colour, label=layer)
        axes[0].fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.15, lw=0)
        for _, seed in part[part.metric == "moved"].groupby("seed"):
            values: Any = np.sort(seed.value.to_numpy(float))[::-1]
            axes[1].plot(np.arange(len(values)) / len(values), values / values.max(), color=colour, alpha=0.6)
    axes[0].axvline(frame[frame.metric == "update"].step.max() / 2, color=LIMIT, linestyle=":")
    axes[1].axhline(STATIC, color=LIMIT, linestyle=":")
    axes[0].legend()
    decorate(axes[0], "Update size", "sample", "mean |Δθ|", "y")
    decorate(axes[1], "Distance gone by the separator", "share of the layer's weights", "÷ the largest")
    save(figure, path)
