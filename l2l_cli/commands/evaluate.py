"""l2l evaluate: a finished run on fresh test episodes, at longer horizons, on another task, or on a grid of tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from l2l_cli.commands import grid, held_out
from l2l_cli.commands.figures import horizon_figure
from l2l_cli.config.build import Builder, build
from l2l_cli.config.compose import identity_of
from l2l_cli.config.schema import Settings
from l2l_cli.core.ledger import LEDGER
from l2l_cli.evaluation.contest import Problem, Standing, play
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.results import report
from l2l_cli.results.content import Report, Section
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.run import RunFolder
from l2l_cli.results.statistics import bootstrap_interval
from l2l_cli.results.tables import frame_table
from l2l_cli.results.terminal import console
from l2l_cli.runs.building import build_task, prepare, run_facts
from l2l_cli.runs.contenders import learned_contender, plan_of
from l2l_cli.runs.folders import load_run, task_was_chosen
from l2l_cli.runs.loading import load_learner
from l2l_cli.tasks.base import Task


def run(settings: Settings, run_folder: str, trust: list[str]) -> dict[str, Any]:
    """Run the command; the result is the evaluation's row in a sweep's summary."""
    prepare(settings.hardware)
    parent, saved = load_run(run_folder, settings)
    chosen = task_was_chosen(settings)
    choices = settings.choices | {"learner": saved.choices["learner"]}
    if not chosen:
        choices["task"] = saved.choices["task"]
    settings = replace(settings, task=settings.task if chosen else saved.task, choices=choices)
    builder = Builder(trust)
    task_builder = build if chosen else builder
    if settings.evaluation.grid or settings.evaluation.problems or settings.evaluation.against:
        return grid.run(settings, parent, saved, task_builder, builder)
    task = build_task(settings if chosen else saved, task_builder)
    learner = load_learner(parent, saved, task, builder, settings.evaluation.learner)
    config = identity_of(settings, "evaluation") | {"run": parent.path.name}
    folder = RunFolder.claim(Path(settings.output) / "evaluate", settings.run_name, config, settings.overrides)
    with folder.lock():
        folder.begin(parents=[str(parent.path)], **run_facts(settings))
        metrics = MetricsFile(folder.path / "metrics.csv")
        metrics.truncate(0)
        contender = learned_contender(str(settings.choices["learner"]), learner, saved)
        problems = _horizons(task, settings)
        table = []
        for standing, stretch in zip(play([contender], problems), settings.evaluation.stretch, strict=True):
            for seed, scores in zip(settings.evaluation.seeds, standing.scores, strict=True):
                metrics.append(rows_of(scores, contender.name, seed, standing.entry.problem.name))
            table.append(_row(standing, stretch))
        frame = pd.DataFrame(table)
        with LEDGER.of("drawing"):
            _report(folder, settings, parent, frame, metrics.read())
        folder.end("done")
    episodes = settings.evaluation.episodes * len(settings.evaluation.seeds)
    console().print(frame_table(frame, f"{settings.run_name} on {episodes} fresh test episodes"))
    print(f"report: {folder.path / 'report.md'}")
    keys = {"mean loss": "mean_loss", "final loss": "final_loss", held_out.COLUMN: "held_out_loss"}
    row = {key: table[0][name] for name, key in keys.items() if name in table[0]}
    return {"objective": "mean_loss", **row, "run": str(folder.path)}


def _horizons(task: Task, settings: Settings) -> list[Problem]:
    """Return the task at each horizon."""
    base, identity = settings.evaluation.steps or task.horizon, {"task": settings.task}
    return [
        Problem(f"×{stretch:g}", task, max(1, round(base * stretch)), plan_of(settings), identity)
        for stretch in settings.evaluation.stretch
    ]


def _row(standing: Standing, stretch: float) -> dict[str, Any]:
    scores = standing.joined
    horizon = {"steps": standing.entry.problem.steps, "× trained horizon": float(stretch)}
    if scores.visible is not None:
        return horizon | held_out.row(scores) | {"mean loss": scores.by("mean")}
    ends = scores.losses[-1].tolist()
    mean, final = bootstrap_interval(scores.losses.mean(0).tolist()), bootstrap_interval(ends)
    return {
        **horizon,
        "mean loss": mean.value,
        "95 % of the mean": f"{mean.low:.4g} … {mean.high:.4g}",
        "final loss": final.value,
        "95 % of the final": f"{final.low:.4g} … {final.high:.4g}",
        "median final": float(pd.Series(ends).median()),
    }


def _report(folder: RunFolder, settings: Settings, parent: RunFolder, table: pd.DataFrame, frame: pd.DataFrame) -> None:
    facts = parent.facts()
    opening = [
        f"Learner `{settings.choices['learner']}` of `{parent.path}` ({facts['updates']} meta-updates, "
        f"{facts['skipped']} skipped, {facts['seconds']:.0f} s, {facts['meta_parameters']} meta-parameters), scored on "
        f"{settings.evaluation.episodes} fresh test episodes a seed, seeds {settings.evaluation.seeds}.  The loss at "
        "step t is that of the answer given before the t-th batch is learned from.  Intervals are bootstrapped over "
        "episodes."
    ]
    if held_out.COLUMN in table:
        opening.append(held_out.MEANING)
    figure = horizon_figure(frame, folder.path)
    sections = [Section("Scores", tables=[table], figures=[figure])]
    report.write(Report(f"Evaluation of {settings.run_name}", opening, sections), folder.path)
