"""A rule that comes with the package, untuned, on networks far larger than any that it was meta-trained on.

``python -m tests.bench.on_arrival`` scores it beside AdamW with a cosine, tuned by eight learning rates, writes
``.github/docs/on_arrival.csv`` and the table of ``.github/docs/pretrained.md``, and draws ``.github/on_arrival.png``:
the loss and the size of both rules' moves.  ``--steps 500`` runs a part.  CIFAR-10 must be at hand or is downloaded.
"""

from __future__ import annotations

import argparse
from typing import Any

import pandas as pd
import torch

from l2l_cli.core.random import generator
from l2l_cli.core.types import Phase
from l2l_cli.core.vectors import flattened
from l2l_cli.learners.base import Learner
from l2l_cli.results.drawing import save
from l2l_cli.results.plot import COLOURS, decorate, legend, panels
from l2l_cli.results.standings import AHEAD, BEHIND, LEVEL
from l2l_cli.runs.building import prepare
from tests.bench.far_from_home import DOCS, SEED, keep, problem_of, rival, rule, scored, settings_of
from tests.bench.far_problems import LARGE

STEPS, EPISODES = (500, 5000), 4
RULE, RIVAL = "networks", "AdamW, cosine"
EVERY = 5
"""Number of steps between two measurements of a move."""

Course = list[tuple[int, float, float]]
"""Step, loss and root mean square of the move, by measurement."""


def table_of(frame: pd.DataFrame) -> str:
    """Return the table of the page: the rival's loss, the rule's, and how it stands."""
    lines = [f"| problem | steps | {RIVAL}, tuned | `{RULE}`, untuned | ÷ {RIVAL} [95 %] |", "|---" * 5 + "|"]
    for name in LARGE:
        for steps in STEPS:
            part = frame[(frame.problem == name) & (frame.steps.astype(int) == steps)].set_index("contender")
            if part.empty:
                lines.append(f"| {name} | {steps} | not run | | |")
                continue
            own, bar = part.loc[RULE], part.loc[RIVAL]
            marks = {AHEAD: "ahead", LEVEL: "level", BEHIND: "behind"}
            low, middle, high = (1.0 - float(own[column]) for column in ("high", "beside_best", "low"))
            beside = f"{middle:.3g} [{low:.3g}, {high:.3g}], {marks[own.stands]}"
            lines.append(f"| {name} | {steps} | {float(bar.loss):.3g} | {float(own.loss):.3g} | {beside} |")
    return "\n".join(lines)


def page_with(text: str, frame: pd.DataFrame) -> str:
    """Return the page with the table of these numbers."""
    before, mark, rest = text.partition("<!-- numbers arrival -->")
    return f"{before}{mark}\n{table_of(frame)}\n<!-- end -->{rest.partition('<!-- end -->')[2]}" if mark else text


@torch.no_grad()
def course_of(learner: Learner[Any], steps: int) -> Course:
    """Follow one test episode, and return its losses and the sizes of the moves."""
    learner, task = learner.told(steps), learner.task
    episode, course = task.sample(1, SEED, Phase.TEST), []
    state = learner.init(1, generator(SEED, "arrival"))
    for step in range(steps):
        batch = episode.batch(step)
        after, outputs = learner.step(state, batch)
        if step % EVERY == 0:
            move = flattened(after.params) - flattened(state.params)
            loss = task.loss(outputs, batch.targets)
            course.append((step, loss.item(), move.square().mean().sqrt().item()))
        state = after
    return course


def draw(courses: dict[tuple[str, str], Course]) -> None:
    """Draw losses and moves by problem and contender."""
    names = list(dict.fromkeys(name for name, _ in courses))
    figure, axes = panels(2, len(names), height=2.4)
    for (name, who), course in courses.items():
        steps, *values = zip(*course, strict=True)
        for row, each in enumerate(values):
            style = {"color": COLOURS[0 if who == RULE else 1], "linewidth": 1.2}
            axes[row * len(names) + names.index(name)].plot(steps, each, label=who, **style)
    for index, name in enumerate(names):
        decorate(axes[index], name, "", "loss" if not index else "", "y")
        decorate(axes[index + len(names)], "", "steps", "size of a move, RMS" if not index else "", "y")
    legend(figure, axes)
    save(figure, DOCS.parent / "on_arrival")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    asked, settings = parser.parse_args(), settings_of()
    prepare(settings.hardware)
    file, page = DOCS / "on_arrival.csv", DOCS / "pretrained.md"
    courses: dict[tuple[str, str], Course] = {}
    for steps in asked.steps:
        for name in LARGE:
            problem = problem_of(name, steps, EPISODES)
            keep(file, problem, scored(problem, settings, [RIVAL], [RULE]))
            page.write_text(page_with(page.read_text(), pd.read_csv(file, keep_default_na=False)))
            made = {RULE: rule(RULE, problem, settings), RIVAL: rival(RIVAL, problem, settings)}
            learners = {who: contender.enter(problem).learner for who, contender in made.items()}
            courses |= {(name, who): course_of(learner, steps) for who, learner in learners.items()}
            print(name, steps, flush=True)
    draw(courses)


if __name__ == "__main__":
    main()
