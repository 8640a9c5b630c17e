"""One contender followed through its test episodes: training loss, seconds, held-out images, and diagnostics.

Diagnostics say what MLHF does inside a step: how well it solves its system, where its solution points, what damping it
infers.

Source: Chen and Lu 2018, §4 (figure 3 and claims on positive definiteness); l_p is that of its §3.

Deviation: seconds are those of the steps alone; drawing the images is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from l2l_cli.core.random import generator
from l2l_cli.core.types import Params, Phase, Split
from l2l_cli.core.vectors import dot, unstacked
from l2l_cli.evaluation.contest import Problem
from l2l_cli.evaluation.score import Tell
from l2l_cli.learners.base import Learner
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.mlhf import CURVATURE_FLOOR
from l2l_cli.models.point import Point
from l2l_cli.optimizers.mlhf import MLHF, MLHFMemory, SolvedSystem, in_order, spans_by_type
from l2l_cli.optimizers.solvers import conjugate_gradient
from l2l_cli.papers.mlhf2018.spent import held_from_now, now, peak
from l2l_cli.results.metrics import Metric
from l2l_cli.tasks.base import Episode

POINTS, TENTHS, DIAGNOSED = 50, 10, 30
"""Largest number of points of a curve; windows whose means are kept by episode; largest number of diagnosed steps."""

HELD_OUT, HELD_OUT_MARKS = 4, 5
"""Minibatches of held-out images, the same for all contenders; how many times in a run they are scored."""

LOSS, SECONDS, LONGEST, NOT_FINITE, MEMORY = "loss", "seconds", "longest_step", "not_finite", "memory"
HELD_OUT_LOSS, HELD_OUT_ACCURACY = "held_out_loss", "held_out_accuracy"

CONVERGED, TINY = 60, 1e-30
"""Iterations, preconditioned by 1 / ŝ, that stand for an exact solution; the smallest denominator."""

QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
"""Quantiles of the damping over the coordinates of one parameter type, by the name of the statistic."""

DOWNHILL, RESIDUAL, RELATIVE = "downhill", "residual", "relative_residual"
SOLVER, EFFICIENCY, DAMPING = "l_p", "efficiency", "damping"


@torch.no_grad()
def follow(
    learner: Learner[Any],
    problem: Problem,
    row: Callable[..., Metric],
    near_exact: bool,
    tell: Tell = lambda share, note: None,
) -> list[Metric]:
    """Run a learner through the test episodes of a problem, the same for every contender, and return tidy rows.

    ``row`` makes a row of metric, value, step, …; for ``near_exact`` see ``diagnose``; ``tell`` is told of each step.
    """
    task, steps, (episodes, (seed, *_), *_) = learner.task, problem.steps, problem.plan
    episode, rule, marks = task.sample(episodes, seed, Phase.TEST), mlhf_of(learner), ends(steps, HELD_OUT_MARKS)
    state = learner.init(episodes, generator(seed, "learner", Phase.TEST))
    rows, losses, seconds, longest, held = list[Metric](), list[Tensor](), [0.0], [0.0], held_from_now()
    diagnosed: dict[str, list[Tensor]] = {}
    for step in range(steps):
        batch = episode.batch(step)
        if rule is not None and step in diagnosed_steps(steps):
            point = Point(task.model, task.loss, state.params, batch, curvature=task.curvature)
            by_episode, damping = diagnose(rule, point, state.memory, near_exact)
            for metric, values in by_episode.items():
                diagnosed.setdefault(metric, []).append(values)
                rows.append(row(metric, values.mean().item(), step, statistic="mean"))
            rows += [row(DAMPING, value, step, statistic=name, part=part) for (name, part), value in damping.items()]
        began = now()
        after, answer = learner.step(state, batch)
        seconds.append(seconds[-1] + (now() - began) / episodes)
        losses.append(task.loss(answer, batch.targets))
        if isinstance(learner, Descent):
            longest.append(max(longest[-1], _moved(state.params, after.params)))
        state = after
        if step + 1 in marks:
            scores = _held_out(learner, state, episode).items()
            rows += [row(metric, value, step + 1, statistic="mean") for metric, value in scores]
        tell(1 / steps, f"{problem.name} step {step + 1} of {steps}")
    rows.append(row(MEMORY, (peak() - held) / 1e6, steps, statistic="mean"))
    for metric, steps_of in diagnosed.items():  # the mean over the steps that were diagnosed
        means = torch.stack(steps_of).double().mean(0).tolist()
        rows += [row(metric, value, steps, index) for index, value in enumerate(means)]
    return [*rows, *_windows(torch.stack(losses).double().cpu(), seconds, longest, row)]


def _moved(before: Params, after: Params) -> float:
    """Return the largest ‖θ_{t+1} − θ_t‖ / ‖θ_t‖ of an episode; infinite where it is not finite."""
    square = [(after[name] - value).square().flatten(1).sum(1) for name, value in before.items()]
    size = [value.square().flatten(1).sum(1) for value in before.values()]
    share = (torch.stack(square).sum(0) / torch.stack(size).sum(0)).sqrt()
    return float(share.nan_to_num(nan=torch.inf).max())


def _held_out(learner: Learner[Any], state: object, episode: Episode) -> dict[str, float]:
    """Return mean scores on held-out images."""
    task, scores = learner.task, []
    for number in range(HELD_OUT):
        batch = episode.batch(number, Split.TEST)
        answer = learner.predict(state, batch.inputs)
        scores.append({"loss": task.loss(answer, batch.targets), **task.metrics(answer, batch.targets)})
    return {f"held_out_{name}": torch.stack([one[name] for one in scores]).mean(0).mean().item() for name in scores[0]}


def ends(steps: int, count: int) -> list[int]:
    """Return where windows of equal length end, the last one at the last step; only the first may be longer.

    With ten windows, the last one is the tenth of the steps over which tuning takes the loss (``Scores.end``).
    """
    width = max(1, steps // count)
    return sorted(steps - index * width for index in range(count) if steps - index * width > 0)


def diagnosed_steps(steps: int) -> set[int]:
    """Return the steps, counted from 0, whose systems are diagnosed, evenly spaced."""
    count = min(DIAGNOSED, steps)
    return {index * steps // count for index in range(count)}


def _windows(
    losses: Tensor, seconds: Sequence[float], longest: Sequence[float], row: Callable[..., Metric]
) -> Iterator[Metric]:
    """Yield means over windows of steps, each episode's over tenths, and how many losses (T, E) are not finite."""
    steps, begin = len(losses), 0
    for end in ends(steps, steps // -(-steps // POINTS)):
        yield row(LOSS, losses[begin:end].mean().item(), end, statistic="mean")
        yield row(SECONDS, seconds[end], end, statistic="mean")
        if len(longest) > steps:
            yield row(LONGEST, longest[end], end, statistic="mean")
        begin = end
    begin = 0
    for end in ends(steps, TENTHS):
        for episode, value in enumerate(losses[begin:end].mean(0).tolist()):
            yield row(LOSS, value, end, episode)
        begin = end
    yield row(NOT_FINITE, float((~losses.isfinite()).sum()), steps, statistic="sum")


def mlhf_of(learner: Learner[Any]) -> MLHF | None:
    """Return the learner's update rule if that is MLHF."""
    return learner.rule if isinstance(learner, Descent) and isinstance(learner.rule, MLHF) else None


@torch.no_grad()
def diagnose(
    rule: MLHF, point: Point, memory: MLHFMemory, near_exact: bool
) -> tuple[dict[str, Tensor], dict[tuple[str, str], float]]:
    """Solve the system of the next step and return numbers about it, by metric, of each episode, (E,).

    * ``downhill``: whether ⟨g, x_n⟩ > 0; ``residual``: ‖r_n‖, and relative to ‖g‖;
    * ``l_p``: −⟨g, x_n⟩ / √⟨x_n, Ĥ·x_n⟩; ``efficiency``: l_p as a share of that of a near-exact solution.

    Also returned are quantiles of the damping over the coordinates of each parameter type, by statistic and type.

    If ``near_exact``, the same system is also solved, from the same start, by ``CONVERGED`` iterations.
    """
    system = rule.solve(point, memory)
    size, loss = system.residual.norm(dim=1), solver_loss(system.grad, system.x, system.residual)
    by_episode = {
        DOWNHILL: (dot(system.grad, system.x) > 0).double(),
        RESIDUAL: size,
        RELATIVE: size / system.grad.norm(dim=1).clamp(min=TINY),
        SOLVER: loss,
    }
    if near_exact:
        by_episode[EFFICIENCY] = loss / _near_exact(point, system, memory.solution)
    quantiles: dict[tuple[str, str], float] = {}
    for part, span in spans_by_type(system.like, point.parameter_types).items():
        damping = system.damping[:, span].flatten()
        for statistic, share in QUANTILES.items():
            # An order statistic, since torch's quantile refuses as many weights as large networks have.
            quantiles[statistic, part] = damping.kthvalue(1 + int(share * (len(damping) - 1))).values.item()
    return by_episode, quantiles


def solver_loss(grad: Tensor, x: Tensor, residual: Tensor) -> Tensor:
    """Return l_p of one step, (E,), for g, x_n and r_n = g − Ĥ·x_n, (E, D) each."""
    return -dot(grad, x) / dot(x, grad - residual).clamp(min=CURVATURE_FLOOR).sqrt()


def _near_exact(point: Point, system: SolvedSystem, start: Tensor) -> Tensor:
    """Return l_p of the same system after many more iterations, (E,)."""

    def product(vectors: Tensor) -> Tensor:
        return in_order(point.ggn(unstacked(vectors, system.like)), system.like) + system.damping * vectors

    residual = system.grad - product(start)
    # The floors of the paper's iterations would end these early where gradients are small.
    end = conjugate_gradient(product, start, residual, 1.0 / system.damping, CONVERGED, TINY, TINY)
    return solver_loss(system.grad, end.x, end.residual)
