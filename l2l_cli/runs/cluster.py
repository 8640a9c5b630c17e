"""Pieces of a command as jobs of a cluster: submitted once, through submitit, then followed by the same command."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from l2l_cli.config.hardware import Hardware
from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import atomic_write, open_file
from l2l_cli.core.layout import PROGRESS
from l2l_cli.core.locks import try_lock
from l2l_cli.core.plain_text import read_text
from l2l_cli.core.stop import STOP
from l2l_cli.runs.pieces import Carrying
from l2l_cli.runs.progress_files import ProgressFile, stands_of

REQUEUES = 100
"""Number of times that a job is queued again after it has used up its minutes."""

JUST_NOW = 60.0
"""Seconds until what a job has done must be visible on a shared file system."""

TURN = 0.5
"""Seconds between two attempts of a job on this machine to get a slot."""

OVER = (
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "DEADLINE",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "PREEMPTED",
)
"""States of SLURM in which a job is over."""


class PieceState(NamedTuple):
    """Where a piece stands: its name, its state ("waiting", "running", "done", "failed" or "lost"), and a note."""

    name: str
    state: str
    note: str


@dataclass(frozen=True)
class ClusterJob:
    """A job of the cluster, which carries out one piece; when preempted, it saves its state and is queued again.

    Attributes:
        carrying: The piece.
        modules: Folders in which the user's modules are found.
        slots: Lock files, one of which a job holds while it runs; none if a scheduler limits the number of jobs.
    """

    carrying: Carrying
    modules: tuple[str, ...]
    slots: tuple[Path, ...] = ()

    def __call__(self) -> None:
        """Carry the piece out."""
        sys.path.extend(folder for folder in self.modules if folder not in sys.path)
        queue_again = signal.getsignal(signal.SIGUSR2)  # submitit's, for preemption and the end of the job's minutes
        with ExitStack() as held, STOP.listening(serves=True, signals=(signal.SIGINT, signal.SIGUSR2)):
            try:
                held.enter_context(_locked(_lock_of(self.carrying.path)))
                if self.slots:
                    progress = ProgressFile(self.carrying.path, self.carrying.piece.name, self.carrying.piece.seconds)
                    progress.say("waiting", "its turn")
                    held.enter_context(_turn(self.slots))
                self.carrying()
            except KeyboardInterrupt:
                if STOP.by == signal.SIGUSR2 and callable(queue_again):
                    held.close()
                    queue_again(signal.SIGUSR2, None)
                raise

    def checkpoint(self) -> Any:
        """Return what submitit queues again; all work in progress is saved by then."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def send(carried: Sequence[Carrying], folder: Path, hardware: Hardware) -> list[PieceState]:
    """Submit the pieces that are not submitted yet, or whose jobs were lost, and return where all pieces stand.

    Args:
        carried: Pieces that are not done, of one run or of several.
        folder: Folder for submitit's files, on a file system that all machines of the cluster share.
        hardware: What a job needs.

    Raises:
        UsageError: submitit is not installed, or the cluster does not exist here.
    """
    executor = _executor(folder, hardware)
    standings = [_standing(one, folder, hardware) for one in carried]
    again = [one for one, standing in zip(carried, standings, strict=True) if _is_due(standing, hardware)]
    if again:
        slots = tuple(folder / f"slot-{number}.lock" for number in range(hardware.array))
        jobs = []
        with _silent(), executor.batch():
            for one in again:
                one.path.unlink(missing_ok=True)
                work = ClusterJob(one, tuple(sys.path), slots if hardware.cluster == "local" else ())
                jobs.append(executor.submit(work))
        for one, job in zip(again, jobs, strict=True):
            one.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(_job_of(one.path), str(job.job_id))
    return [_now(one, standing, hardware) for one, standing in zip(carried, standings, strict=True)]


def _is_due(standing: PieceState | None, hardware: Hardware) -> bool:
    """Return whether a piece is to be submitted."""
    return standing is None or standing.state == "lost" or (standing.state == "failed" and hardware.resubmit)


def _now(carrying: Carrying, before: PieceState | None, hardware: Hardware) -> PieceState:
    """Return where a piece stands after all that are due have been submitted."""
    if before is None:
        return PieceState(carrying.piece.name, "waiting", "submitted")
    if _is_due(before, hardware):
        return before._replace(state="waiting", note=f"submitted again: {before.note}")
    return before


