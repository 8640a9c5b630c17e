"""Resumable meta-training of a configuration into a run folder, with several seeds side by side."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import groupby, zip_longest

from l2l_cli.config.build import Builder, build
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import RunFailed
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.nodes import Entries
from l2l_cli.core.stop import STOP, Stopped
from l2l_cli.core.voice import VOICE
from l2l_cli.kernels.paths import NUMBA
from l2l_cli.meta.gradient import Estimator
from l2l_cli.meta.online_training import OnlineTraining
from l2l_cli.meta.rules import OnlineRule
from l2l_cli.meta.training import Training, Update
from l2l_cli.parallel.ranks import Ranks
from l2l_cli.results.ending import ending, failed
from l2l_cli.results.folder_lock import PATIENCE
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.building import build_learner, build_task, prepare, run_facts
from l2l_cli.runs.folders import claim, is_done
from l2l_cli.runs.following import Follow, saves_after
from l2l_cli.runs.logging import logger_of
from l2l_cli.runs.making import choices_of, ranks_of, training_of
from l2l_cli.runs.member import Member
from l2l_cli.runs.progress import Relay, Reporter
from l2l_cli.runs.resuming import warnings
from l2l_cli.runs.search import check, searched
from l2l_cli.runs.tensors import CHECKPOINT


def train(
    settings: Settings,
    builder: Builder = build,
    claimed: RunFolder | None = None,
    relay: Relay | None = None,
) -> RunFolder:
    """Meta-train one configuration, or find that this has been done.

    The run folder may be claimed already; progress is reported to ``relay``, if given, instead of the user.

    Raises:
        UsageError: The configuration does not build.
        RunFailed: Too many updates were not finite.
    """
    return train_together([settings], builder, claimed, relay)[0]


def train_together(
    seeds: Sequence[Settings],
    builder: Builder = build,
    claimed: RunFolder | None = None,
    relay: Relay | None = None,
) -> list[RunFolder]:
    """Meta-train seeds of one configuration side by side, each into its own run folder; see ``train``."""
    ranks = ranks_of(seeds[0])
    prepare(seeds[0].hardware, None if ranks is None else ranks.local_rank)
    make = partial(training_of, builder=builder, ranks=ranks)
    trainings = [make(settings) for settings in seeds]
    check(seeds[0], make)
    loggers = [logger_of(settings) for settings in seeds]
    folders = [claimed or claim(settings) for settings in seeds]
    if relay is None:
        for line in choices_of(trainings[0]):
            VOICE.note(line)
        for settings, training, folder in zip(seeds, trainings, folders, strict=True):
            _warn(settings, training, folder)
    with ExitStack() as stack:
        members = []
        for settings, training, folder, logger in zip(seeds, trainings, folders, loggers, strict=True):
            # A piece of work waits while another process trains the same; a user gets an error instead.
            stack.enter_context(folder.lock(PATIENCE if relay is None else math.inf))
            if ranks is not None:
                stack.enter_context(ranks)
            if not is_done(folder):
                best = searched(settings, folder, make, relay, partial(_begin, ranks, builder))
                members.append(Member(best, training if best is settings else make(best), folder, logger))
                stack.callback(members[-1].close)
            elif relay is None:
                VOICE.note(f"already done, reused: {folder.path}")
        for member in members:
            member.restore(builder)
        # Seeds that were interrupted at different updates cannot share a kernel's lanes.
        members.sort(key=lambda member: member.training.number)
        for _, group in groupby(members, key=lambda member: member.training.number):
            _train(list(group), relay)
    return folders


def _warn(settings: Settings, training: Training, folder: RunFolder) -> None:
    """Warn if a run that continues may give other digits."""
    if (folder.path / CHECKPOINT).exists() and folder.status != "done":
        for line in warnings(folder, settings, run_facts(settings) | _how(training)):
            print(f"warning: {line}", file=sys.stderr)


def _how(training: Training) -> Entries:
    """Return what run.json records about how a training is computed."""
    path = NUMBA if isinstance(training, OnlineTraining) else training.path
    return {"world": 1 if training.ranks is None else training.ranks.size, "kernels": str(path)}


def _begin(ranks: Ranks | None, builder: Builder, settings: Settings) -> None:
    """Let the other ranks begin their part of a trial."""
    if ranks is not None:
        ranks.begin(Follow(settings, builder.trust, None, saves=False))


def side_by_side(settings: Settings) -> int:
    """Return how many seeds of a configuration can be trained together in the time of a single one."""
    gradient = build(settings.gradient, "gradient")
    if not isinstance(gradient, OnlineRule):
        return 1
    return gradient.kernel(build_learner(settings, build_task(settings))).lanes


def expected_updates(settings: Settings, seeds: int) -> int:
    """Return the total number of updates of several seeds trained together, whose searches run one after another."""
    return settings.meta.updates + seeds * settings.search.trials * settings.search.updates


def expected_seconds(settings: Settings) -> float:
    """Return the expected seconds on one core of seeds trained together, for ordering runs and estimating time left."""
    seeds = side_by_side(settings)
    gradient: Estimator | OnlineRule = build(settings.gradient, "gradient")
    learner = build_learner(settings, build_task(settings))
    return expected_updates(settings, seeds) * gradient.update_seconds(learner, seeds)


def _train(members: Sequence[Member], relay: Relay | None) -> None:
    """Train members that are at the same update, until the end or an interruption."""
    online = [member.training for member in members if isinstance(member.training, OnlineTraining)]
    if online:
        online[0].together_with(online)
    for member in members:
        member.folder.begin(**run_facts(member.settings), **_how(member.training))
    try:
        _loop(members, relay)
    except KeyboardInterrupt as stop:
        # Within an update the state is incomplete, and between validations seeds side by side are out of step; then the
        # last checkpoint is the better one.  Ranks have written their checkpoint before they stop.
        whole = isinstance(stop, Stopped) and len({member.training.owes_validation for member in members}) == 1
        whole = whole and members[0].training.ranks is None
        for member in members:
            if whole:
                member.checkpoint()
            member.folder.end("interrupted", updates=member.training.number)
        raise
    except Exception as error:
        raise failed(error, *(member.folder for member in members), updates=members[0].training.number) from error
    failures = []
    for member in members:
        with ending(member.folder):
            failures.append(member.finish(len(members)))
    for reason in filter(None, failures):
        raise RunFailed(reason)


def _loop(members: Sequence[Member], relay: Relay | None) -> None:
    first, last = members[0], time.monotonic()
    plan, seeds = first.settings.meta, ", ".join(str(member.settings.seed) for member in members)
    title = f"meta-train {first.settings.run_name} seed{'s' if len(members) > 1 else ''} {seeds}"
    reporting = Reporter(title, plan.updates, first.training.number, relay, "updates")
    with LEDGER.of("training"), reporting as reporter, STOP.held():
        # Members are at the same number throughout, so their records are of one type, unless patience ends one of them.
        for records in zip_longest(*(member.training.records() for member in members)):
            met = [(member, record) for member, record in zip(members, records, strict=True) if record is not None]
            for member, record in met:
                member.note(record, reporter)
            if isinstance(met[0][1], Update):
                loss = sum(record.loss for _, record in met if isinstance(record, Update)) / len(met)
                reporter.advance(f"loss {loss:.4g}")
            ranks = first.training.ranks
            if ranks is None:
                STOP.check()
                due = time.monotonic() - last > plan.checkpoint_every
            else:
                due = isinstance(met[0][1], Update) and saves_after(first.training, ranks)
            if due:
                for member in members:
                    member.checkpoint()
                last = time.monotonic()
            if ranks is not None:
                ranks.save = time.monotonic() - last > plan.checkpoint_every
                if ranks.agreed.stop:
                    raise Stopped
