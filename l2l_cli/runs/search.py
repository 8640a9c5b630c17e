"""Random search before a meta-training run: short trials, then the run at the values of the best trial.

Source: Andrychowicz et al. 2016, §3 ("the learning rate is chosen by random search").
Deviation: the paper states neither ranges nor budget; both are ours, and part of the run's configuration.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from itertools import takewhile

import torch

from l2l_cli.config.schema import SEARCHED, Search, Settings
from l2l_cli.core.errors import L2LError, RunFailed, UsageError, did_you_mean
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.printable import counted
from l2l_cli.core.random import generator
from l2l_cli.core.ranges import shown
from l2l_cli.core.stop import STOP
from l2l_cli.core.types import Phase
from l2l_cli.evaluation.kept import Trials, labels_of, measured
from l2l_cli.evaluation.score import criterion_for
from l2l_cli.meta.training import Training, Update
from l2l_cli.results.run import RunFolder
from l2l_cli.results.store import Column, Store
from l2l_cli.runs.building import run_facts, store_of
from l2l_cli.runs.contenders import identity_of_task
from l2l_cli.runs.progress import Relay, Reporter
from l2l_cli.tasks.base import Task

Make = Callable[[Settings], Training]
"""Function that builds the training of a configuration."""


def draws(search: Search, seed: int) -> list[dict[str, float]]:
    """Return the values of each trial, log-uniform in their ranges; they depend only on the run's seed."""
    return [
        {key: _log_uniform(low, high, seed, stream, trial) for key, (low, high, stream) in search.wanted.items()}
        for trial in range(search.trials)
    ]


def _log_uniform(low: float, high: float, seed: int, *labels: object) -> float:
    share = torch.rand((), generator=generator(seed, "search", *labels), dtype=torch.float64, device="cpu").item()
    return float(low * (high / low) ** share)


def with_values(settings: Settings, values: Mapping[str, float]) -> Settings:
    """Return a copy of the settings in which some keys have new values.

    Raises:
        UsageError: There is no numeric option of that name, or its value is out of range.
    """
    changed = copy.deepcopy(settings)
    places = {key: node for group in SEARCHED for key, node in _places(vars(changed)[group], group)}
    for key, value in values.items():
        if key not in places:
            raise UsageError(
                f"search.ranges: there is no numeric option {key!r}{did_you_mean(key, places)} (numeric options: "
                f"{', '.join(places)})"
            )
        places[key][key.rpartition(".")[2]] = value
    try:
        changed.meta = replace(changed.meta)  # checks the ranges
    except ValueError as error:
        raise UsageError(f"search.ranges: {error}") from error
    return changed


def _places(node: object, prefix: str) -> Iterator[tuple[str, Entries]]:
    """Yield each number's key and the mapping that contains it."""
    # In the plan an integer is a count; in an open node it may be a rate that was typed without a decimal point.
    kinds = int | float if isinstance(node, dict) else float
    inside = node if isinstance(node, dict) else vars(node)
    for name, value in inside.items():
        if isinstance(value, dict):
            yield from _places(value, f"{prefix}.{name}")
        elif isinstance(value, kinds) and not isinstance(value, bool):
            yield f"{prefix}.{name}", inside


def check(settings: Settings, make: Make) -> None:
    """Check that a training can be built at both ends of every range, before anything is written.

    Raises:
        UsageError: A training cannot be built there.
    """
    if settings.search.trials:
        make(with_values(settings, {key: float(each.low) for key, each in settings.search.wanted.items()}))
        make(with_values(settings, {key: float(each.high) for key, each in settings.search.wanted.items()}))


