"""The generalisation grid of ``l2l evaluate``: every problem at every horizon, with rivals tuned for each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from l2l_cli.commands.cells import Cell, Comparison
from l2l_cli.commands.figures import grid_figure, horizon_names
from l2l_cli.commands.stored import say_known
from l2l_cli.config.build import Builder
from l2l_cli.config.compose import identity_of
from l2l_cli.config.groups import contender_words
from l2l_cli.config.schema import Settings
from l2l_cli.core.files import atomic_write
from l2l_cli.core.ledger import LEDGER
from l2l_cli.evaluation.contest import DIVERGED, Contender, Problem, Standing, Unit, read_by, units_of
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.results import report
from l2l_cli.results.content import Lead, Report, Section, code
from l2l_cli.results.ending import ending
from l2l_cli.results.exported import FinishedRun
from l2l_cli.results.facts import TRAINED
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.provenance import command_line
from l2l_cli.results.run import RunFolder
from l2l_cli.results.standings import AHEAD, stands
from l2l_cli.results.statistics import Interval
from l2l_cli.results.store import Store
from l2l_cli.results.tables import frame_table, number
from l2l_cli.results.terminal import console
from l2l_cli.runs.aside import settled
from l2l_cli.runs.building import build_learner, run_facts, variation
from l2l_cli.runs.contenders import hand_made_contender, identity_of_task, learned_contender, plan_of, variations
from l2l_cli.runs.folders import label_of
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.memory import refuse_excess_of_scoring
from l2l_cli.runs.progress import Reporter
from l2l_cli.runs.tuning import hand_made, tunable
from l2l_cli.tasks.base import Task


class Line(NamedTuple):
    """One problem of a grid.

    Attributes:
        runs: The run at each horizon: the same unit at the longest one, which begins with the shorter ones, or one for
            each if its learner is told the horizon.
        horizons: Number of steps by multiple of the problem's own.
        rivals: Rivals at each horizon.
    """

    runs: dict[float, Unit]
    horizons: dict[float, int]
    rivals: dict[float, list[Unit]]

    @property
    def own(self) -> list[Unit]:
        """The units of the run, without duplicates."""
        return list({unit.name: unit for unit in self.runs.values()}.values())


class Grid(NamedTuple):
    """The parts of a grid, before anything is computed.

    Attributes:
        settings: Settings, with the run's own task unless the user chose one.
        parent: The run.
        lines: Problems of the grid.
    """

    settings: Settings
    parent: FinishedRun
    lines: list[Line]

    @property
    def units(self) -> list[Unit]:
        """All units that are computed."""
        return [unit for line in self.lines for unit in (*line.own, *chain(*line.rivals.values()))]


def plan(
    settings: Settings, parent: FinishedRun, saved: Settings, task_builder: Builder, builder: Builder, store: Store
) -> Grid:
    """Build a grid for a finished run with settings ``saved``.

    The tasks are built by ``task_builder``, and the run's own learner by ``builder``.
    """
    evaluation, lines = settings.evaluation, []
    changes = variations(evaluation.grid, evaluation.problems)
    tasks = {name: variation(settings, change, "task", task_builder) for name, change in changes.items()}
    rivals = [_rival(name, settings, list(tasks.values()), store) for name in evaluation.against]
    for name, task in tasks.items():
        learner = load_learner(parent, saved, task, builder)
        refuse_excess_of_scoring(settings, learner)
        identity = identity_of_task(settings, task, changes[name])
        base = Problem(name, task, evaluation.steps or task.horizon, plan_of(settings), identity)
        horizons = {stretch: max(1, round(base.steps * stretch)) for stretch in evaluation.stretch}
        contender = learned_contender(str(settings.choices["learner"]), learner, saved)
        # The beginning of a long episode serves as a short one, unless the learner is told the horizon.
        longest = {stretch: steps if learner.is_told else max(horizons.values()) for stretch, steps in horizons.items()}
        runs = {stretch: Unit(contender, base._replace(steps=steps)) for stretch, steps in longest.items()}
        tuned = {stretch: units_of(rivals, [base._replace(steps=steps)]) for stretch, steps in horizons.items()}
        lines.append(Line(runs, horizons, tuned))
    return Grid(settings, parent, lines)


def run(grid: Grid, store: Store) -> dict[str, Any]:
    """Score a finished run on a grid and return its row in a sweep's summary."""
    settings, parent = grid.settings, grid.parent
    config = identity_of(settings, "evaluation", "tune") | {"run": parent.path.name} | read_by(grid.units)
    folder = RunFolder.claim(Path(settings.output) / "evaluate", settings.run_name, config, settings.overrides)
    with folder.lock(), ending(folder):
        folder.begin(parents=[str(parent.path)], **run_facts(settings))
        say_known(grid.units, store, "cells")
        comparisons = list(_play(grid, folder, store))
        with LEDGER.of("drawing"):
            _report(folder, settings, parent, comparisons)
        folder.end("done", headline=_headline(comparisons))
    store.prune()
    folder = settled(folder, settings)
    console().print(
        frame_table(_overview(comparisons), f"{label_of(settings, settings.run_name)}: {_meaning(comparisons)}")
    )
    for edge in _edges(comparisons):
        print(f"warning: {edge}")
    print(f"report: {folder.path / 'report.md'}")
    better = sum(stands(one.difference()) == AHEAD for one in comparisons) if settings.evaluation.against else None
    first = comparisons[0].run.mean.value
    row = {"final_loss": first, "cells": len(comparisons), "better": better}
    return {"objective": "final_loss", **row, "seconds": folder.facts()["seconds"], "run": str(folder.path)}


