"""Meta-training a configuration, resumably, into a run folder; seeds of it side by side."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby, zip_longest

import torch

from l2l_cli.config.build import Builder, build
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import RunFailed
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.nodes import Entries
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.stop import STOP, Stopped
from l2l_cli.core.tree import all_finite, flatten
from l2l_cli.evaluation.score import criterion_for
from l2l_cli.kernels.paths import NUMBA
from l2l_cli.learners.base import phi_of
from l2l_cli.meta.gradient import Estimator
from l2l_cli.meta.online_training import OnlineTraining
from l2l_cli.meta.rules import OnlineRule
from l2l_cli.meta.training import Training, Update, Validation
from l2l_cli.parallel.ranks import Ranks
from l2l_cli.results.ending import ending, failed
from l2l_cli.results.folder_lock import PATIENCE
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.results.run import WEIGHTS, RunFolder
from l2l_cli.runs.building import build_learner, build_task, prepare, run_facts
from l2l_cli.runs.closing import closed
from l2l_cli.runs.folders import claim, is_done
from l2l_cli.runs.following import Follow, saves_after
from l2l_cli.runs.loading import weights_of
from l2l_cli.runs.making import choices_of, ranks_of, training_of
from l2l_cli.runs.movement import never_moved, standstill
from l2l_cli.runs.progress import Relay, Reporter
from l2l_cli.runs.resuming import warnings
from l2l_cli.runs.search import check, searched
from l2l_cli.runs.tensors import CHECKPOINT, PREVIOUS, read_checkpoint, size_of, write_tensors

OFFSET = "metrics_bytes"
"""Name in the checkpoint of the length of metrics.csv when the checkpoint was written."""

ANEW = "delete it and run again, and the training begins anew"


def train(
    settings: Settings,
    builder: Builder = build,
    claimed: RunFolder | None = None,
    relay: Relay | None = None,
) -> RunFolder:
    """Meta-train one configuration, or find that it has been.

    Its run folder may be claimed already; ``relay`` is told of progress in place of the user.

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
    folders = [claimed or claim(settings) for settings in seeds]
    if relay is None:
        print("".join(f"{line}\n" for line in choices_of(trainings[0])), end="")
        for settings, training, folder in zip(seeds, trainings, folders, strict=True):
            _warn(settings, training, folder)
    with ExitStack() as stack:
        members = []
        for settings, training, folder in zip(seeds, trainings, folders, strict=True):
            # A piece of work waits for whoever trains the same; a user is told.
            stack.enter_context(folder.lock(PATIENCE if relay is None else math.inf))
            if ranks is not None:
                stack.enter_context(ranks)
            if not is_done(folder):
                best = searched(settings, folder, make, relay, partial(_begin, ranks, builder))
                members.append(_Member(best, training if best is settings else make(best), folder))
            elif relay is None:
                print(f"already done, reused: {folder.path}")
        for member in members:
            member.restore(builder)
        # Seeds that were interrupted at different epochs cannot share a kernel's lanes.
        members.sort(key=lambda member: member.training.number)
        for _, group in groupby(members, key=lambda member: member.training.number):
            _train(list(group), relay)
    return folders


def _warn(settings: Settings, training: Training, folder: RunFolder) -> None:
    """Say why a run that goes on may come to other digits, if it may."""
    if (folder.path / CHECKPOINT).exists() and folder.status != "done":
        for line in warnings(folder, settings, run_facts(settings) | _how(training)):
            print(f"warning: {line}", file=sys.stderr)


def _how(training: Training) -> Entries:
    """Return what run.json says of how a training is computed."""
    path = NUMBA if isinstance(training, OnlineTraining) else training.path
    return {"world": 1 if training.ranks is None else training.ranks.size, "kernels": str(path)}


def _begin(ranks: Ranks | None, builder: Builder, settings: Settings) -> None:
    """Let other ranks begin their part of a trial."""
    if ranks is not None:
        ranks.begin(Follow(settings, builder.trust, None, saves=False))


def side_by_side(settings: Settings) -> int:
    """Return how many seeds of a configuration can be trained together in the time of one."""
    gradient = build(settings.gradient, "gradient")
    if not isinstance(gradient, OnlineRule):
        return 1
    return gradient.kernel(build_learner(settings, build_task(settings))).lanes


def expected_updates(settings: Settings, seeds: int) -> int:
    """Return the number of updates of some seeds together, whose searches run one after the other."""
    return settings.meta.updates + seeds * settings.search.trials * settings.search.updates


def expected_seconds(settings: Settings) -> float:
    """Return about how long seeds that are trained together take on one core, to order runs and estimate time left."""
    seeds = side_by_side(settings)
    gradient: Estimator | OnlineRule = build(settings.gradient, "gradient")
    learner = build_learner(settings, build_task(settings))
    return expected_updates(settings, seeds) * gradient.update_seconds(learner, seeds)


