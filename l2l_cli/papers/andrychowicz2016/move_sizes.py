"""Move sizes: how far a rule moves, in which direction, and how much of a learned rule's memory is saturated.

They are measured on a few test problems, for contenders as they are scored, so hand-made rules are tuned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.core.vectors import flattened
from l2l_cli.evaluation.contest import Entry
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.lstm_cell import LSTMStates
from l2l_cli.papers.base import Subject
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Figure, Section
from l2l_cli.results.lines import emphasised, finite_curves
from l2l_cli.results.metrics import Metric
from l2l_cli.results.plot import decorate, panels

EPISODES, EVERY = 4, 3
"""Number of test episodes that are followed, and number of updates between two measurements."""

SATURATED = 0.99
"""Value of |tanh c| above which a cell is saturated: it responds to nothing that happens within a few steps."""

GRADIENT, MOVE, ALONG, FULL = SIZES = "gradient", "move", "along", "saturated"
"""Metrics: root mean squares of the gradient and of the move, their cosine, and the share of saturated cells."""

TEXT = (
    f"Root mean squares over the coordinates that have a gradient, means over {EPISODES} test problems.  *Along* is "
    "the cosine between a move and the negative gradient of its step: near 1 a rule follows each minibatch and its "
    "noise, lower it averages over many.  *Saturated* is the share of the last layer's cells with |tanh c| > "
    f"{SATURATED}."
)


@torch.no_grad()
def move_size_rows(subject: Subject, entry: Entry) -> Iterator[Metric]:
    """Yield sizes of moves and gradients, their cosine, and a learned rule's saturation, along an episode."""
    learner, problem = entry.learner, entry.problem
    if not isinstance(learner, Descent):
        return
    episode = problem.task.sample(EPISODES, problem.plan.seeds[0], Phase.TEST)
    state = learner.init(EPISODES, generator(problem.plan.seeds[0], "ends"))
    for step in range(problem.steps):
        batch = episode.batch(step)
        after, _ = learner.step(state, batch)
        if step % EVERY == 0 or step == problem.steps - 1:
            grad = flattened(Point(problem.task.model, problem.task.loss, state.params, batch).grad)
            move = flattened(after.params) - flattened(state.params)
            for name, value in _sizes(grad, move, after.memory).items():
                row = Metric(subject.name, subject.seed, name, value, step + 1, problem=problem.name)
                yield row._replace(statistic="mean")
        state = after


def _sizes(grad: Tensor, move: Tensor, memory: object) -> dict[str, float]:
    live = grad != 0
    cells = memory.cell[-1] if isinstance(memory, LSTMStates) else None  # (H, C)
    grad, move = grad[live], move[live]
    sizes = {
        GRADIENT: grad.square().mean().sqrt().item(),
        MOVE: move.square().mean().sqrt().item(),
        ALONG: -torch.nn.functional.cosine_similarity(grad, move, dim=0).item(),
    }
    return sizes | ({} if cells is None else {FULL: (cells[:, live].tanh().abs() > SATURATED).double().mean().item()})


def move_size_sections(measured: Measured, problems: Collection[str]) -> list[Section]:
    """Return one section with a table and a figure; none if no moves were measured."""
    frame = pd.concat([measured.frames[row] for row in measured.run])
    frame = frame[frame.metric.isin(SIZES) & frame.problem.isin(problems) & (frame.statistic == "mean")]
    if not len(frame):
        return []
    last = frame[frame.step == frame.groupby("problem").step.transform("max")]
    table = last.pivot_table(index=["problem", "contender"], columns="metric", values="value", sort=False)
    table = table.reset_index().reindex(columns=["problem", "contender", *SIZES])
    title = "Move sizes: length and direction of a rule's last update"
    return [Section(title, [TEXT], [table], [_draw(measured, frame, list(problems))])]


def _draw(measured: Measured, frame: pd.DataFrame, problems: Sequence[str]) -> Figure:
    figure, axes = panels(2, len(problems), height=2.4)
    run = set(frame.contender)
    styles = emphasised([name for name in measured.styles() if name in run], measured.styles())
    for index, problem in enumerate(problems):
        for panel, metric in zip((axes[index], axes[index + len(problems)]), (MOVE, ALONG), strict=True):
            part = frame[(frame.problem == problem) & (frame.metric == metric)]
            finite_curves(panel, part.rename(columns={"step": "updates"}), styles, log=metric == MOVE)
            name = {MOVE: "size of a move, RMS", ALONG: "cosine with −gradient"}[metric] if index == 0 else ""
            decorate(panel, problem if metric == MOVE else "", "updates" if metric == ALONG else "", name)
    caption = "Size of moves, and how far they follow the negative gradient of their step, along an episode."
    return measured.save(figure, caption, "_move_sizes", columns=5)
