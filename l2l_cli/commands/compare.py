"""l2l compare: contenders on the same test episodes, the hand-made ones tuned with one equal budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from l2l_cli.commands import held_out
from l2l_cli.commands.figures import contenders_figure
from l2l_cli.config.compose import identity_of
from l2l_cli.config.groups import options
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.evaluation.score import Scores, criterion_for, score, side_by_side
from l2l_cli.evaluation.tune import Trial, Tuning
from l2l_cli.learners.base import Learner
from l2l_cli.results.frame import MetricsFile, bootstrap_interval
from l2l_cli.results.report import Report, Section, frame_table
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.building import build_task, prepare, run_facts
from l2l_cli.runs.loading import load_learner, load_run, task_was_chosen
from l2l_cli.runs.progress import Reporter, console
from l2l_cli.runs.tuning import hand_made, tunable, tuned
from l2l_cli.tasks.base import Task

CHECKPOINTS = (0.05, 0.2, 0.5, 1.0)
"""Shares of the horizon at which the table shows the loss."""


@dataclass
class Contender:
    """Somebody who is compared.

    Attributes:
        name: In tables and figures.
        learner: Ready to be scored.
        tuning: The trials that chose its setting; None for a meta-trained learner or one with nothing to tune.
        origin: Where it comes from, for the report.
    """

    name: str
    learner: Learner[Any]
    tuning: Tuning | None
    origin: str


def run(settings: Settings, learners: list[str], runs: list[str], trust: list[str]) -> dict[str, Any]:
    """Run the command; the result is the comparison's row in a sweep's summary."""
    prepare(settings.hardware)
    finished = [load_run(path, settings) for path in runs]
    if finished and not task_was_chosen(settings):
        settings.task, settings.choices["task"] = finished[0][1].task, finished[0][1].choices["task"]
    if settings.tune.criterion is None and finished:
        # Hand-made rules are tuned for what the first meta-trained one was selected by.
        settings.tune.criterion = finished[0][1].meta.criterion
    task = build_task(settings, trust if finished and not task_was_chosen(settings) else None)
    wanted = _wanted(settings, learners, bool(runs))
    config = identity_of(settings, "evaluation", "tune", "meta") | {
        "contenders": wanted,
        "runs": [folder.path.name for folder, _ in finished],
    }
    settings.choices["learner"] = "contenders"
    learners_of_runs = _meta_trained(finished, settings, task, trust)
    prepared = {name: hand_made(name, overrides, settings, task) for name, overrides in wanted.items()}
    folder = RunFolder.claim(Path(settings.output) / "compare", settings.run_name, config, settings.overrides)
    with folder.lock():
        folder.begin(parents=[str(run.path) for run, _ in finished], **run_facts(settings))
        contenders = learners_of_runs + [_tuned(name, own, task, settings) for name, own in prepared.items()]
        table = _score(folder, contenders, settings, task)
        folder.end("done", tuning={item.name: _trials(item) for item in contenders if item.tuning})
    console().print(
        frame_table(table, f"{settings.choices['task']}: {settings.evaluation.episodes} test episodes a seed")
    )
    for warning in _edges(contenders):
        print(f"warning: {warning}")
    print(f"report: {folder.path / 'report.md'}")
    column = held_out.COLUMN if task.spec.hides else "final loss"
    best = table.sort_values(column).iloc[0]
    key = column.replace(" ", "_").replace("-", "_")
    return {"best": best["contender"], key: best[column], "run": str(folder.path)}


def _wanted(settings: Settings, learners: list[str], has_runs: bool) -> dict[str, list[str]]:
    """Return the contenders' overrides by name: as configured, as named, or every hand-made rule that applies."""
    wanted = {str(name): [str(item) for item in items] for name, items in settings.contenders.items()}
    wanted |= {name: [f"learner={name}"] for name in learners}
    if not wanted and not has_runs:
        raise UsageError(
            f"nobody to compare: name finished runs and learners (learners: {', '.join(options('learner'))})"
        )
    return wanted


def _meta_trained(
    finished: list[tuple[RunFolder, Settings]], settings: Settings, task: Task, trust: list[str]
) -> list[Contender]:
    """Load what finished runs trained."""
    return [
        Contender(
            _run_name(folder, saved, finished),
            load_learner(folder, saved, task, trust, settings.evaluation.learner),
            None,
            str(folder.path),
        )
        for folder, saved in finished
    ]


