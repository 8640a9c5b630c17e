"""l2l compare: contenders on the same test episodes; each hand-made one is tuned with the same budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from l2l_cli.commands import held_out
from l2l_cli.commands.certifying import Certified, certified
from l2l_cli.commands.checks import wanted
from l2l_cli.commands.figures import contenders_figure
from l2l_cli.commands.invited import Invited
from l2l_cli.commands.next_words import after
from l2l_cli.commands.stored import say_known
from l2l_cli.config.build import Builder, build
from l2l_cli.config.compose import identity_of
from l2l_cli.config.own_task import key_of_word, task_was_chosen
from l2l_cli.config.schema import Settings
from l2l_cli.core.files import atomic_write
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.nodes import Entries
from l2l_cli.core.printable import counted
from l2l_cli.core.voice import VOICE
from l2l_cli.evaluation.contest import Contender, Problem, Standing, Unit, read_by, units_of
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.evaluation.score import criterion_for
from l2l_cli.evaluation.tune import Tuned
from l2l_cli.results import report
from l2l_cli.results.content import Lead, Report, Section
from l2l_cli.results.ending import ending
from l2l_cli.results.exported import FinishedRun
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.provenance import command_line
from l2l_cli.results.run import TABLE, RunFolder
from l2l_cli.results.standings import AHEAD, BESIDE, LEVEL, stands
from l2l_cli.results.statistics import difference_of, over_episodes
from l2l_cli.results.store import Store
from l2l_cli.results.tables import frame_table
from l2l_cli.results.terminal import console
from l2l_cli.runs.aside import settled
from l2l_cli.runs.building import build_task, prepare, run_facts, store_of
from l2l_cli.runs.contenders import hand_made_contender, identity_of_task, learned_contender, plan_of
from l2l_cli.runs.folders import label_of, load_run, warn_of_changes, with_task_of
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.memory import refuse_excess_of_scoring
from l2l_cli.runs.progress import Reporter
from l2l_cli.runs.tuning import tunable
from l2l_cli.tasks.base import Task

CHECKPOINTS = (0.05, 0.2, 0.5, 1.0)
"""Shares of the horizon at which the table shows the loss."""

EVALUATIONS = "evaluations per step"


class Comparing(NamedTuple):
    """The parts of a comparison, before anything is computed.

    Attributes:
        settings: Settings, completed from finished runs where the user specified nothing.
        identity: Values that determine the comparison's results.
        finished: Finished runs with their settings; they are the first contenders.
        units: Each contender on the task.
        store: Store of scores and trials.
        left_out: Reasons, by name, why learners that ``all`` stands for do not take part.
    """

    settings: Settings
    identity: Entries
    finished: Sequence[tuple[FinishedRun, Settings]]
    units: list[Unit]
    store: Store
    left_out: Mapping[str, str]


def plan(settings: Settings, learners: list[str], runs: list[str], trust: list[str]) -> Comparing:
    """Build all contenders and check that they fit the task; any process may then play a unit into the store."""
    prepare(settings.hardware)
    finished = _opened(runs, settings)
    warn_of_changes(finished, trust)
    ours = finished and not task_was_chosen(settings.overrides)
    settings = _completed(settings, finished)
    builder = Builder(trust)
    task = build_task(settings, builder if ours else build)
    invited = Invited.to(wanted(settings, learners, bool(runs)), learners, settings, task)
    common = [word for word in settings.overrides if key_of_word(word).startswith("learner.")]
    identity = identity_of(settings, "evaluation", "tune", "meta") | {
        "contenders": invited.asked,
        **({"learner": common} if common else {}),
        "runs": [folder.path.name for folder, _ in finished],
    }
    store = store_of(settings)
    learned = _meta_trained(finished, task, builder)
    contenders = [*learned, *(_hand_made(name, one, settings, store) for name, one in invited.prepared.items())]
    steps = settings.evaluation.steps or task.horizon
    problem = Problem("", task, steps, plan_of(settings), identity_of_task(settings, task))
    units = units_of(contenders, [problem])
    return Comparing(settings, identity | read_by(units), finished, units, store, invited.left_out)


def run(settings: Settings, learners: list[str], runs: list[str], trust: list[str]) -> dict[str, Any]:
    """Run the command and return the comparison's row in a sweep's summary."""
    planned = plan(settings, learners, runs, trust)
    settings, task = planned.settings, planned.units[0].problem.task
    root = Path(settings.output) / "compare"
    folder = RunFolder.claim(root, settings.run_name, planned.identity, settings.overrides)
    for name, why in planned.left_out.items():
        VOICE.note(f"left out: {name}: {why}")
    with folder.lock(), ending(folder):
        folder.begin(parents=[str(run.path) for run, _ in planned.finished], **run_facts(settings))
        say_known(planned.units, planned.store, "contenders")
        standings, table, certificates = _score(folder, planned)
        tuning = {name: _trials(one) for name, one in standings.items() if one.entry.tuning}
        worth = certificates.facts if certificates else {}
        folder.end("done", tuning=tuning, headline=who_leads(standings)[1], **worth)
    planned.store.prune()
    folder = settled(folder, settings)
    title = f"{label_of(settings, settings.choices['task'])}: {settings.evaluation.episodes} test episodes per seed"
    console().print(frame_table(table, title))
    for warning in _edges(standings):
        print(f"warning: {warning}")
    print(f"report: {folder.path / 'report.md'}")
    column = held_out.COLUMN if task.spec.hides else "final loss"
    best, lead = who_leads(standings)
    print(lead)
    if certificates:
        certificates.say()
    VOICE.suggest(*after(folder.path))
    key = column.replace(" ", "_").replace("-", "_")
    row = {"objective": key, "best": best, key: table[column].min()}
    return {**row, "seconds": folder.facts()["seconds"], "run": str(folder.path)}


def _opened(runs: Sequence[str], settings: Settings) -> list[tuple[FinishedRun, Settings]]:
    """Open finished runs, each only once even if it is named several times or by different paths.

    Raises:
        UsageError: One is not a finished run, or is damaged.
    """
    found: dict[Path, tuple[FinishedRun, Settings]] = {}
    for path in runs:
        run, saved = load_run(path, settings)
        found.setdefault(run.path.resolve(), (run, saved))
    return [*found.values()]


def _completed(settings: Settings, finished: Sequence[tuple[FinishedRun, Settings]]) -> Settings:
    """Return the settings, with task and tuning criterion taken from finished runs if the user did not specify them."""
    settings = with_task_of(settings, finished)
    if finished and settings.tune.criterion is None:
        # Hand-made rules are tuned by the criterion that selected the first meta-trained one.
        settings = replace(settings, tune=replace(settings.tune, criterion=finished[0][1].meta.criterion))
    return replace(settings, choices=settings.choices | {"learner": "contenders"})


def _meta_trained(finished: Sequence[tuple[FinishedRun, Settings]], task: Task, builder: Builder) -> list[Contender]:
    """Load the learners that finished runs trained."""
    contenders = []
    for folder, saved in finished:
        learner = load_learner(folder, saved, task, builder)
        refuse_excess_of_scoring(saved, learner)
        name = str(saved.choices.get("learner"))
        alike = [other.path for other, present in finished if present.choices.get("learner") == name]
        tails = [path.name.rpartition("-")[2] for path in alike]
        tail = folder.path.name.rpartition("-")[2]
        # A run is named by its learner; by its folder, too, if that is ambiguous; and by its path if both are.
        own = tail if tails.count(tail) == 1 else str(folder.path)
        contenders.append(learned_contender(f"{name} {own if len(alike) > 1 else '(meta-trained)'}", learner, saved))
    return contenders


def _hand_made(name: str, prepared: Settings, settings: Settings, store: Store) -> Contender:
    """Return a hand-made contender that shows the progress of its tuning."""
    prepared = replace(prepared, tune=replace(prepared.tune, criterion=settings.tune.criterion))

    def prepare(problem: Problem) -> Tuned:
        with Reporter(f"tune {name}", len(tunable(prepared)), unit="settings") as reporter:

            def tell(share: float, note: str) -> None:
                reporter.advance(note, share)

            found = hand_made_contender(name, prepared, tell, store).prepare(problem)
            if found.tuning:
                criterion = criterion_for(problem.task, settings.tune.criterion)
                reporter.say(f"{name}: {found.chosen} ({criterion} loss {found.tuning.best.loss:.4g})")
        return found

    return hand_made_contender(name, prepared, store=store)._replace(prepare=prepare)


def who_leads(standings: Mapping[str, Standing]) -> tuple[str, str]:
    """Return the contender with the lowest loss, marked "level" if that is uncertain, and a sentence on its lead.

    Limits and solvers, which evaluate a batch more than once per step, do not compete if two others do.
    """
    once = {name: one for name, one in standings.items() if one.evaluations == 1.0 and not one.entry.learner.is_limit}
    competing = once if len(once) > 1 else standings
    losses = {name: one.ends.cpu().numpy()[None] for name, one in competing.items()}
    first, *others = sorted(losses, key=lambda name: losses[name].mean())
    if not others:
        return first, f"{first} is the only contender."
    lead = difference_of(losses[first], losses[others[0]])
    how = stands(lead.interval)
    name = first if how == AHEAD else f"{first}, {LEVEL} with {others[0]}"
    among = "" if len(competing) == len(standings) else " of those that evaluate a batch once per step"
    text = f"{first} has the lowest loss{among}, {BESIDE[how]} {others[0]}: difference {lead.within('.3g')}"
    return name, f"{text} between these two on the same episodes."


def _trials(standing: Standing) -> list[dict[str, Any]]:
    assert standing.entry.tuning is not None
    return [{**trial.setting, "loss": trial.loss} for trial in standing.entry.tuning.trials]


def _edges(standings: Mapping[str, Standing]) -> list[str]:
    """Return warnings about contenders for which a wider grid might be better."""
    return [
        f"{name}: {one.entry.tuning.warning}"
        for name, one in standings.items()
        if one.entry.tuning and one.entry.tuning.at_edge
    ]


def _budget(standings: Mapping[str, Standing], settings: Settings, task: Task) -> str:
    """Describe how the hand-made contenders were tuned, with the budget of each if budgets differ."""
    tried = {name: len(one.entry.tuning.trials) for name, one in standings.items() if one.entry.tuning}
    budgets = set(tried.values()) or {settings.tune.budget}
    each = ", ".join(f"{name} {counted(count, 'setting')}" for name, count in tried.items())
    how_many = each if len(budgets) > 1 else f"{counted(budgets.pop(), 'setting')} each"
    episodes = counted(settings.tune.episodes, "episode")
    return (
        f"Hand-made learners were tuned over {how_many}, by their {criterion_for(task, settings.tune.criterion)} loss "
        f"on {episodes} of the tune phase; nothing was chosen on the test episodes."
    )


def _score(folder: RunFolder, planned: Comparing) -> tuple[dict[str, Standing], pd.DataFrame, Certified | None]:
    """Score all contenders in phase test, certify what was learned, draw the curves and write the report."""
    settings, task = planned.settings, planned.units[0].problem.task
    metrics = MetricsFile(folder.path / "metrics.csv")
    metrics.truncate(0)
    standings: dict[str, Standing] = {}
    with Reporter("score", len(planned.units), unit="contenders") as reporter:
        for unit in planned.units:
            name = unit.contender.name
            standings[name] = unit.play(planned.store)
            for seed, scores in zip(settings.evaluation.seeds, standings[name].scores, strict=True):
                metrics.append(rows_of(scores, name, seed))
            reporter.advance(name)
    table = pd.DataFrame([_row(name, standing) for name, standing in standings.items()])
    if (table[EVALUATIONS] == 1.0).all():
        table = table.drop(columns=EVALUATIONS)
    opening = [_budget(standings, settings, task), who_leads(standings)[1]]
    if task.spec.hides:
        table["difference from the lowest, paired"] = held_out.against_the_best(standings)
        opening.append(held_out.MEANING)
    atomic_write(folder.path / TABLE, table.to_csv(index=False))
    opening += [f"`all` leaves out {name}: {why}." for name, why in planned.left_out.items()]
    certificates = certified(planned.finished, standings)
    warnings = [f"**{warning}**; a wider grid may find a better setting." for warning in _edges(standings)]
    with LEDGER.of("drawing"):
        figure = contenders_figure(metrics.read(), standings, folder.path)
        sections = [Section("Scores", tables=[table], figures=[figure])]
        sections += [certificates.section] if certificates else []
        title = f"Comparison on {label_of(settings, settings.choices['task'])}"
        question = (
            f"Which of {len(standings)} learners has the lowest loss on {label_of(settings, settings.choices['task'])}?"
        )
        edges = [name for name, one in standings.items() if one.entry.tuning and one.entry.tuning.at_edge]
        served = [f"A wider grid may find better settings for {', '.join(edges)}."] if edges else []
        lead = Lead(question, [opening[1], *served, opening[0].split(";")[0] + "."], command=command_line())
        report.write(Report(title, [*opening, *warnings], sections, lead), folder.path)
    return standings, table, certificates


def _row(name: str, standing: Standing) -> dict[str, Any]:
    joined, steps = standing.joined, standing.entry.problem.steps
    who = {"contender": name, "chosen": standing.entry.chosen}
    rest = {"mean loss": joined.losses.mean().item(), EVALUATIONS: standing.evaluations}
    if joined.visible is not None:
        return who | held_out.row(joined) | rest
    final = over_episodes(standing.ends.cpu().numpy())
    shown = sorted({max(1, round(share * steps)) for share in CHECKPOINTS[:-1]})
    return {
        **who,
        **{f"loss@{step}": joined.losses[step - 1].mean().item() for step in shown},
        "final loss": final.value,
        "95 % interval": final.ends(".3g"),
        **rest,
    }
