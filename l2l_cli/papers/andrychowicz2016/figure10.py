"""Figure 10: what rules propose for single coordinates, shown the same gradients.

Source: Andrychowicz et al. 2016, appendix B.

Deviation: one hand-made rule walks, and all the others are shown the gradients along its way; the paper does not say
whose trajectory its figure follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import FirstOrder
from l2l_cli.optimizers.sgd import Nesterov
from l2l_cli.papers.andrychowicz2016.measures import Entry
from l2l_cli.papers.andrychowicz2016.style import styles_of
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.drawing import legend
from l2l_cli.results.frame import Metric
from l2l_cli.results.plot import decorate, panels, save
from l2l_cli.results.report import Figure, Section
from l2l_cli.tasks.base import Task

COORDINATES = ("steepest", "typical")
"""The parameter with the largest mean square of its gradients along the way, and the one in the middle."""

PROBES, HISTORY = 81, 50
"""Gradients that a rule is probed with, in place of the next one, after so many real ones."""

WIDEST = 3.0
"""Largest probe, in root mean squares of the coordinate's own gradients."""

WALK = Nesterov(lr=0.3, momentum=0.9)
"""Who walks."""

TEXT = (
    "All rules are shown the same gradients of two parameters of the base network, along the way of NAG with rate "
    f"{WALK.lr}.  Above: what each proposes at every step, against the gradient at that step; a rule without a memory "
    f"gives a line.  Below: what it would propose after {HISTORY} of those gradients if the next one were another.",
)


@torch.no_grad()
def update_rows(row: str, entry: Entry, seed: int) -> Iterator[Metric]:
    """Yield updates proposed along the common way, and the response to probes; nothing for rules that need more."""
    if not isinstance(entry.learner, Descent) or not isinstance(entry.learner.rule, FirstOrder):
        return
    rule: FirstOrder[object] = entry.learner.rule
    ways = history(entry.learner.task, entry.steps)
    for index, name in enumerate(COORDINATES):
        way = ways[:, index]
        after = min(HISTORY, len(way) - 1)
        probes = torch.linspace(-WIDEST, WIDEST, PROBES) * way.square().mean().sqrt()
        memory = rule.init({"theta": torch.zeros(PROBES, 1)})
        for step, gradient in enumerate(way.tolist(), start=1):
            if step == after + 1:
                answers, _ = rule.update({"theta": probes[:, None]}, memory)
                yield from _pairs(row, seed, name, "probe", enumerate(zip(probes, answers["theta"], strict=True)))
            answer, memory = rule.update({"theta": torch.full((PROBES, 1), gradient)}, memory)
            yield from _pairs(row, seed, name, "way", [(step, (gradient, answer["theta"][0]))])


def _pairs(row: str, seed: int, name: str, split: str, pairs: Iterable[tuple[int, Any]]) -> Iterator[Metric]:
    for step, (gradient, update) in pairs:
        yield Metric(row, seed, name, step, split, "gradient", float(gradient))
        yield Metric(row, seed, name, step, split, "move", float(update))


def history(task: Task, steps: int) -> Tensor:
    """Return the gradients of the two coordinates along the common way, (T, 2)."""
    params = task.model.init(1, generator(0, "figure10"))
    episode, memory, gradients = task.sample(1, 0, Phase.TEST), WALK.init(params), []
    for step in range(steps):
        point = Point(task.model, task.loss, params, episode.batch(step))
        gradients.append(torch.cat([value.flatten() for value in point.grad.values()]))
        params, memory = WALK.step(point, memory)
        params = {name: value.detach() for name, value in params.items()}
    found = torch.stack(gradients)
    order = found.square().mean(0).argsort(descending=True)
    moved = int((found.abs().amax(0) > 0).sum())  # pixels that are never on have no gradient
    return found[:, [int(order[0]), int(order[moved // 2])]]


def figure10(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Draw updates against gradients; there is no number to judge."""
    parts = [frame[frame.metric.isin(("gradient", "move"))] for frame in rows.values() if len(frame)]
    if not parts:
        return Artefact([])
    pairs = pd.concat(parts).pivot_table(
        index=["contender", "seed", "episode", "split", "step"], columns="metric", values="value"
    )
    pairs = pairs.reset_index()
    order = [row for row in rows if (pairs.contender == row).any()]
    figure, axes = panels(2, len(COORDINATES), height=2.8)
    for panel, (split, name) in zip(axes, [(s, n) for s in ("way", "probe") for n in COORDINATES], strict=True):
        first = pairs[(pairs.split == split) & (pairs.episode == name) & (pairs.seed == pairs.seed.min())]
        _draw(panel, first, order, split)
        title = f"{name} parameter, {'along the way' if split == 'way' else 'probed'}"
        decorate(panel, title, "gradient", "proposed update")
    legend(figure, axes[-1:], published=False)
    save(figure, folder / "figures" / "figure10")
    caption = "Proposed update against gradient for two parameters (seed 0); all rules see the same gradients."
    text = [*TEXT, *_steepness(pairs, order)]
    drawn = Figure(folder / "figures" / "figure10.png", caption)
    return Artefact([], [Section("Figure 10: proposed updates", text, figures=[drawn])])


def _draw(axes: Axes, pairs: pd.DataFrame, order: list[str], split: str) -> None:
    styles = styles_of(order)
    for name in order:
        part = pairs[pairs.contender == name].sort_values("gradient")
        if split == "way":
            colour = styles[name]["color"]
            axes.plot(part.gradient, part.move, "o", color=colour, markersize=2.5, alpha=0.6, label=name)
        else:
            axes.plot(part.gradient, part.move, label=name, **styles[name])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.axhline(0.0, color="#999999", linewidth=0.6, zorder=1)
    axes.axvline(0.0, color="#999999", linewidth=0.6, zorder=1)


def _steepness(pairs: pd.DataFrame, order: list[str]) -> list[str]:
    """Return how large each rule's updates are, and how closely they follow the present gradient."""
    parts = []
    for name in order:
        way = pairs[(pairs.contender == name) & (pairs.split == "way") & (pairs.episode == COORDINATES[0])]
        if way.move.std() > 0 and way.gradient.std() > 0:
            size, tie = (way.move**2).mean() ** 0.5, -way.move.corr(way.gradient)
            parts.append(f"{name} {size:.2g} ({tie:+.2f})")
    if not parts:
        return []
    return [
        "Root mean square of the updates of the steepest parameter, and in brackets their correlation with minus the "
        f"present gradient: {', '.join(parts)}.  A rule that averages over past gradients follows the present one less."
    ]