def _train(members: Sequence[_Member], relay: Relay | None) -> None:
    """Train members that stand at the same update, from there to the end or an interruption."""
    online = [member.training for member in members if isinstance(member.training, OnlineTraining)]
    if online:
        online[0].together_with(online)
    for member in members:
        member.folder.begin(**run_facts(member.settings), **_how(member.training))
    try:
        _loop(members, relay)
    except KeyboardInterrupt as stop:
        # Within an update state is half-made, and between their validations seeds side by side are out of step: then
        # the last checkpoint is the better one.  Ranks have written theirs before they stop.
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


def _loop(members: Sequence[_Member], relay: Relay | None) -> None:
    first, last = members[0], time.monotonic()
    plan, seeds = first.settings.meta, ", ".join(str(member.settings.seed) for member in members)
    title = f"meta-train {first.settings.run_name} seed{'s' if len(members) > 1 else ''} {seeds}"
    reporting = Reporter(title, plan.updates, first.training.number, relay, "updates")
    with LEDGER.of("training"), reporting as reporter, STOP.held():
        # Members stand at the same number throughout, so their records are of one kind, unless patience ends one.
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


@dataclass
class _Member:
    """One run: a training, and the folder that it writes to."""

    settings: Settings
    training: Training
    folder: RunFolder
    _warned: bool = False

    def restore(self, builder: Builder) -> None:
        """Restore the checkpoint, if there is one, also in the other ranks, which take part from here on."""
        ranks = self.training.ranks
        expected = size_of(flatten(self.training.tree())) * (1 if ranks is None else ranks.size)
        saved = read_checkpoint(self.folder.path, expected)
        path = self.folder.path / CHECKPOINT
        try:
            self._metrics.truncate(0 if saved is None else int(saved.pop(OFFSET)))
            if ranks is not None:
                ranks.begin(Follow(self.settings, builder.trust, saved, saves=True))
            if saved is not None:
                self.training.restore(saved)
        except (KeyError, ValueError, IndexError, TypeError, RuntimeError) as error:
            raise RunFailed(f"{path} is of another learner or estimator ({in_one_line(error)}); {ANEW}") from error
        if not all_finite(self.training.phi()):
            raise RunFailed(f"φ in {path} holds numbers that are not finite; {ANEW}")

    def note(self, record: Update | Validation, reporter: Reporter) -> None:
        """Record an update or a validation in metrics.csv."""
        if isinstance(record, Update):
            if record.skipped:
                self._append(record.number, [("meta_train", "skipped", record.norm)])
            return
        rows = [("meta_valid", "mean_loss", record.mean), ("meta_valid", "final_loss", record.final)]
        if record.held_out is not None:
            rows.append(("meta_valid", "held_out", record.held_out))
        rows.append(("meta_train", "mean_loss", record.train))
        if not math.isnan(record.norm):
            rows.append(("meta_train", "meta_gradient_norm", record.norm))
        self._append(record.number, [*rows, ("meta_train", "phi_distance", record.distance)])
        if (warning := standstill(record)) and not self._warned:
            reporter.say(warning)
            self.folder.note(warning=warning)
            self._warned = True
        if record.best:
            end = f"at its end {record.final:.5g}" if record.held_out is None else f"held out {record.held_out:.5g}"
            reporter.say(f"update {record.number}: validation {record.mean:.5g}, {end}")

    def checkpoint(self) -> None:
        """Save all that a resumed run needs."""
        # Copies, because a new state may hold one tensor of zeros many times, and the format has no shared memory.
        saved = {name: value.clone().contiguous() for name, value in self.training.checkpoint().items()}
        self._metrics.sync()  # before they are counted
        saved[OFFSET] = torch.tensor(self._metrics.length(), device="cpu")
        write_tensors(self.folder.path / CHECKPOINT, saved, kept=self.folder.path / PREVIOUS)
        self.folder.note()  # what it has cost so far, for a run that is killed

    def finish(self, company: int) -> str | None:
        """Write the trained weights and close the run, one of a company; return why it failed, if φ never moved."""
        reason, distance, told = never_moved(self.training, self.settings), self.training.distance(), {}
        if reason is None:
            told = closed(self.settings, self.training, self.folder, company, self.checkpoint)
            # A folder with weights counts as finished.
            write_tensors(self.folder.path / WEIGHTS, weights_of(self.training.learner))
        self.folder.end(
            "failed" if reason else "done",
            **({"message": reason} if reason else told),
            phi_distance=distance,
            updates=self.training.number,
            skipped=self.training.skipped,
            skipped_updates=self._skipped() if self.training.skipped else [],
            best_validation=self.training.best,
            criterion=criterion_for(self.training.learner.task, self.training.plan.criterion),
            meta_parameters=sum(value.numel() for value in phi_of(self.training.learner).values()),
        )
        return reason

    @property
    def _metrics(self) -> MetricsFile:
        return MetricsFile(self.folder.path / "metrics.csv")

    def _append(self, number: int, rows: list[tuple[str, str, float]]) -> None:
        name, seed = self.settings.run_name, self.settings.seed
        self._metrics.append(
            Metric(name, seed, metric, value, number, statistic="mean", split=split) for split, metric, value in rows
        )

    def _skipped(self) -> list[int]:
        return [row.step for row in self._metrics.rows() if row.metric == "skipped"]
