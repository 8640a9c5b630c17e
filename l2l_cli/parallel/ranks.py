"""Ranks: the processes that carry out one training in step, on this machine or on several."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from l2l_cli.core.episodes import Axes
from l2l_cli.core.errors import L2LError
from l2l_cli.core.stop import STOP, Stopped
from l2l_cli.parallel.attendance import STOPPED, Attendance, RankLost
from l2l_cli.parallel.launched import Place, be_silent
from l2l_cli.parallel.processes import Worker
from l2l_cli.parallel.transport import Disconnected, Transport, packed, size_of, store_on_loopback, unpacked

if TYPE_CHECKING:
    from l2l_cli.parallel.processes import Pipe


class Wishes(NamedTuple):
    """Wishes of any rank that all ranks adopt with an update: to stop after it, and to save."""

    stop: bool = False
    save: bool = False


Task = Callable[["Ranks"], object]
"""Task that rank 0 gives the others: a picklable callable, given their ``Ranks``."""


class Ranks:
    """One of N processes that make the same calls of ``Ranks`` in the same order; only rank 0 prints and writes files.

    Episodes are divided among them: each rank draws all of them and keeps a contiguous part, so that together they
    compute what one process would, up to rounding.  Use it as a context manager, within which the others follow rank 0.

    Args:
        place: Place of this process.
        local: Whether rank 0 starts the others, on this machine; otherwise a launcher has started all.

    Attributes:
        rank: Number of this process, from 0.
        size: Number N of processes.
        local_rank: Rank among the processes on its machine, which is also the index of its GPU.
        agreed: Wishes that all ranks adopted with the last update.
        save: Whether this rank wishes to save.
    """

    def __init__(self, place: Place, local: bool, port: int = 0) -> None:
        self.rank, self.size, self.local_rank = place
        self.agreed, self.save = Wishes(), False
        self._local, self._port = local, port
        self._attendance: Attendance | None = None
        self._transport: Transport | None = None
        self._workers: list[Worker] = []
        self._starter = os.getppid()

    # --- The beginning and the end ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start the other ranks, unless a launcher did so, and find them.

        Raises:
            RankLost: Not all of them were found.
        """
        try:
            if self._local:
                store = store_on_loopback(self._port)
                if self.rank == 0:
                    self._start(store.port)
            else:
                store = next(rendezvous("env://", self.rank, self.size))[0]
            self._attendance = Attendance(store, self.rank, self.size, self._workers)
            self._attendance.wait_for_all()
            self._transport = Transport(store, self.rank, self.size, self._local, self._attendance.look)
        except Disconnected as error:
            self._end()
            raise RankLost(f"the {self.size} ranks cannot reach each other: {error}") from error
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the others end; if an error makes this rank leave, tell them why."""
        if error is not None:
            # A launcher asks the others to stop when it misses one.
            lost = isinstance(error, KeyboardInterrupt) and self._attendance and self._attendance.lost()
            self._leave(error)
            if lost:
                raise lost from error
            return
        try:
            if self.rank == 0:
                with suppress(RankLost, Stopped):  # all work is done, even if some have left already
                    self.begin(None)
        finally:
            self._end()

    @property
    def speaks(self) -> bool:
        """Whether this rank reports to the user; another one does so if rank 0 is lost."""
        return self.rank == 0 if self._attendance is None else self._attendance.speaks

    def _start(self, port: int) -> None:
        for rank in range(1, self.size):
            self._workers.append(Worker(f"rank {rank} of hardware.world={self.size}"))
            self._workers[-1].begin(Following(Place(rank, self.size, rank), port))

    def _leave(self, error: BaseException) -> None:
        """Tell the others why this rank leaves them."""
        if self._attendance is not None and not isinstance(error, RankLost):
            reason = error if isinstance(error, L2LError) else repr(error)
            stopped = isinstance(error, KeyboardInterrupt)
            self._attendance.leave_word(STOPPED if stopped else f"rank {self.rank} of {self.size} failed: {reason}")
        self._end()

    def _end(self) -> None:
        self._transport = None
        for worker in self._workers:
            worker.end()

    # --- Following rank 0 ---------------------------------------------------------------------------------------------

    def begin(self, task: Task | None) -> None:
        """Have the others carry out a task, while this rank does its own part; with None, they stop following."""
        content = torch.frombuffer(bytearray(pickle.dumps(task)), dtype=torch.uint8)
        self._broadcast(torch.tensor([len(content)], device="cpu"))
        self._broadcast(content)

    def follow(self) -> None:
        """Carry out the tasks that rank 0 begins, until it ends."""
        while True:
            length = torch.zeros(1, dtype=torch.int64, device="cpu")
            self._broadcast(length)
            content = torch.empty(int(length), dtype=torch.uint8, device="cpu")
            self._broadcast(content)
            task: Task | None = pickle.loads(content.numpy().tobytes())
            if task is None:
                return
            task(self)

    # --- Sums and parts -----------------------------------------------------------------------------------------------

    def span(self, episodes: int, rank: int | None = None) -> slice:
        """Return which of E episodes belong to this rank, or to another one."""
        rank = self.rank if rank is None else rank
        return slice(episodes * rank // self.size, episodes * (rank + 1) // self.size)

    def total(self, vector: Tensor) -> None:
        """Replace a vector by its sum over ranks, which is bitwise identical in all of them.

        Raises:
            RankLost: A rank has failed or ended unexpectedly.
            Stopped: A rank was asked to stop and has left.
        """
        self._call(lambda transport: transport.total(vector))

    def mean(self, values: Tensor, episodes: int) -> Tensor:
        """Return the mean over E episodes, given the means over each rank's own; see ``total``."""
        mine = self.span(episodes)
        values = values.detach() * ((mine.stop - mine.start) / episodes)
        self.total(values)
        return values

    def exchange(self, sums: Tensor, finite: bool) -> tuple[Tensor, bool]:
        """Return the sum of the ranks' vectors, and whether all are finite; adopt the wishes of all.

        It is the only exchange of an update, and its result is bitwise identical in all ranks.
        """
        orphaned = not self._local and os.getppid() != self._starter  # no one would ask it to stop any more
        together = torch.cat([sums, sums.new_tensor([not finite, STOP.asked or orphaned, self.save])])
        self.total(together)
        bad, stops, saves = together[-3:].tolist()
        self.agreed, self.save = Wishes(stops > 0, saves > 0), False
        return together[:-3], bad == 0

    def joined(
        self, parts: Mapping[str, Tensor], axes: Axes, episodes: int, everywhere: bool = False
    ) -> dict[str, Tensor]:
        """Return tensors of all episodes, joined from the ranks', in rank 0 or ``everywhere``; others keep their own.

        Args:
            parts: Tensors by name.
            axes: Axes of the episodes by tensor name, for the tensors that have one.
            episodes: Number E of episodes.
            everywhere: Whether all ranks need them.
        """
        divided = {name: value for name, value in parts.items() if name in axes}
        spans = [self.span(episodes, rank) for rank in range(self.size)]
        formats = [
            [(axes[name].shape(value.shape, span.stop - span.start), value.dtype) for name, value in divided.items()]
            for span in spans
        ]
        size = max(map(size_of, formats))
        content = packed(list(divided.values()), into=torch.empty(size, dtype=torch.uint8, device="cpu"))
        gathered = self._call(lambda transport: transport.gathered(content, everywhere))
        if not gathered:
            return dict(parts)
        each = [unpacked(*pair) for pair in zip(gathered, formats, strict=True)]
        whole = {
            name: axes[name].join(values).to(parts[name].device)
            for name, values in zip(divided, zip(*each, strict=True), strict=True)
        }
        return {**parts, **whole}

    def _broadcast(self, content: Tensor) -> None:
        self._call(lambda transport: transport.broadcast(content))

    def _call(self, call: Callable[[Transport], Any]) -> Any:
        if self._transport is None or self._attendance is None:
            raise RankLost(f"the {self.size} ranks are not connected")
        try:
            return call(self._transport)
        except Disconnected as error:
            raise self._attendance.why() from error


@dataclass(frozen=True)
class Following:
    """The work of a process that rank 0 has started, which is to follow rank 0."""

    place: Place
    port: int

    def __call__(self, pipe: Pipe) -> None:
        """Follow rank 0 until it ends."""
        del pipe
        be_silent()
        with Ranks(self.place, True, self.port) as ranks:
            ranks.follow()
