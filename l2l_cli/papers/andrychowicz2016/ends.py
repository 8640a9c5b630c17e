"""Where a learned rule ends, and why: how far it moves, along what, and how much of its memory is saturated.

The numbers are those of contenders as they are scored, hand-made ones as tuned, on a few test problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Params, Phase
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.lstm_cell import LSTMStates
from l2l_cli.papers.andrychowicz2016.measures import Entry
from l2l_cli.papers.andrychowicz2016.style import styles_of
from l2l_cli.papers.drawing import legend, plain_numbers
from l2l_cli.results.frame import Metric
from l2l_cli.results.plot import curves, decorate, panels, save
from l2l_cli.results.report import Figure, Section

EPISODES, EVERY = 4, 3
"""Test problems that are followed, and updates between two looks."""

SATURATED = 0.99
"""A cell is saturated where |tanh c| is above: it answers to nothing that happens within a few steps."""

MOVE, ALONG, FULL, GRADIENT = "move", "along", "saturated", "gradient"

TEXT = (
    f"Root mean squares over the coordinates that have a gradient, means over {EPISODES} test problems.  *Along* is "
    "the cosine between a move and the gradient just shown, downhill: near 1 a rule follows each minibatch and its "
    "noise, lower it averages over many.  *Saturated* is the share of the last layer's cells with |tanh c| > "
    f"{SATURATED}."
)


@torch.no_grad()
def end_rows(row: str, entry: Entry, seed: int) -> Iterator[Metric]:
    """Yield sizes of moves and gradients, their cosine, and a learned rule's saturation, along an episode."""
    learner = entry.learner
    if not isinstance(learner, Descent):
        return
    task = learner.task
    episode = task.sample(EPISODES, entry.plan.seeds[0], Phase.TEST)
    state = learner.init(EPISODES, generator(entry.plan.seeds[0], "ends"))
    for step in range(entry.steps):
        batch = episode.batch(step)
        after, _ = learner.step(state, batch)
        if step % EVERY == 0 or step == entry.steps - 1:
            grad = _flat(Point(task.model, task.loss, state.params, batch).grad)
            move = _flat(after.params) - _flat(state.params)
            for name, value in _sizes(grad, move, after.memory).items():
                yield Metric(row, seed, "mean", step + 1, entry.problem, name, value)
        state = after


def _sizes(grad: torch.Tensor, move: torch.Tensor, memory: object) -> dict[str, float]:
    live = grad != 0
    grad, move = grad[live], move[live]
    found = {
        GRADIENT: grad.square().mean().sqrt().item(),
        MOVE: move.square().mean().sqrt().item(),
        ALONG: -torch.nn.functional.cosine_similarity(grad, move, dim=0).item(),
    }
    if isinstance(memory, LSTMStates):
        cell = memory.cell[-1][:, live]
        found[FULL] = (cell.tanh().abs() > SATURATED).double().mean().item()
    return found


def _flat(params: Params) -> torch.Tensor:
    return torch.cat([value.flatten() for value in params.values()])


def end_sections(rows: Mapping[str, pd.DataFrame], problems: Sequence[str], folder: Path) -> list[Section]:
    """Return one section with a table and a figure; nothing if nothing was followed."""
    frame = pd.concat([part[part.metric.isin([MOVE, ALONG, FULL, GRADIENT])] for part in rows.values() if len(part)])
    frame = frame[frame.split.isin(problems)]
    if not len(frame):
        return []
    path = folder / "figures" / "beyond_moves.png"
    _draw(frame, problems, path)
    last = frame[frame.step == frame.groupby("split").step.transform("max")]
    table = last.pivot_table(index=["split", "contender"], columns="metric", values="value", sort=False).reset_index()
    table = table.reindex(columns=["split", "contender", GRADIENT, MOVE, ALONG, FULL])
    table = table.rename(columns={"split": "problem", GRADIENT: "gradient", FULL: "saturated"})
    caption = "Size of moves, and how far they follow the gradient just shown, along an episode."
    return [Section("Where a rule ends, and why: after the last update", [TEXT], [table], [Figure(path, caption)])]


def _draw(frame: pd.DataFrame, problems: Sequence[str], path: Path) -> None:
    figure, axes = panels(2, len(problems), height=2.4)
    order = list(frame.contender.unique())
    for index, problem in enumerate(problems):
        for panel, metric in zip((axes[index], axes[index + len(problems)]), (MOVE, ALONG), strict=True):
            part = frame[(frame.split == problem) & (frame.metric == metric)]
            curves(panel, part, order, styles_of(order), x="step")
            name = {MOVE: "move, root mean square", ALONG: "along the gradient"}[metric] if index == 0 else ""
            decorate(panel, problem if metric == MOVE else "", "updates" if metric == ALONG else "", name)
        axes[index].set_yscale("log")
        plain_numbers(axes[index].yaxis)
    legend(figure, axes, published=False)
    save(figure, path.with_suffix(""))
