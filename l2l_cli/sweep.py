"""Sweeps: what their jobs share, on whatever machine they run, and how they begin and end."""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from l2l_cli.commands.next_words import after
from l2l_cli.commands.outcomes import tell_of
from l2l_cli.core.failures import expected
from l2l_cli.core.locks import is_locked, locked, wait_for
from l2l_cli.core.printable import counted
from l2l_cli.core.stop import STOP
from l2l_cli.core.voice import VOICE
from l2l_cli.parallel.processes import GRACE, LEAVE
from l2l_cli.results.sweeps import (
    AT_WORK,
    DONE,
    INTERRUPTED,
    LOST,
    NOT_BEGUN,
    REUSED,
    RUNNING,
    STARTER,
    SweepJob,
    messages,
    read_jobs,
    sweep_table,
    write_summary,
)

POLL = 0.2
"""Seconds between two checks of jobs that are waited for."""

REASON = 200
"""Largest number of characters of a launcher's or a sweeper's error."""

ENDED = "ended"
"""Content of the file of a sweep's process when the sweep has ended."""

WITHOUT_A_WORD = "its process ended without a message (killed for lack of memory?); the same command continues it"


@dataclass(frozen=True)
class MeetingPlace:
    """The point where the jobs of a sweep coordinate; it is passed to their processes.

    Attributes:
        folder: Folder of the sweep.
        host: Name of the machine of the sweep's own process.
        process: Id of the sweep's own process.
    """

    folder: Path
    host: str = field(default_factory=platform.node)
    process: int = field(default_factory=os.getpid)

    @property
    def is_here(self) -> bool:
        """Whether this process is the sweep's own."""
        return (self.host, self.process) == (platform.node(), os.getpid())

    @property
    def locks(self) -> Path:
        """Folder of the files that show which processes are at work."""
        return self.folder / f"{AT_WORK}{self.process}"

    @property
    def starter(self) -> Path:
        """File that is locked while the sweep's own process is alive."""
        return self.locks / STARTER

    def at_work(self, job: SweepJob) -> Path:
        """Return the file that is locked while a process works on a job."""
        return self.locks / f"job-{job.number}"

    @contextmanager
    def serving(self, job: SweepJob) -> Iterator[None]:
        """Work on a job, in a process that ends with the sweep's own process and responds to requests to stop."""
        if not self.is_here:
            _end_with(self)
        with STOP.listening(serves=not self.is_here), locked(self.at_work(job)):
            yield

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Make other jobs with the same key wait, since they are the same work."""
        with locked(self.locks / key):
            yield

    def note_done(self, key: str) -> None:
        """Record that a job with this key is done."""
        (self.locks / f"{key}.done").touch()

    def is_done_here(self, key: str) -> bool:
        """Return whether a job of this sweep with this key is done."""
        return (self.locks / f"{key}.done").exists()


def _end_with(place: MeetingPlace) -> None:
    """End this process when the sweep's own process is gone, after a grace period in which it may save its state.

    On another machine, that process cannot be observed.
    """
    if place.host != platform.node() or sys.platform == "win32":
        return
    name = f"ends with {place.starter}"
    if any(thread.name == name for thread in threading.enumerate()):  # an earlier job has started the watch
        return
    if not is_locked(place.starter):  # it was gone before this job began
        os._exit(1)  # joblib's processes would treat an exception as a result, and wait for more work
    threading.Thread(target=_watch, args=(place.starter,), name=name, daemon=True).start()


def _watch(starter: Path) -> None:
    if wait_for(starter) == ENDED:
        return
    STOP.ask()
    threading.Event().wait(GRACE)
    os._exit(1)


class Sweep:
    """A sweep as seen by its own process, from the beginning of the first job to the table.

    Args:
        folder: Folder of the sweep, which is created.
        planned: Jobs that are known in advance, if any.
    """

    def __init__(self, folder: Path, planned: Sequence[SweepJob]) -> None:
        self.place = MeetingPlace(folder)
        self._planned = {job.number: job for job in planned}
        self._made = [one for one in (folder, *folder.parents) if not one.exists()]
        self._alive = ExitStack()
        self.place.locks.mkdir(parents=True)
        for job in folder.glob("job-*.json"):  # an earlier sweep may have used this folder, too
            job.unlink()
        self._alive.enter_context(locked(self.place.starter))

    @property
    def has_begun(self) -> bool:
        """Whether a job has begun."""
        return bool(read_jobs(self.place.folder))

    def discard(self) -> None:
        """Remove what was written before a configuration turned out to be invalid."""
        self._close()
        (self.place.folder / "multirun.yaml").unlink(missing_ok=True)
        for folder in self._made:
            if not any(folder.iterdir()):
                folder.rmdir()

    def finish(self, error: Exception | None = None, interrupted: bool = False) -> int:
        """Print and write one table of all jobs, and return the highest exit code.

        Args:
            error: Error with which a launcher or a sweeper has given up; jobs that it left running are waited for.
            interrupted: Whether the user has interrupted the sweep; running jobs are asked to stop.

        Raises:
            KeyboardInterrupt: The user interrupted the sweep, before or during this call.
        """
        try:
            if interrupted:
                self._alive.close()  # to jobs in other processes this looks like the end of this one
                self._wait(lambda running, still: not running or still > LEAVE)
            elif error is not None and self.has_begun:
                # A launcher that starts all jobs at once may give up before the slowest of them has begun.
                self._wait(lambda running, still: not running and (still > LEAVE or not self._to_come()))
        except KeyboardInterrupt:
            interrupted = True
        code = self._tell(error, interrupted)
        self._close()
        if interrupted:
            raise KeyboardInterrupt
        return code

    def _tell(self, error: Exception | None, interrupted: bool) -> int:
        from l2l_cli.results.terminal import console

        jobs = [self._ended(job, interrupted) for job in self._jobs()]
        summary = self.place.folder / "summary.csv"
        write_summary(jobs, summary)
        console().print(sweep_table(jobs))
        print(f"summary: {os.path.relpath(summary)}", flush=True)
        for message in messages(jobs):
            print(message, file=sys.stderr)
        for job in jobs:
            said = job.message if job.status not in (DONE, REUSED) else ""
            tell_of(job.status, job.row, said, job.exit_code, job=job.number, overrides=job.overrides)
        self._suggest(jobs)
        codes = [job.exit_code for job in jobs]
        if error is not None:
            codes.append(1)
            if all(job.status != LOST for job in jobs):  # otherwise the lost job is the reason
                reason = textwrap.shorten(expected(error) or f"{type(error).__name__}: {error}", REASON)
                print(f"error: the sweep ended early: {reason}", file=sys.stderr)
        return max(codes, default=0)

    def _suggest(self, jobs: Sequence[SweepJob]) -> None:
        """Suggest continuing with the job of the lowest loss or, if none succeeded, repeating the command itself."""
        scored = [job for job in jobs if job.row.get("run") and not math.isnan(job.objective)]
        best = min(scored, key=lambda job: job.objective, default=None)
        VOICE.suggest(*(sys.argv[1:] if best is None else after(str(best.row["run"]))))

    def _ended(self, job: SweepJob, interrupted: bool) -> SweepJob:
        """Return the final state of a job, now that nothing runs any more."""
        if job.status == NOT_BEGUN:
            return replace(job, exit_code=1)
        if job.status != RUNNING:
            return job
        if interrupted:
            return replace(job, status=INTERRUPTED, exit_code=1)
        return replace(job, status=LOST, message=WITHOUT_A_WORD, exit_code=1)

    def _jobs(self) -> list[SweepJob]:
        begun = {job.number: job for job in read_jobs(self.place.folder)}
        return [job for _, job in sorted((self._planned | begun).items())]

    def _to_come(self) -> bool:
        return any(job.status == NOT_BEGUN for job in self._jobs())

    def _wait(self, is_enough: Callable[[bool, float], bool]) -> None:
        """Wait until a function of two values returns True: whether a job runs, and the seconds without any change."""
        seen, since = self._jobs(), time.monotonic()
        while True:
            running = any(job.status == RUNNING and is_locked(self.place.at_work(job)) for job in seen)
            if is_enough(running, time.monotonic() - since):
                return
            time.sleep(POLL)
            if (now := self._jobs()) != seen:
                seen, since = now, time.monotonic()

    def _close(self) -> None:
        """Let processes that wait for jobs know that there are no more."""
        self.place.starter.write_text(ENDED)
        shutil.rmtree(self.place.locks)
        self._alive.close()


def planned(config: DictConfig) -> list[SweepJob] | None:
    """Return the jobs of a sweep, if its sweeper knows them in advance, otherwise None.

    Raises:
        HydraException: An override cannot be read.
    """
    if config.hydra.runtime.choices["hydra/sweeper"] != "basic":
        return None
    typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    given = [*(f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()), *typed]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    (batch,) = BasicSweeper.split_arguments(parser.parse_overrides(given), None)
    return [SweepJob(number, overrides) for number, overrides in enumerate(batch)]


def announcement(jobs: Sequence[SweepJob], keys: Sequence[str | None], done: Collection[str]) -> str:
    """Return a sentence on how many jobs a sweep has and how many of them are to be run.

    Args:
        jobs: Jobs of the sweep.
        keys: Key of each job, which identifies equal jobs; None for one whose key cannot be known in advance.
        done: Keys of jobs that are already done.
    """
    before = sum(key in done for key in keys)
    fresh = [key for key in keys if key not in done]
    to_run = fresh.count(None) + len({key for key in fresh if key is not None})
    equal = len(fresh) - to_run
    parts = [f"{counted(len(jobs), 'job')}", f"{before} done before", f"{to_run} to run"]
    return f"sweep: {', '.join([*parts, *([f'{equal} equal to others'] if equal else [])])}"