def _rival(name: str, settings: Settings, tasks: Sequence[Task], store: Store) -> Contender:
    """Compose a rival's settings, and check that it builds for every problem before anything is scored."""
    composed = hand_made(name, contender_words(name, settings.config_dir), settings, tasks[0])
    criterion = settings.tune.criterion or ("held_out" if tasks[0].spec.hides else "final")
    tunable(composed := replace(composed, tune=replace(composed.tune, criterion=criterion)))
    for task in tasks[1:]:
        build_learner(composed, task)
    return hand_made_contender(name, composed, store=store)


def _play(grid: Grid, folder: RunFolder, store: Store) -> Iterator[Comparison]:
    """Score all units and write metrics.csv; yield the comparison for every problem and horizon."""
    metrics = MetricsFile(folder.path / "metrics.csv")
    metrics.truncate(0)

    def cell(standing: Standing, stretch: float) -> Cell:
        entry = standing.entry
        for seed, scores in zip(grid.settings.evaluation.seeds, standing.scores, strict=True):
            metrics.append(rows_of(scores, entry.contender, seed, f"{entry.problem.name} ×{stretch:g}"))
        return Cell(standing, stretch)

    total = sum(1 + len(group) for line in grid.lines for group in line.rivals.values())
    played: dict[str, Standing] = {}
    with Reporter("evaluate", total, unit="cells") as reporter:
        for line in grid.lines:
            for stretch, group in line.rivals.items():
                run, name = line.runs[stretch], line.runs[stretch].problem.name
                if run.name not in played:
                    played[run.name] = run.play(store)
                one = cell(played[run.name].cut(line.horizons[stretch]), stretch)
                reporter.advance(f"{name} ×{stretch:g}: loss {one.mean.value:.4g}")
                tuned = []
                for rival in group:
                    tuned.append(cell(rival.play(store), stretch))
                    reporter.advance(f"{name} ×{stretch:g} {rival.contender.name}")
                yield Comparison(one, tuned)


def _edges(comparisons: Sequence[Comparison]) -> list[str]:
    """Return warnings about rivals whose best settings lie at the edge of those tried."""
    cells = [cell for comparison in comparisons for cell in comparison.rivals]
    return [
        f"{cell.contender} on {cell.problem} ×{cell.stretch:g}: {tuning.warning}"
        for cell in cells
        if (tuning := cell.standing.entry.tuning) and tuning.at_edge
    ]


