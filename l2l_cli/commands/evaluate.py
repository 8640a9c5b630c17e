"""l2l evaluate: a finished run on fresh test episodes, at longer horizons, on another task, or on a grid of tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from l2l_cli.commands import grid, held_out
from l2l_cli.commands.figures import horizon_figure
from l2l_cli.commands.next_words import after
from l2l_cli.commands.stored import say_known
from l2l_cli.config.build import Builder, build
from l2l_cli.config.compose import identity_of
from l2l_cli.config.own_task import task_was_chosen
from l2l_cli.config.schema import Settings
from l2l_cli.core.files import atomic_write
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.printable import counted
from l2l_cli.core.voice import VOICE
from l2l_cli.evaluation.contest import Problem, Standing, Unit, read_by, units_of
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.results import report
from l2l_cli.results.content import Lead, Report, Section, code
from l2l_cli.results.ending import ending
from l2l_cli.results.exported import FinishedRun
from l2l_cli.results.facts import TRAINED
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.provenance import command_line
from l2l_cli.results.run import TABLE, RunFolder
from l2l_cli.results.statistics import over_episodes
from l2l_cli.results.store import Store
from l2l_cli.results.tables import frame_table
from l2l_cli.results.terminal import console
from l2l_cli.runs.aside import settled
from l2l_cli.runs.building import build_task, prepare, run_facts, store_of
from l2l_cli.runs.contenders import identity_of_task, learned_contender, plan_of
from l2l_cli.runs.folders import label_of, load_run, warn_of_changes, with_task_of
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.memory import refuse_excess_of_scoring
from l2l_cli.runs.progress import Reporter
from l2l_cli.tasks.base import Task


class Evaluating(NamedTuple):
    """The parts of an evaluation, before anything is computed.

    Attributes:
        settings: Settings, with the run's own task unless the user chose one.
        parent: Folder of the run.
        grid: Grid of problems and horizons with rivals, if one was requested.
        units: The run's learner at each horizon, or all units of the grid.
        store: Store of scores and trials.
    """

    settings: Settings
    parent: FinishedRun
    grid: grid.Grid | None
    units: list[Unit]
    store: Store


def plan(settings: Settings, run_folder: str, trust: list[str]) -> Evaluating:
    """Build the learner and its problems; any process may then play one of the units into the store."""
    prepare(settings.hardware)
    parent, saved = load_run(run_folder, settings)
    warn_of_changes([(parent, saved)], trust)
    chosen = task_was_chosen(settings.overrides)
    settings = with_task_of(settings, [(parent, saved)])
    settings = replace(settings, choices=settings.choices | {"learner": saved.choices["learner"]})
    builder, store = Builder(trust), store_of(settings)
    task_builder = build if chosen else builder
    if settings.evaluation.grid or settings.evaluation.problems or settings.evaluation.against:
        whole = grid.plan(settings, parent, saved, task_builder, builder, store)
        return Evaluating(settings, parent, whole, whole.units, store)
    task = build_task(settings, task_builder)
    learner = load_learner(parent, saved, task, builder)
    refuse_excess_of_scoring(settings, learner)
    contender = learned_contender(str(settings.choices["learner"]), learner, saved)
    return Evaluating(settings, parent, None, units_of([contender], _horizons(task, settings)), store)


def run(settings: Settings, run_folder: str, trust: list[str]) -> dict[str, Any]:
    """Run the command and return the evaluation's row in a sweep's summary."""
    planned = plan(settings, run_folder, trust)
    result = grid.run(planned.grid, planned.store) if planned.grid else _run(planned)
    VOICE.suggest(*after(result["run"]))
    return result


def _run(planned: Evaluating) -> dict[str, Any]:
    """Score the run at each horizon."""
    settings, parent = planned.settings, planned.parent
    config = identity_of(settings, "evaluation") | {"run": parent.path.name} | read_by(planned.units)
    folder = RunFolder.claim(Path(settings.output) / "evaluate", settings.run_name, config, settings.overrides)
    with folder.lock(), ending(folder):
        folder.begin(parents=[str(parent.path)], **run_facts(settings))
        say_known(planned.units, planned.store, "horizons")
        metrics = MetricsFile(folder.path / "metrics.csv")
        metrics.truncate(0)
        table = []
        with Reporter("score", len(planned.units), unit="horizons") as reporter:
            for unit, stretch in zip(planned.units, settings.evaluation.stretch, strict=True):
                standing = unit.play(planned.store)
                for seed, scores in zip(settings.evaluation.seeds, standing.scores, strict=True):
                    metrics.append(rows_of(scores, unit.contender.name, seed, unit.problem.name))
                table.append(_row(standing, stretch))
                reporter.advance(f"{unit.problem.name}: loss {standing.joined.losses.mean():.4g}")
        frame = pd.DataFrame(table)
        atomic_write(folder.path / TABLE, frame.to_csv(index=False))
        with LEDGER.of("drawing"):
            _report(folder, settings, parent, frame, metrics.read())
        folder.end("done", headline=_headline(frame))
    planned.store.prune()
    folder = settled(folder, settings)
    episodes = settings.evaluation.episodes * len(settings.evaluation.seeds)
    console().print(frame_table(frame, f"{label_of(settings, settings.run_name)} on {episodes} fresh test episodes"))
    print(f"report: {folder.path / 'report.md'}")
    keys = {"mean loss": "mean_loss", "final loss": "final_loss", held_out.COLUMN: "held_out_loss"}
    row = {key: table[0][name] for name, key in keys.items() if name in table[0]}
    return {"objective": "mean_loss", **row, "seconds": folder.facts()["seconds"], "run": str(folder.path)}


def _horizons(task: Task, settings: Settings) -> list[Problem]:
    """Return the task at each horizon."""
    base, identity = settings.evaluation.steps or task.horizon, identity_of_task(settings, task)
    return [
        Problem(f"×{stretch:g}", task, max(1, round(base * stretch)), plan_of(settings), identity)
        for stretch in settings.evaluation.stretch
    ]


def _row(standing: Standing, stretch: float) -> dict[str, Any]:
    scores = standing.joined
    horizon = {"steps": standing.entry.problem.steps, "× trained horizon": float(stretch)}
    if scores.visible is not None:
        return horizon | held_out.row(scores) | {"mean loss": scores.by("mean")}
    losses = scores.losses.double().cpu().numpy()
    mean, final = over_episodes(losses.mean(0)), over_episodes(losses[-1])
    return {
        **horizon,
        "mean loss": mean.value,
        "95 % of the mean": mean.ends(".4g"),
        "final loss": final.value,
        "95 % of the final": final.ends(".4g"),
        "median final": float(pd.Series(losses[-1]).median()),
    }


def _report(
    folder: RunFolder, settings: Settings, parent: FinishedRun, table: pd.DataFrame, frame: pd.DataFrame
) -> None:
    facts = parent.facts(TRAINED)
    opening = [
        f"Learner {code(settings.choices['learner'])} of {code(parent.path)} ({facts['updates']} meta-updates, "
        f"{facts['skipped']} skipped, {facts['seconds']:.0f} s, {facts['meta_parameters']} meta-parameters), scored on "
        f"{settings.evaluation.episodes} fresh test episodes per seed, seeds {settings.evaluation.seeds}.  The loss at "
        "step t is that of the answer given before the t-th batch is learned from.  Intervals are 95 %, over "
        "episodes, and about this rule."
    ]
    if held_out.COLUMN in table:
        opening.append(held_out.MEANING)
    figure = horizon_figure(frame, folder.path)
    sections = [Section("Scores", tables=[table], figures=[figure])]
    question = f"What loss does {label_of(settings, settings.run_name)} reach on fresh test episodes, by horizon?"
    answer = [f"{_headline(table).capitalize()}.", f"Meta-training took {counted(facts['updates'], 'update')}."]
    lead = Lead(question, answer, command=command_line())
    report.write(Report(f"Evaluation of {label_of(settings, settings.run_name)}", opening, sections, lead), folder.path)


def _headline(table: pd.DataFrame) -> str:
    """Return the result in one line."""
    rows = zip(table["mean loss"], table["steps"], strict=True)
    return "mean loss " + ", ".join(f"{loss:.4g} over {counted(steps, 'step')}" for loss, steps in rows)