def _run_name(folder: RunFolder, saved: Settings, finished: list[tuple[RunFolder, Settings]]) -> str:
    """Name a run by its learner, and by its folder where that is not enough."""
    name = str(saved.choices.get("learner"))
    alike = [other for _, other in finished if other.choices.get("learner") == name]
    return f"{name} (meta-trained)" if len(alike) == 1 else f"{name} {folder.path.name.rpartition('-')[2]}"


def _tuned(name: str, setting: Settings, task: Task, settings: Settings) -> Contender:
    """Tune a hand-made learner on the tune phase and build it at its best."""
    setting.tune.criterion = settings.tune.criterion
    with Reporter(f"tune {name}", len(tunable(setting))) as reporter:

        def tell(trial: Trial) -> None:
            reporter.advance(f"loss {trial.loss:.4g}")

        found = tuned(setting, task, settings.evaluation.steps or task.horizon, tell)
        if found.tuning:
            criterion = criterion_for(task, settings.tune.criterion)
            reporter.say(f"{name}: {found.chosen} ({criterion} loss {found.tuning.best.loss:.4g})")
    return Contender(name, found.learner, found.tuning, found.chosen)


def _trials(contender: Contender) -> list[dict[str, Any]]:
    assert contender.tuning is not None
    return [{**trial.setting, "loss": trial.loss} for trial in contender.tuning.trials]


def _edges(contenders: Sequence[Contender]) -> list[str]:
    """Name the contenders that a wider grid might serve better."""
    return [
        f"{item.name}: best {', '.join(item.tuning.at_edge)} lies at the edge of what was tried"
        for item in contenders
        if item.tuning and item.tuning.at_edge
    ]


def _budget(contenders: Sequence[Contender], settings: Settings, task: Task) -> str:
    """Say how the hand-made ones were tuned, each with its budget where these differ."""
    tried = {item.name: len(item.tuning.trials) for item in contenders if item.tuning}
    budgets = set(tried.values()) or {settings.tune.budget}
    own = ", ".join(f"{name} {count} settings" for name, count in tried.items())
    return (
        f"Hand-made learners got {own if len(budgets) > 1 else f'{budgets.pop()} settings each'}, scored by their "
        f"{criterion_for(task, settings.tune.criterion)} loss on {settings.tune.episodes} episodes of the tune phase; "
        "nothing was chosen on the test episodes shown here."
    )


def _score(folder: RunFolder, contenders: list[Contender], settings: Settings, task: Task) -> pd.DataFrame:
    """Score everybody on the test phase, draw the curves and write the report."""
    metrics = MetricsFile(folder.path / "metrics.csv")
    metrics.truncate(0)
    evaluation, steps = settings.evaluation, settings.evaluation.steps or task.horizon
    rows, every = [], {}
    with Reporter("score", len(contenders)) as reporter:
        for contender in contenders:
            parts = []
            for seed in evaluation.seeds:
                scores = score(contender.learner, evaluation.episodes, steps, seed, Phase.TEST, evaluation.chunk)
                metrics.append(rows_of(scores, contender.name, seed, "test"))
                parts.append(scores)
            joined = every[contender.name] = side_by_side(parts)
            looks = 0.0 if joined.looks is None else joined.looks.mean().item() / steps
            rows.append(_row(contender, joined, steps) | {"looks a step": 1.0 + looks})
            reporter.advance(contender.name)
    table = pd.DataFrame(rows)
    if (table["looks a step"] == 1.0).all():
        table = table.drop(columns="looks a step")
    opening = [_budget(contenders, settings, task)]
    if task.spec.hides:
        table["less the lowest, paired"] = held_out.against_the_best(every)
        opening.append(held_out.MEANING)
    figure = contenders_figure(metrics.read(), [contender.name for contender in contenders], folder.path)
    warnings = [f"**{warning}**: a wider grid may serve it better." for warning in _edges(contenders)]
    sections = [Section("Scores", tables=[table], figures=[figure])]
    Report(f"Comparison on {settings.choices['task']}", [*opening, *warnings], sections).write(folder.path)
    return table


def _row(contender: Contender, scores: Scores, steps: int) -> dict[str, Any]:
    joined, who = scores.losses, {"contender": contender.name, "chosen": contender.origin}
    if scores.shown is not None:
        return who | held_out.row(scores) | {"mean loss": joined.mean().item()}
    final = bootstrap_interval(joined[-1].tolist())
    shown = sorted({max(1, round(share * steps)) for share in CHECKPOINTS[:-1]})
    return {
        **who,
        **{f"loss@{step}": joined[step - 1].mean().item() for step in shown},
        "final loss": final.value,
        "95 % interval": f"{final.low:.3g} … {final.high:.3g}",
        "mean loss": joined.mean().item(),
    }