def _overview(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return a table with one row per problem and one column per horizon: mean / median, ratio to the best rival."""

    def text(one: Comparison) -> str:
        ratio = f"  ({number(one.ratio())} ×)" if one.rivals else ""
        return f"{number(one.run.mean.value)} / {number(one.run.median.value)}{ratio}"

    return _table(comparisons, "problem", text)


def _headline(comparisons: Sequence[Comparison]) -> str:
    """Return the result of the grid in one line."""
    against = [one for one in comparisons if one.rivals]
    ahead = sum(stands(one.difference()) == AHEAD for one in against)
    lead = f"cells in which it is ahead of the best rival: {ahead} of {len(against)}; " if against else ""
    return f"{lead}mean loss {number(comparisons[0].run.mean.value)} in the first of {len(comparisons)}"


def _meaning(comparisons: Sequence[Comparison]) -> str:
    ratio = ", and as a multiple of the best rival's mean" if comparisons[0].rivals else ""
    run = comparisons[0].run
    return f"mean / median loss {run.where}{ratio}; {len(run.ends)} fresh test episodes"


def _table(comparisons: Sequence[Comparison], what: str, text: Callable[[Comparison], str]) -> pd.DataFrame:
    """Return a table with a row per problem and a column per horizon; the first header says what the cells show."""
    names = horizon_names(comparisons)
    rows: dict[str, dict[str, str]] = {}
    for one in comparisons:
        row = rows.setdefault(one.run.problem, {what: one.run.problem})
        row[names[one.run.stretch]] = text(one)
    return pd.DataFrame(list(rows.values()))


def _within(interval: Interval) -> str:
    if math.isnan(interval.low):
        return number(interval.value)
    return f"{number(interval.value)} ({number(interval.low)} … {number(interval.high)})"


def _report(folder: RunFolder, settings: Settings, parent: FinishedRun, comparisons: Sequence[Comparison]) -> None:
    cells = [cell for one in comparisons for cell in (one.run, *one.rivals)]
    atomic_write(folder.path / "grid.csv", pd.DataFrame([cell.row() for cell in cells]).to_csv(index=False))
    facts, plan, run = parent.facts(TRAINED), settings.evaluation, comparisons[0].run
    opening = [
        f"Learner {code(settings.choices['learner'])} of {code(parent.path)} ({facts['updates']} meta-updates, "
        f"{facts['seconds']:.0f} s, {facts['meta_parameters']} meta-parameters), scored on {plan.episodes} fresh test "
        f"episodes per seed, seeds {plan.seeds}, of every problem at every horizon.  The loss at step t is that of the "
        f"answer given before the t-th batch is learned from; the tables show the one {run.where}.  Intervals are "
        "95 %, over episodes, and about this rule.  An episode has diverged if its last loss is more than "
        f"{DIVERGED:g} times its first, or not finite."
    ]
    tables = [
        _table(comparisons, f"mean loss {run.where}", lambda one: _within(one.run.mean)),
        _table(comparisons, f"median loss {run.where}", lambda one: _within(one.run.median)),
        _table(comparisons, "diverged episodes", lambda one: f"{one.run.standing.diverged:.1%}"),
        *(_metric_table(comparisons, name) for name in run.standing.metrics),
    ]
    sections = [Section("The run", tables=tables, figures=[grid_figure(comparisons, folder.path)])]
    if comparisons[0].rivals:
        sections += _against(settings, comparisons)
    name = label_of(settings, settings.run_name)
    question = f"How does {name} generalise to other problems and horizons?"
    lead = Lead(question, [f"{_headline(comparisons).capitalize()}."], command=command_line())
    report.write(Report(f"Generalisation of {name}", opening, sections, lead), folder.path)


def _metric_table(comparisons: Sequence[Comparison], name: str) -> pd.DataFrame:
    where = comparisons[0].run.where
    return _table(comparisons, f"{name} {where}", lambda one: number(one.run.standing.metrics.get(name)))


def _against(settings: Settings, comparisons: Sequence[Comparison]) -> list[Section]:
    criterion, tune = settings.tune.criterion or comparisons[0].run.criterion, settings.tune
    text = (
        f"Each rival is tuned anew for each problem and each horizon, by its {criterion} loss on {tune.episodes} "
        "episodes of the tune phase; the number of settings tried stands beside it.  The run itself is not tuned.  The "
        "best rival is the one with the lowest loss on the test episodes, which favours the rival.  Differences are "
        "paired: all contenders meet the same episodes."
    )
    scores = [_line(cell) for one in comparisons for cell in (one.run, *one.rivals)]
    warnings = [f"**{edge}**." for edge in _edges(comparisons)]
    return [
        Section("Against the best rival", [text, *warnings], [pd.DataFrame(map(_difference, comparisons))]),
        Section("All scores", tables=[pd.DataFrame(scores)]),
    ]


def _difference(one: Comparison) -> dict[str, Any]:
    best = one.best()
    return {
        "problem": one.run.problem,
        "steps": one.run.steps,
        "run": one.run.mean.value,
        "best rival": f"{best.contender} ({best.chosen})",
        "its loss": best.mean.value,
        "ratio of means": one.ratio(),
        "ratio of medians": one.ratio("median"),
        "difference of means": _within(one.difference()),
        "the run is": stands(one.difference()),
    }


def _line(cell: Cell) -> dict[str, Any]:
    return {
        "problem": cell.problem,
        "steps": cell.steps,
        "contender": cell.contender,
        "chosen": cell.chosen or "–",
        "mean": _within(cell.mean),
        "median": number(cell.median.value),
        "diverged": f"{cell.standing.diverged:.1%}",
    }