def _standing(carrying: Carrying, folder: Path, hardware: Hardware) -> PieceState | None:
    """Return where a piece stands; None if it was never submitted."""
    if not _job_of(carrying.path).exists():
        return None
    stand, name = stands_of({"": carrying.path}).get(""), carrying.piece.name
    if stand is not None and _is_locked(_lock_of(carrying.path)):
        if stand.state == "waiting":
            return PieceState(name, "waiting", stand.note)
        share = f"{stand.done / stand.total:.0%}, " if stand.total else ""
        where, ago = stand.where.split()[0], time.time() - stand.when
        return PieceState(name, "running", f"{share}{stand.note} ({where}, {ago:.0f} s ago)")
    if stand is not None and stand.state == "failed":
        return PieceState(name, "failed", stand.note)
    if stand is not None and stand.state == "done" and time.time() - stand.when < JUST_NOW:
        return PieceState(name, "running", "done just now")
    job = read_text(_job_of(carrying.path))
    state = _state_of(job, folder, hardware)
    return (
        PieceState(name, "waiting", f"job {job}") if state is None else PieceState(name, "lost", f"job {job} {state}")
    )


def standings_of(folder: Path) -> dict[Path, PieceState]:
    """Return where the pieces submitted from a folder stand, from its files alone, without asking a scheduler.

    A piece that has not begun counts as waiting, even if its job is gone; one that has, but is not locked, is "lost".
    """
    found = {}
    for job in sorted((folder / PROGRESS).glob("*.job")):
        path = job.with_suffix(".json")
        stand = stands_of({"": path}).get("")
        if stand is None or stand.state in ("waiting", "done", "failed"):
            found[path] = PieceState(stand.name if stand else path.stem, "waiting", f"job {read_text(job)}")
            if stand is not None:
                found[path] = PieceState(stand.name, stand.state, stand.note or found[path].note)
            continue
        share = f"{stand.done / stand.total:.0%}, " if stand.total else ""
        held = _is_locked(_lock_of(path))
        found[path] = PieceState(stand.name, "running" if held else "lost", f"{share}{stand.note}")
    return found


def _state_of(job: str, folder: Path, hardware: Hardware) -> str | None:
    """Return how a job ended; None if it is waiting or running."""
    if hardware.cluster == "slurm":
        import submitit

        state = str(submitit.SlurmJob(folder, job).state).split()[0]
        return f"ended as {state}" if state in OVER else None
    line = Path(f"/proc/{job}/cmdline")
    alive = b"submitit" in line.read_bytes() if line.exists() else not Path("/proc").exists() and _is_alive(int(job))
    return None if alive else "was killed"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _executor(folder: Path, hardware: Hardware) -> Any:
    """Return submitit's executor, which writes its files and the jobs' output into a folder."""
    try:
        import submitit
    except ImportError as error:
        raise UsageError(
            f"hardware.cluster={hardware.cluster} needs submitit: pip install 'l2l-cli[cluster]'"
        ) from error
    try:
        limits = {f"{hardware.cluster}_max_num_timeout": REQUEUES}
        executor = submitit.AutoExecutor(folder, cluster=hardware.cluster, **limits)
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"hardware.cluster=slurm, but this machine has no srun ({error}); log in to the cluster, or try "
            "hardware=submitit_local"
        ) from error
    executor.update_parameters(name="l2l", timeout_min=hardware.minutes)
    if hardware.cluster == "slurm":
        executor.update_parameters(
            mem_gb=hardware.memory,
            cpus_per_task=hardware.threads * hardware.replicas * hardware.world,
            gpus_per_node=hardware.gpus or None,
            slurm_array_parallelism=hardware.array,
            slurm_partition=hardware.partition,
            slurm_account=hardware.account,
        )
    return executor


@contextmanager
def _silent() -> Iterator[None]:
    """Hide this process's output from jobs on this machine, which would keep it open until they end."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    before = {number: os.dup(number) for number in (1, 2)}
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        for number in before:
            os.dup2(nothing.fileno(), number)
        try:
            yield
        finally:
            for number, kept in before.items():
                os.dup2(kept, number)
                os.close(kept)


def _lock_of(path: Path) -> Path:
    """Return the file that a job locks while it works on a piece."""
    return path.with_suffix(".lock")


def _job_of(path: Path) -> Path:
    """Return the file that holds the number of the job that a piece was submitted as."""
    return path.with_suffix(".job")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, after waiting for its present holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_file(path, "ab") as file:
        while not try_lock(file):
            time.sleep(TURN)
        yield


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with open_file(path) as file:
        return not try_lock(file)


@contextmanager
def _turn(slots: Sequence[Path]) -> Iterator[None]:
    """Hold the first of several locks that becomes free."""
    with ExitStack() as files:
        opened = [files.enter_context(open_file(path, "ab")) for path in slots]
        while True:
            mine = next((file for file in opened if try_lock(file)), None)
            if mine is not None:
                break
            time.sleep(TURN)
        for file in opened:
            if file is not mine:
                file.close()
        yield
