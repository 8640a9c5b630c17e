"""The generalisation grid of ``l2l evaluate``: every problem at every horizon, beside references tuned for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from l2l_cli.commands.figures import grid_figure, horizon_names
from l2l_cli.config.compose import identity_of
from l2l_cli.config.schema import Settings
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.evaluation.grid import DIVERGED, Cell, Contest, cell_of, cut, variations
from l2l_cli.evaluation.score import Scores, score
from l2l_cli.learners.base import Learner
from l2l_cli.results.frame import Interval, MetricsFile
from l2l_cli.results.report import Report, Section, frame_table, number
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.building import build_learner, run_facts, variation
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.progress import Reporter, console
from l2l_cli.runs.tuning import Tuned, hand_made, tunable, tuned


def run(
    settings: Settings, parent: RunFolder, saved: Settings, task_trust: list[str] | None, trust: list[str]
) -> dict[str, Any]:
    """Score a finished run on the grid; the result is its row in a sweep's summary.

    Args:
        settings: Whose task node is varied.
        parent: The finished run,
        saved: and its settings.
        task_trust: See ``build``; for the task's classes.
        trust: For the run's own.
    """
    evaluation = settings.evaluation
    learners = {
        name: load_learner(parent, saved, variation(settings, changes, "task", task_trust), trust, evaluation.learner)
        for name, changes in variations(evaluation.grid, evaluation.problems).items()
    }
    references = {name: _reference(name, settings, list(learners.values())) for name in evaluation.against}
    config = identity_of(settings, "evaluation", "tune") | {"run": parent.path.name}
    folder = RunFolder.claim(Path(settings.output) / "evaluate", settings.run_name, config, settings.overrides)
    with folder.lock():
        folder.begin(parents=[str(parent.path)], **run_facts(settings))
        contests, edges = _Play(folder, settings, references).all(learners)
        _report(folder, settings, parent, contests, edges)
        folder.end("done")
    console().print(frame_table(_overview(contests), f"{settings.run_name}: {_meaning(contests)}"))
    for edge in edges:
        print(f"warning: {edge}")
    print(f"report: {folder.path / 'report.md'}")
    better = sum(contest.shown() < 1.0 for contest in contests) if references else None
    return {"final_loss": contests[0].own.mean.value, "cells": len(contests), "better": better, "run": str(folder.path)}


def _reference(name: str, settings: Settings, learners: Sequence[Learner[Any]]) -> Settings:
    """Compose a reference's settings, and see that it builds for every problem before anything is scored."""
    composed = hand_made(name, [f"learner={name}"], settings, learners[0].task)
    composed.tune.criterion = settings.tune.criterion or ("held_out" if learners[0].task.spec.hides else "final")
    tunable(composed)
    for learner in learners[1:]:
        build_learner(composed, learner.task)
    return composed


class _Play:
    """Scores everybody and writes metrics.csv.

    Args:
        folder: Of the run.
        settings: Of the command.
        references: Settings of the hand-made learners by name.
    """

    def __init__(self, folder: RunFolder, settings: Settings, references: Mapping[str, Settings]) -> None:
        self._settings = settings
        self._evaluation = settings.evaluation
        self._references = references
        self._metrics = MetricsFile(folder.path / "metrics.csv")
        self._metrics.truncate(0)
        self._edges: list[str] = []

    def all(self, learners: Mapping[str, Learner[Any]]) -> tuple[list[Contest], list[str]]:
        """Return every cell's contest, problem by problem, and the settings that lie at the edge of what was tried."""
        cells = len(learners) * len(self._evaluation.stretch)
        with Reporter("evaluate", cells * (1 + len(self._references))) as reporter:
            contests = []
            for problem, learner in learners.items():
                base = self._evaluation.steps or learner.task.horizon
                steps = {stretch: max(1, round(base * stretch)) for stretch in self._evaluation.stretch}
                # The shorter horizons are the beginning of the longest: the learner is the same for all of them.
                longest = self._scores(learner, max(steps.values()))
                for stretch, horizon in steps.items():
                    name = self._settings.choices["learner"]
                    scores = [cut(one, horizon) for one in longest]
                    own = self._cell(problem, stretch, name, "", scores)
                    reporter.advance(f"{problem} ×{stretch:g}: loss {own.mean.value:.4g}")
                    found = [self._reference(own, learner, other, reporter) for other in self._references]
                    contests.append(Contest(own, found))
        return contests, self._edges

    def _reference(self, own: Cell, learner: Learner[Any], name: str, reporter: Reporter) -> Cell:
        """Tune a hand-made learner for one problem and horizon, and score it as the run was."""
        found: Tuned = tuned(self._references[name], learner.task, own.steps)
        scores = self._scores(found.learner, own.steps)
        chosen = found.chosen
        if found.tuning and found.tuning.at_edge:
            keys = ", ".join(found.tuning.at_edge)
            self._edges.append(
                f"{name} on {own.problem} ×{own.stretch:g}: best {keys} lies at the edge of what was tried"
            )
        looks = [one.looks.mean().item() for one in scores if one.looks is not None]
        if looks:
            chosen += f"; {1 + sum(looks) / len(looks) / own.steps:.3g} looks a step"
        reporter.advance(f"{own.problem} ×{own.stretch:g} {name}")
        return self._cell(own.problem, own.stretch, name, chosen, scores)

    def _scores(self, learner: Learner[Any], steps: int) -> list[Scores]:
        plan = self._evaluation
        return [score(learner, plan.episodes, steps, seed, Phase.TEST, plan.chunk) for seed in plan.seeds]

    def _cell(self, problem: str, stretch: float, name: str, chosen: str, scores: Sequence[Scores]) -> Cell:
        for seed, one in zip(self._evaluation.seeds, scores, strict=True):
            self._metrics.append(rows_of(one, name, seed, f"{problem} ×{stretch:g}"))
        return cell_of(problem, stretch, name, chosen, scores)


