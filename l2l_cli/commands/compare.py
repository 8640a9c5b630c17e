"""l2l compare: contenders on the same test episodes, the hand-made ones tuned with one equal budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from l2l_cli.commands.figures import contenders_figure
from l2l_cli.commands.progress import Reporter, console
from l2l_cli.config import compose, identity_of
from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.evaluation.tune import Tuning, settings_of, tune
from l2l_cli.groups import options
from l2l_cli.learners.base import Learner
from l2l_cli.learners.rollout import score
from l2l_cli.results.frame import MetricsFile, bootstrap_interval
from l2l_cli.results.report import Report, Section, frame_table
from l2l_cli.results.run import RunFolder
from l2l_cli.runs import build_learner, build_task, load_learner, load_run, prepare, run_facts, task_was_chosen
from l2l_cli.schema import Settings
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
    contenders = [
        Contender(_run_name(folder, saved, finished), load_learner(folder, saved, task, trust), None, str(folder.path))
        for folder, saved in finished
    ]
    prepared = {name: _composed(name, overrides, settings, task) for name, overrides in wanted.items()}
    folder = RunFolder.claim(Path(settings.output) / "compare", settings.run_name, config, settings.overrides)
    with folder.lock():
        folder.begin(parents=[str(run.path) for run, _ in finished], **run_facts(settings))
        contenders += [_tuned(name, setting, task, settings) for name, setting in prepared.items()]
        table = _score(folder, contenders, settings, task)
        folder.end("done", tuning={item.name: _trials(item) for item in contenders if item.tuning})
    console().print(
        frame_table(table, f"{settings.choices['task']}: {settings.evaluation.episodes} test episodes a seed")
    )
    for contender in contenders:
        if contender.tuning and contender.tuning.at_edge:
            print(f"warning: {contender.name}: best {', '.join(contender.tuning.at_edge)} lies at the edge of its grid")
    print(f"report: {folder.path / 'report.md'}")
    best = table.sort_values("final loss").iloc[0]
    return {"best": best["contender"], "final_loss": best["final loss"], "run": str(folder.path)}


def _wanted(settings: Settings, learners: list[str], has_runs: bool) -> dict[str, list[str]]:
    """Return the contenders' overrides by name: as configured, as named, or every hand-made rule that applies."""
    wanted = {str(name): [str(item) for item in items] for name, items in settings.contenders.items()}
    wanted |= {name: [f"learner={name}"] for name in learners}
    if not wanted and not has_runs:
        raise UsageError(
            f"nobody to compare: name finished runs and learners (learners: {', '.join(options('learner'))})"
        )
    return wanted


def _run_name(folder: RunFolder, saved: Settings, finished: list[tuple[RunFolder, Settings]]) -> str:
    """Name a run by its learner, and by its folder where that is not enough."""
    name = str(saved.choices.get("learner"))
    alike = [other for _, other in finished if other.choices.get("learner") == name]
    return f"{name} (meta-trained)" if len(alike) == 1 else f"{name} {folder.path.name.rpartition('-')[2]}"


def _composed(name: str, overrides: list[str], settings: Settings, task: Task) -> Settings:
    """Compose a contender's own settings, what the user typed before its own overrides, and see that they build."""
    typed = [item for item in settings.overrides if not item.startswith("contenders")]
    composed = compose("compare", [*typed, *overrides], settings.config_dir)
    if build_learner(composed, task).is_meta_trained:
        raise UsageError(
            f"learner {name} has weights to be meta-trained first; name its finished run's folder instead of {name!r}"
        )
    return composed


def _tuned(name: str, setting: Settings, task: Task, settings: Settings) -> Contender:
    """Tune a hand-made learner on the tune phase and build it at its best."""
    points = settings_of(setting.tune.grid, settings.tune.budget)
    if points == [{}]:
        return Contender(name, build_learner(setting, task), None, "nothing to tune")

    def make(point: dict[str, Any]) -> Learner[Any]:
        return build_learner(_with(setting, point), task)

    steps = settings.evaluation.steps or task.horizon
    criterion = settings.tune.criterion or "mean"
    with Reporter(f"tune {name}", len(points)) as reporter:
        tuning = tune(make, points, settings.tune.episodes, steps, settings.seed, criterion)
        reporter.say(
            f"{name}: {len(points)} settings tried, best {_shown(tuning)} ({criterion} {tuning.best.loss:.4g})"
        )
    return Contender(name, make(tuning.best.setting), tuning, f"best of {len(points)}: {_shown(tuning)}")


def _with(setting: Settings, point: dict[str, Any]) -> Settings:
    """Return settings with dotted keys replaced."""
    return compose(
        "compare", [*setting.overrides, *(f"{key}={value}" for key, value in point.items())], setting.config_dir
    )


def _shown(tuning: Tuning) -> str:
    return ", ".join(f"{key.removeprefix('learner.')}={value:g}" for key, value in tuning.best.setting.items())


def _trials(contender: Contender) -> list[dict[str, Any]]:
    assert contender.tuning is not None
    return [{**trial.setting, "loss": trial.loss} for trial in contender.tuning.trials]


def _score(folder: RunFolder, contenders: list[Contender], settings: Settings, task: Task) -> pd.DataFrame:
    """Score everybody on the test phase, draw the curves and write the report."""
    metrics = MetricsFile(folder.path / "metrics.csv")
    metrics.truncate(0)
    evaluation, steps = settings.evaluation, settings.evaluation.steps or task.horizon
    rows = []
    with Reporter("score", len(contenders)) as reporter:
        for contender in contenders:
            losses = []
            for seed in evaluation.seeds:
                scores = score(contender.learner, evaluation.episodes, steps, seed, Phase.TEST, evaluation.chunk)
                metrics.append(rows_of(scores, contender.name, seed, "test"))
                losses.append(scores.losses)
            rows.append(_row(contender, losses, steps))
            reporter.advance(contender.name)
    table = pd.DataFrame(rows)
    figure = contenders_figure(metrics.read(), [contender.name for contender in contenders], folder.path)
    budget = (
        f"Hand-made learners got {settings.tune.budget} settings each, scored by their "
        f"{settings.tune.criterion or 'mean'} loss on {settings.tune.episodes} episodes of the tune phase; nothing was "
        "chosen on the test episodes shown here."
    )
    sections = [Section("Scores", tables=[table], figures=[figure])]
    Report(f"Comparison on {settings.choices['task']}", [budget], sections).write(folder.path)
    return table


def _row(contender: Contender, losses: list[Any], steps: int) -> dict[str, Any]:
    joined = torch.cat(losses, 1)
    final = bootstrap_interval(joined[-1].tolist())
    shown = sorted({max(1, round(share * steps)) for share in CHECKPOINTS[:-1]})
    return {
        "contender": contender.name,
        "chosen": contender.origin,
        **{f"loss@{step}": joined[step - 1].mean().item() for step in shown},
        "final loss": final.value,
        "95 % interval": f"{final.low:.3g} … {final.high:.3g}",
        "mean loss": joined.mean().item(),
    }
