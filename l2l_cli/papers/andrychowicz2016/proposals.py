"""Figure 10: the updates that rules propose for single coordinates, given the same gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.core.vectors import flattened
from l2l_cli.evaluation.contest import Entry
from l2l_cli.learners.descent import Descent
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import FirstOrder
from l2l_cli.optimizers.sgd import Nesterov
from l2l_cli.papers.base import Artefact, Findings, Subject
from l2l_cli.papers.measured import Measured
from l2l_cli.results.content import Section
from l2l_cli.results.lines import Style, emphasised
from l2l_cli.results.metrics import Metric
from l2l_cli.results.plot import decorate, legend, panels
from l2l_cli.results.statistics import mean_of
from l2l_cli.results.verdicts import Result
from l2l_cli.tasks.base import Task

COORDINATES = ("steepest", "typical")
"""The parameters with the largest and with the middle mean square of their gradients along the trajectory."""

GIVEN, PROPOSED, TRAJECTORY, PROBE = "gradient", "proposed update", "trajectory", "probe"
"""Two metrics, and two splits: gradients in sequence, and one of many probes in place of the next gradient."""

PROBES, HISTORY, WIDEST = 81, 50, 3.0
"""Number of probes that take the place of the next gradient, number of gradients given before them, and the largest
probe, in units of the root mean square of the coordinate's gradients."""

SIZE, FOLLOWS = "size of the updates", "correlation"
"""Metrics of a rule's updates of the steepest parameter along the trajectory: their root mean square, and their
correlation with the negative gradient of the same step."""

WALK = Nesterov(lr=0.3, momentum=0.9)
"""Rule whose trajectory gives the gradients."""


@torch.no_grad()
def proposal_rows(subject: Subject, entry: Entry) -> Iterator[Metric]:
    """Yield the updates proposed along the trajectory and for probes; none for rules that need more than gradients."""
    if not isinstance(entry.learner, Descent) or not isinstance(entry.learner.rule, FirstOrder):
        return
    rule: FirstOrder[object] = entry.learner.rule
    blank = Metric(subject.name, subject.seed, "", 0.0, problem=entry.problem.name)
    for name, gradients in zip(COORDINATES, history(entry.learner.task, entry.problem.steps).T, strict=True):
        after = min(HISTORY, len(gradients) - 1)
        probes = torch.linspace(-WIDEST, WIDEST, PROBES) * gradients.square().mean().sqrt()
        memory = rule.init({"theta": torch.zeros(PROBES, 1)})
        for step, gradient in enumerate(gradients.tolist(), start=1):
            if step == after + 1:
                answers, _ = rule.update({"theta": probes[:, None]}, memory)
                pairs = enumerate(zip(probes.tolist(), answers["theta"].flatten().tolist(), strict=True))
                yield from _pairs(blank._replace(part=name, split=PROBE), pairs)
            answer, memory = rule.update({"theta": torch.full((PROBES, 1), gradient)}, memory)
            pair = (step, (gradient, answer["theta"][0].item()))
            yield from _pairs(blank._replace(part=name, split=TRAJECTORY), [pair])


def _pairs(blank: Metric, pairs: Iterable[tuple[int, tuple[float, float]]]) -> Iterator[Metric]:
    for step, (gradient, update) in pairs:
        yield blank._replace(metric=GIVEN, step=step, value=gradient)
        yield blank._replace(metric=PROPOSED, step=step, value=update)


