"""The runs behind a reproduction, as pieces of work; finished ones are reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from l2l_cli.config.compose import identity_of, identity_of_training
from l2l_cli.config.schema import Settings
from l2l_cli.core.files import make_folder
from l2l_cli.core.layout import ROWS
from l2l_cli.core.voice import VOICE
from l2l_cli.papers.agenda import Job
from l2l_cli.papers.measured import COSTS
from l2l_cli.papers.measuring import Bench, Group, GroupChain
from l2l_cli.results.archive import unpack
from l2l_cli.results.run import identity
from l2l_cli.results.sealed import drop_if_damaged
from l2l_cli.results.store import Store
from l2l_cli.runs.building import build_learner, build_task, is_meta_trained, store_of
from l2l_cli.runs.contenders import problems_of
from l2l_cli.runs.pieces import Piece
from l2l_cli.runs.progress import Reporter
from l2l_cli.runs.sources import sources_of, with_sources
from l2l_cli.runs.training import expected_seconds, side_by_side
from l2l_cli.runs.tuning import given, law_of
from l2l_cli.runs.vetting import checked_by_another

MEASURED = ("learner", "tune", "evaluation")
"""Groups of the configuration that, besides the task, determine the measurements of a hand-made learner."""


@dataclass(frozen=True)
class Work:
    """The work behind a reproduction.

    Attributes:
        files: File of measurements of each distinct job, by key; jobs whose file is missing are still to be measured.
        pieces: Chains of jobs that are still to be trained or tuned, and measured, the longest first.
        store: Store of scores and trials that they share.
    """

    files: Mapping[str, Path]
    pieces: Sequence[Piece]
    store: Store

    @property
    def done(self) -> int:
        """Number of jobs that are measured."""
        return sum(file.exists() for file in self.files.values())


def work_of(jobs: Sequence[Job], folder: Path, root: Path, archive: Path | None = None) -> Work:
    """Return the files of jobs, and the work that is still to be done for them.

    Measurements are kept under the report's ``folder``, the runs under ``root``.  Measurements that an ``archive``
    holds are taken from there.  Classes from elsewhere are checked by the process that runs them, since for a large
    network that takes longer than all the planning here.
    """
    with checked_by_another():
        return _work_of(jobs, folder, root, archive)


def _work_of(jobs: Sequence[Job], folder: Path, root: Path, archive: Path | None) -> Work:
    rows = folder / ROWS
    make_folder(rows)
    settings, files = dict[str, Settings](), dict[str, Path]()
    with Reporter("compose the runs", len(jobs), unit="runs") as reporter:
        for job in jobs:
            settings[job.key] = job.settings(root)
            files[job.key] = rows / _file_name(job, settings[job.key])
            reporter.advance(job.name)
    for file in files.values():
        drop_if_damaged(file, COSTS)  # the last rows of each file
    if archive and (taken := unpack(archive, files.values())):
        VOICE.note(
            f"{taken} of {len(files)} rows' measurements are taken from the committed study; --force runs them again"
        )
    groups = _groups([job for job in jobs if not files[job.key].exists()], settings)
    bench = Bench(files)
    chains = [GroupChain(tuple(chain), bench) for chain in _chains(groups, settings)]
    pieces = [Piece(chain.name, chain.key, chain.seconds, chain) for chain in chains]
    return Work(files, pieces, store_of(settings[jobs[0].key]))


def _groups(jobs: Sequence[Job], settings: Mapping[str, Settings]) -> list[Group]:
    """Group the seeds of each row, as many together as can be trained side by side."""
    rows: dict[tuple[str, tuple[str, ...]], list[Job]] = {}
    for job in jobs:
        rows.setdefault((job.name, job.overrides), []).append(job)
    groups = []
    with Reporter("estimate their time", len(rows), unit="rows") as reporter:
        for row in rows.values():
            one = settings[row[0].key]
            size, work = (
                (side_by_side(one), expected_seconds(one)) if is_meta_trained(one) else (1, _seconds_to_tune(one))
            )
            scoring = len(one.evaluation.seeds) * _seconds(one, one.evaluation.episodes)
            for start in range(0, len(row), size):
                part = row[start : start + size]
                groups.append(Group(tuple(part), tuple(settings[job.key] for job in part), work, scoring * len(part)))
            reporter.advance(row[0].name)
    return groups


def _chains(groups: Sequence[Group], settings: Mapping[str, Settings]) -> list[list[Group]]:
    """Put groups that share a training into one chain, which one process runs in turn; the longest chain first."""
    chains: dict[str, list[Group]] = {}
    for group in groups:
        key = group.jobs[0].key
        if is_meta_trained(settings[key]):
            key = identity(identity_of_training(settings[key]))
        chain = chains.setdefault(key, [])
        chain.append(replace(group, work=0.0) if chain else group)  # trained by the first
    # A long chain that started last would run alone.
    return sorted(chains.values(), key=lambda chain: -sum(group.work + group.scoring for group in chain))


def _file_name(job: Job, settings: Settings) -> str:
    trained = is_meta_trained(settings)
    config = identity_of_training(settings, "evaluation", "tune") if trained else identity_of(settings, *MEASURED)
    # Given values are not tuned, as they were in earlier versions.
    fixed = sorted({*settings.tune.grid, *settings.tune.ranges, *settings.tune.choices} & given(settings).keys())
    config |= {"row": job.facts, "paper": job.paper, **({"given": fixed} if fixed else {})}
    config = with_sources(config, sources_of(settings, config, problems=True))
    return f"{job.name}-seed{job.seed}-{identity(config)}.csv"


def _seconds_to_tune(settings: Settings) -> float:
    """Return roughly how many seconds tuning takes on one core; for the order of runs and the time left."""
    law = law_of(settings)
    return sum(count * _seconds(settings, episodes) for count, episodes in law.planned) if len(law.first) > 1 else 0.0


def _seconds(settings: Settings, episodes: int) -> float:
    """Return roughly how many seconds a learner takes for episodes of every problem, fewer of them for longer ones."""
    seconds = 0.0
    for problem in problems_of(settings, build_task(settings).horizon):
        learner = build_learner(settings, problem.task)
        seconds += problem.steps * learner.step_seconds(round(episodes * problem.plan.share))
    return seconds