def searched(
    settings: Settings, folder: RunFolder, make: Make, relay: Relay | None, begin: Callable[[Settings], None]
) -> Settings:
    """Return the settings with the values of the best trial; run.json records all trials.

    A trial consists of ``search.updates`` updates under the whole schedule, and its score is its best validation.
    Trials that run.json or the store already has are not run again; ``begin`` is called before each of the others.

    Raises:
        RunFailed: No trial reached a finite validation loss.
    """
    if not settings.search.trials:
        return settings
    folder.begin(**run_facts(settings))
    try:
        with LEDGER.of("tuning"):
            trials = _trials(settings, folder, make, relay, begin)
        finite = [trial for trial in trials if trial["validation"] is not None]
        if not finite:
            raise RunFailed(f"the whole search of {counted(len(trials), 'trial')} diverged; lower search.ranges")
    except KeyboardInterrupt:
        folder.end("interrupted", updates=0)
        raise
    except L2LError as error:
        folder.end("failed", message=str(error), updates=0)
        raise
    best = min(finite, key=lambda trial: float(trial["validation"]))
    chosen = {key: best[key] for key in settings.search.wanted}
    folder.note(chosen=chosen, search_updates=sum(trial["updates"] for trial in trials))
    store_of(settings).prune()
    return with_values(settings, chosen)


def _trials(
    settings: Settings, folder: RunFolder, make: Make, relay: Relay | None, begin: Callable[[Settings], None]
) -> list[Entries]:
    """Run the trials that are still missing, and record each when it ends."""
    search, drawn, store = settings.search, draws(settings.search, settings.seed), store_of(settings)
    # Trials in run.json count only as long as they are of the same draws.
    pairs = zip(folder.facts().get("search", []), drawn, strict=False)
    trials: list[Entries] = [trial for trial, _ in takewhile(lambda pair: pair[1].items() <= pair[0].items(), pairs)]
    title = f"search {settings.run_name} seed {settings.seed}"
    total, before = search.trials * search.updates, len(trials) * search.updates
    with Reporter(title, total, before, relay, "updates") as reporter, STOP.held():
        for values in drawn[len(trials) :]:
            asked = with_values(settings, values)
            asked.meta = replace(asked.meta, updates=search.updates)
            trials.append(values | _known_or_run(asked, values, make(asked), store, reporter, begin))
            folder.note(search=trials)
            reporter.say(f"trial {len(trials)} of {len(drawn)}, {shown(values)}: {_outcome(trials[-1])}")
    return trials


def _known_or_run(
    asked: Settings,
    values: Node,
    training: Training,
    store: Store,
    reporter: Reporter,
    begin: Callable[[Settings], None],
) -> Entries:
    """Return the outcome of a trial, from the store if it was run before."""
    kept = _kept(asked, training.learner.task, store)
    if found := kept.find(values):
        reporter.drop(asked.meta.updates)
        return {name: found.facts[name] for name in ("validation", "updates")}
    begin(asked)
    with measured(kept.activity) as cost:
        trial = _trial(training, asked.meta.updates, reporter)
    loss = math.nan if trial["validation"] is None else float(trial["validation"])
    kept.keep(values, loss, trial | cost.facts(), trial["updates"])
    return trial


def _kept(asked: Settings, task: Task, store: Store) -> Trials:
    """Return the stored trials of a training, by all that determines the training."""
    nodes = asdict(asked)
    learner = {key: nodes[key] for key in ("learner", "optimizer", "gradient", "meta", "vary")}
    del learner["meta"]["checkpoint_every"]
    problem = identity_of_task(asked, task)
    key = {"training": learner, "precision": asked.hardware.precision, "problem": problem, "seed": asked.seed}
    plan, phase = asked.meta, Phase.META_VALID.value
    labels = labels_of(str(asked.choices.get("learner")), learner, "", problem, phase, asked.seed)
    judge: dict[str, Column] = {
        "criterion": criterion_for(task, plan.criterion),
        "steps": plan.validation_steps or task.horizon,
        "episodes": plan.validation_episodes,
    }
    return Trials(store, key, labels | judge)


def _trial(training: Training, updates: int, reporter: Reporter) -> Entries:
    """Return a trial's best validation loss, None if it diverged, and its number of updates."""
    best: float | None = None
    try:
        for record in training.records():
            if isinstance(record, Update):
                reporter.advance(f"loss {record.loss:.4g}")
            STOP.check()
        best = training.best if math.isfinite(training.best) else None
    except RunFailed as error:
        reporter.say(str(error))
    reporter.advance("trial over", updates - training.number)  # updates saved by patience, or by divergence
    return {"validation": best, "updates": training.number}


def _outcome(trial: Node) -> str:
    return "diverged" if trial["validation"] is None else f"validation {trial['validation']:.5g}"