def history(task: Task, steps: int) -> Tensor:
    """Return the gradients of the two coordinates along the trajectory, (T, 2)."""
    params = task.model.init(1, generator(0, "figure10"))
    episode, memory, gradients = task.sample(1, 0, Phase.TEST), WALK.init(params), []
    for step in range(steps):
        point = Point(task.model, task.loss, params, episode.batch(step))
        gradients.append(flattened(point.grad))
        params, memory = WALK.step(point, memory)
        params = {name: value.detach() for name, value in params.items()}
    stacked = torch.stack(gradients)
    order = stacked.square().mean(0).argsort(descending=True)
    moved = int((stacked.abs().amax(0) > 0).sum())  # pixels that are never on have no gradient
    return stacked[:, [int(order[0]), int(order[moved // 2])]]


class ProposedUpdates(Artefact):
    """Proposed updates against gradients; the paper prints no number to judge them by.

    Source: Andrychowicz et al. 2016, appendix B.

    Deviation: one hand-made rule moves, and all the others are given the gradients along its trajectory; the paper does
    not say whose trajectory its figure follows.
    """

    def judge(self, measured: Measured) -> Findings:
        """Draw the proposed updates."""
        if not measured.run:
            return Findings([])
        pairs = pd.concat([measured.frames[row] for row in measured.run])
        pairs = pairs[pairs.metric.isin((GIVEN, PROPOSED)) & pairs.part.isin(COORDINATES)]
        index = ["contender", "seed", "part", "split", "step"]
        pairs = pairs.pivot_table(index=index, columns="metric", values="value").reset_index()
        figure, axes = panels(2, len(COORDINATES), height=2.8)
        for panel, (split, name) in zip(axes, [(s, n) for s in (TRAJECTORY, PROBE) for n in COORDINATES], strict=True):
            first = pairs[(pairs.split == split) & (pairs.part == name) & (pairs.seed == pairs.seed.min())]
            _draw(panel, first, measured.styles(), split)
            title = f"{name} parameter, {'along the trajectory' if split == TRAJECTORY else 'probed'}"
            decorate(panel, title, "gradient", "proposed update")
        legend(figure, axes[-1:])
        caption = "Proposed update against gradient for two parameters (seed 0); all rules are given the same ones."
        facts = list(_facts(measured, pairs))
        drawn = [measured.save(figure, caption)]
        return Findings(facts, [Section("Figure 10: proposed updates", _said(facts), figures=drawn)])


def _draw(axes: Axes, pairs: pd.DataFrame, styles: Mapping[str, Style], split: str) -> None:
    run = {name: style for name, style in styles.items() if (pairs.contender == name).any()}
    for name, style in emphasised(list(run), run).items():
        part = pairs[pairs.contender == name].sort_values(GIVEN)
        if split == TRAJECTORY:
            axes.plot(part[GIVEN], part[PROPOSED], "o", color=style["color"], markersize=2.5, alpha=0.6, label=name)
        else:
            axes.plot(part[GIVEN], part[PROPOSED], label=name, **style)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.axhline(0.0, color="#999999", linewidth=0.6, zorder=1)
    axes.axvline(0.0, color="#999999", linewidth=0.6, zorder=1)


def _facts(measured: Measured, pairs: pd.DataFrame) -> Iterator[Result]:
    """Yield each rule's results on how large its updates are, and how closely they follow the current gradient."""
    steepest = pairs[(pairs.split == TRAJECTORY) & (pairs.part == COORDINATES[0])]
    for name in measured.names():
        seeds = [rows for _, rows in steepest[steepest.contender == name].groupby("seed")]
        sizes = [float((rows[PROPOSED] ** 2).mean() ** 0.5) for rows in seeds]
        yield measured.result(
            name, SIZE, sizes, note="root mean square, of the steepest parameter", lower_is_better=None
        )
        follow = np.array([-float(rows[PROPOSED].corr(rows[GIVEN])) for rows in seeds if rows[PROPOSED].std() > 0])
        interval = mean_of(follow) if follow.size else None
        note = "with minus the present gradient, of the steepest parameter"
        yield measured.result(name, FOLLOWS, follow, note=note, lower_is_better=None, interval=interval)


def _said(facts: Sequence[Result]) -> list[str]:
    """Return a paragraph with both numbers of every rule."""
    ours = {(one.row, one.metric): one.ours for one in facts if one.ours is not None}
    both = [(row, ours[row, SIZE], follows) for (row, metric), follows in ours.items() if metric == FOLLOWS]
    return [
        "Root mean square of the updates of the steepest parameter, and in brackets their correlation with minus the "
        f"present gradient: {', '.join(f'{row} {size:.2g} ({follows:+.2f})' for row, size, follows in both)}.  A rule "
        "that averages over past gradients follows the present one less."
    ]
