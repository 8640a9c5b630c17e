"""The meta-training curves of a reproduction's rows: validation loss against updates, and whether it was still falling.

One section for all artefacts, since many of them share a training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from l2l_cli.config.compose import identity_of_training
from l2l_cli.core.layout import FIGURES
from l2l_cli.core.printable import counted
from l2l_cli.papers.agenda import Job
from l2l_cli.papers.experiments import Experiment
from l2l_cli.papers.measured import SELECTED, TRAINING, VALIDATION, Measured
from l2l_cli.results.content import Figure, Section
from l2l_cli.results.course import FALLING, FLAT, Course, course_of, is_said
from l2l_cli.results.drawing import saved
from l2l_cli.results.plot import COLOURS, STROKES, decorate, grid
from l2l_cli.results.run import identity

TITLE = "Meta-training"

COLUMNS = 4
"""Panels side by side."""

CRITERION = (
    "A validation loss counts as still falling if, smoothed over three validations and in logarithms, its lowest point "
    "in the last third of the updates lies below the beginning of that third by more than 5 %, and by more than 2½ "
    "times the noise that its second differences show.  It is flat from the first point that lies within that margin "
    "of the lowest.  Dots mark the weights that were kept."
)


@dataclass(frozen=True)
class Trained:
    """One row's training.

    Attributes:
        name: Name of the row, with its artefact where another row has the same name.
        curves: Validation loss by number of updates, for each seed.
        selected: Number of updates of the weights that were kept, by seed, as far as it is known.
    """

    name: str
    curves: Mapping[Any, Mapping[int, float]]
    selected: Mapping[Any, int]

    @property
    def courses(self) -> list[Course]:
        """The course of each seed's validation loss."""
        return [course_of(curve) for curve in self.curves.values()]


def training_sections(asked: Sequence[Experiment], measured: Sequence[Measured], folder: Path) -> list[Section]:
    """Return a section on the trainings behind all artefacts; none if no validation losses were measured."""
    trained = list(_trained(asked, measured))
    if not trained:
        return []
    courses = [course for one in trained for course in one.courses]
    known = [course for course in courses if is_said(course)]
    falling = sum(course.verdict == FALLING for course in known)
    told = [f"In {falling} of {counted(len(known), 'training')} the validation loss was still falling"] if known else []
    if falling:
        told[0] += ": more updates may do better"
    if len(known) < len(courses):
        told.append(f"{counted(len(courses) - len(known), 'training')} had too few or too noisy validations to tell")
    text = "  ".join(f"{sentence}." for sentence in told)
    table = pd.DataFrame([_line(one) for one in trained])
    # A training that was validated once has no curve.
    followed = [one for one in trained if any(len(curve) > 1 for curve in one.curves.values())]
    drawn = [_drawn(followed, folder)] if followed else []
    return [Section(TITLE, [f"**{text}**" if falling else text, CRITERION], [table], drawn)]


def _trained(asked: Sequence[Experiment], measured: Sequence[Measured]) -> Iterator[Trained]:
    """Yield every training once, under the name of the first row that has it."""
    rows: dict[str, tuple[str, Job, pd.DataFrame]] = {}
    for one, each in zip(asked, measured, strict=True):
        for row, jobs in one.jobs.items():
            frame = each.frames[row]
            part = frame[frame.split == TRAINING] if len(frame) else frame
            if len(part):
                rows.setdefault(identity(identity_of_training(one.configurations[row])), (one.name, jobs[0], part))
    names = [job.name for _, job, _ in rows.values()]
    for artefact, job, frame in rows.values():
        losses, kept = frame[frame.metric == VALIDATION], frame[frame.metric == SELECTED]
        name = job.name if names.count(job.name) == 1 else f"{job.name} ({artefact})"
        curves = {seed: dict(zip(part.step, part.value, strict=True)) for seed, part in losses.groupby("seed")}
        yield Trained(name, curves, dict(zip(kept.seed, kept.value.astype(int), strict=True)))


def _line(trained: Trained) -> dict[str, object]:
    courses = trained.courses
    known = [course for course in courses if is_said(course)]
    falling = sum(course.verdict == FALLING for course in known)
    flat = [course.since for course in known if course.verdict == FLAT]
    return {
        "row": trained.name,
        "seeds": len(courses),
        "updates": _range([course.updates for course in courses]),
        "selected after": _range(list(trained.selected.values())),
        "still falling": f"{falling} of {len(known)}" if known else "cannot be said",
        "flat since": _range(flat),
        "rose": len(known) - falling - len(flat) if known else "–",
    }


def _range(values: Sequence[int]) -> str:
    """Return the smallest and the largest of some numbers, as text."""
    return " … ".join(str(value) for value in sorted({min(values), max(values)})) if values else "–"


def _drawn(trained: Sequence[Trained], folder: Path) -> Figure:
    figure, axes = grid(len(trained), COLUMNS, height=1.7)
    for index, (panel, one) in enumerate(zip(axes, trained, strict=True)):
        positive = all(value > 0 for curve in one.curves.values() for value in curve.values())
        decorate(panel, one.name, "updates", "" if index % COLUMNS else "validation loss", "y" if positive else "")
        for number, (seed, curve) in enumerate(one.curves.items()):
            style: dict[str, Any] = {"color": COLOURS[0], "linestyle": STROKES[number % len(STROKES)], "linewidth": 1.0}
            panel.plot(list(curve), list(curve.values()), alpha=0.8, **style)
            kept = [step for step in curve if step == one.selected.get(seed)]
            panel.plot(kept, [curve[step] for step in kept], "o", color=COLOURS[1], markersize=4.0, zorder=3)
        panel.set_title(one.name, loc="left", fontsize=7.5)
    caption = "Validation loss against meta-updates, one line per seed; dots: the weights that were kept."
    return saved(figure, folder / FIGURES / "meta_training", caption)