def _overview(contests: Sequence[Contest]) -> pd.DataFrame:
    """Return one row a problem, one column a horizon: mean / median, and the ratio to the best reference."""

    def text(contest: Contest) -> str:
        ratio = f"  ({number(contest.shown())} ×)" if contest.references else ""
        return f"{number(contest.own.mean.value)} / {number(contest.own.median.value)}{ratio}"

    return _table(contests, "problem", text)


def _meaning(contests: Sequence[Contest]) -> str:
    ratio = ", and as a multiple of the best reference's mean" if contests[0].references else ""
    return f"mean / median loss {contests[0].own.where}{ratio}; {len(contests[0].own.finals)} fresh test episodes"


def _table(contests: Sequence[Contest], what: str, text: Callable[[Contest], Any]) -> pd.DataFrame:
    """Return one row a problem, one column a horizon; the first column's header says what the cells are."""
    names = horizon_names(contests)
    rows: dict[str, dict[str, Any]] = {}
    for contest in contests:
        row = rows.setdefault(contest.own.problem, {what: contest.own.problem})
        row[names[contest.own.stretch]] = text(contest)
    return pd.DataFrame(list(rows.values()))


def _metric_table(contests: Sequence[Contest], name: str) -> pd.DataFrame:
    return _table(contests, f"{name} {contests[0].own.where}", lambda contest: number(contest.own.metrics.get(name)))


def _within(interval: Interval) -> str:
    if math.isnan(interval.low):
        return number(interval.value)
    return f"{number(interval.value)} ({number(interval.low)} … {number(interval.high)})"


def _report(
    folder: RunFolder, settings: Settings, parent: RunFolder, contests: Sequence[Contest], edges: Sequence[str]
) -> None:
    pd.DataFrame([cell.row() for contest in contests for cell in (contest.own, *contest.references)]).to_csv(
        folder.path / "grid.csv", index=False
    )
    facts, plan = parent.facts(), settings.evaluation
    opening = [
        f"Learner `{settings.choices['learner']}` of `{parent.path}` ({facts['updates']} meta-updates, "
        f"{facts['seconds']:.0f} s, {facts['meta_parameters']} meta-parameters), scored on {plan.episodes} fresh test "
        f"episodes a seed, seeds {plan.seeds}, of every problem at every horizon.  The loss at step t is that of the "
        f"answer given before the t-th batch is learned from; shown is the one {contests[0].own.where}.  Intervals are "
        "95 %, bootstrapped "
        f"over episodes.  An episode has diverged if its last loss is more than {DIVERGED:g} times its first, or not "
        "finite."
    ]
    tables = [
        _table(contests, f"mean loss {contests[0].own.where}", lambda contest: _within(contest.own.mean)),
        _table(contests, f"median loss {contests[0].own.where}", lambda contest: _within(contest.own.median)),
        _table(contests, "diverged episodes", lambda contest: f"{contest.own.diverged:.1%}"),
        *(_metric_table(contests, name) for name in contests[0].own.metrics),
    ]
    sections = [Section("The run", tables=tables, figures=[grid_figure(contests, folder.path)])]
    if contests[0].references:
        sections += _against(settings, contests, edges)
    Report(f"Generalisation of {settings.run_name}", opening, sections).write(folder.path)


def _against(settings: Settings, contests: Sequence[Contest], edges: Sequence[str]) -> list[Section]:
    criterion, tune = settings.tune.criterion or contests[0].own.criterion, settings.tune
    text = (
        f"Each reference is tuned anew for each problem and each horizon, by its {criterion} loss on {tune.episodes} "
        "episodes of the tune phase; how many settings it got is said beside it.  The run itself is tuned for nothing "
        "here.  The best reference is the one with the lowest loss on the test episodes, which is in its favour.  The "
        "difference is paired: everybody meets the same episodes."
    )
    duels = [_duel(contest) for contest in contests]
    scores = [_line(cell) for contest in contests for cell in (contest.own, *contest.references)]
    return [
        Section("Against the best reference", [text, *(f"**{edge}**." for edge in edges)], [pd.DataFrame(duels)]),
        Section("All scores", tables=[pd.DataFrame(scores)]),
    ]


def _duel(contest: Contest) -> dict[str, Any]:
    best = contest.best()
    return {
        "problem": contest.own.problem,
        "steps": contest.own.steps,
        "run": contest.own.mean.value,
        "best reference": f"{best.contender} ({best.chosen})",
        "its loss": best.mean.value,
        "ratio of means": contest.shown(),
        "ratio of medians": contest.shown("median"),
        "difference of means": _within(contest.difference()),
    }


def _line(cell: Cell) -> dict[str, Any]:
    return {
        "problem": cell.problem,
        "steps": cell.steps,
        "contender": cell.contender,
        "chosen": cell.chosen or "–",
        "mean": _within(cell.mean),
        "median": number(cell.median.value),
        "diverged": f"{cell.diverged:.1%}",
        **cell.metrics,
    }
