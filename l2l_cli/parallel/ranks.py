"""Ranks: the processes that carry out one training in step, on this machine or on several."""

from __future__ import annotations

import os
import pickle
import socket
import time
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
from l2l_cli.parallel.launched import Place, be_silent
from l2l_cli.parallel.processes import Worker
from l2l_cli.parallel.transport import Disconnected, Transport, packed, size_of, store_on_loopback, unpacked

if TYPE_CHECKING:
    from l2l_cli.parallel.processes import Pipe

START = 600.0
"""Seconds that the ranks have to find each other."""

REPLY = 1.0
"""Seconds in which ranks that have lost a connection say that they are still there."""

HERE, LEFT = "here", "left"
STOPPED, MISSES = "was asked to stop", "misses another rank"


class RankLost(L2LError):
    """A rank failed or ended unasked, and the others cannot go on without it."""


class Wishes(NamedTuple):
    """Wishes of any rank, on which all agree with an update: to stop after it, and to save."""

    stop: bool = False
    save: bool = False


Task = Callable[["Ranks"], object]
"""What rank 0 has the others do: a picklable callable, given their ranks."""


class Ranks:
    """One of N processes that make the same calls of ``Ranks`` in the same order; rank 0 alone talks and writes.

    Episodes are divided over them: each rank draws all of them and keeps a contiguous part, so that together they come
    to what one process comes to, up to rounding.  Use it as a context manager: the others follow rank 0 within it.

    Args:
        place: Place of this process.
        local: Whether rank 0 starts the others, on this machine; else a launcher has started all.

    Attributes:
        rank: Number of this process, from 0.
        size: Number N of processes.
        local_rank: Number of this process among those of its machine, which is that of its GPU.
        agreed: Wishes on which all ranks agreed with the last update.
        save: Whether this rank wishes to save.
        speaks: Whether this rank tells the user of what has happened; another one does so if rank 0 is lost.
    """

    def __init__(self, place: Place, local: bool, port: int = 0) -> None:
        self.rank, self.size, self.local_rank = place
        self.agreed, self.save, self.speaks = Wishes(), False, self.rank == 0
        self._local, self._port = local, port
        self._store: Any = None
        self._transport: Transport | None = None
        self._workers: list[Worker] = []
        self._starter = os.getppid()

    # --- The beginning and the end ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start the other ranks, if that is not a launcher's work, and find them.

        Raises:
            RankLost: They were not found.
        """
        try:
            if self._local:
                self._store = store_on_loopback(self._port)
                if self.rank == 0:
                    self._start()
            else:
                self._store = next(rendezvous("env://", self.rank, self.size))[0]
            self._store.set(f"{HERE}/{self.rank}", f"{socket.gethostname()} {os.getpid()}")
            self._find()
            self._transport = Transport(self._store, self.rank, self.size, self._local, self._look_around)
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
        """Let the others end; tell them why this rank leaves, if it does so unasked."""
        if error is not None:
            self._leave(error)
            return
        try:
            if self.rank == 0:
                with suppress(RankLost, Stopped):  # all work is done, whoever has left before
                    self.begin(None)
        finally:
            self._end()

    def _start(self) -> None:
        for rank in range(1, self.size):
            worker = Worker(f"rank {rank} of hardware.world={self.size}")
            self._workers.append(worker)
            worker.begin(Following(Place(rank, self.size, rank), self._store.port))

    def _find(self) -> None:
        """Wait until all ranks are there, in Python, so that signals are heard."""
        until = time.monotonic() + START
        keys = [f"{HERE}/{rank}" for rank in range(self.size)]
        while not self._store.check(keys):
            self._look_around()
            if time.monotonic() > until:
                missing = [str(rank) for rank, key in enumerate(keys) if not self._store.check([key])]
                raise RankLost(f"rank {', '.join(missing)} of {self.size} did not start within {START:g} s")
            time.sleep(0.02)

    def _leave(self, error: BaseException) -> None:
        """Tell the others why this rank leaves them."""
        if isinstance(error, KeyboardInterrupt):
            self._tell(STOPPED)
        elif not isinstance(error, RankLost):
            self._tell(
                f"rank {self.rank} of {self.size} failed: {error if isinstance(error, L2LError) else repr(error)}"
            )
        self._end()

    def _end(self) -> None:
        self._transport = None
        for worker in self._workers:
            worker.end()

    # --- Following rank 0 ---------------------------------------------------------------------------------------------

    def begin(self, task: Task | None) -> None:
        """Have the others carry out a task, while this rank does its own part; None ends their following."""
        content = torch.frombuffer(bytearray(pickle.dumps(task)), dtype=torch.uint8)
        self._broadcast(torch.tensor([len(content)], device="cpu"))
        self._broadcast(content)

    def follow(self) -> None:
        """Carry out what rank 0 begins, until it ends."""
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
        """Return which of E episodes are this rank's, or another's."""
        rank = self.rank if rank is None else rank
        return slice(episodes * rank // self.size, episodes * (rank + 1) // self.size)

    def total(self, vector: Tensor) -> None:
        """Replace a vector by its sum over ranks, the same to the last bit in each.

        Raises:
            RankLost: A rank has failed or ended unasked.
            Stopped: A rank was asked to stop and has left.
        """
        self._call(lambda transport: transport.total(vector))

    def mean(self, values: Tensor, episodes: int) -> Tensor:
        """Return the mean over E episodes of means over each rank's; see ``total``."""
        mine = self.span(episodes)
        values = values.detach() * ((mine.stop - mine.start) / episodes)
        self.total(values)
        return values

    def exchange(self, sums: Tensor, finite: bool) -> tuple[Tensor, bool]:
        """Return the sum of the ranks' vectors, and whether all are finite; agree on the wishes of all.

        It is the one exchange of an update, the same to the last bit in each rank.
        """
        orphaned = not self._local and os.getppid() != self._starter  # nobody would ask it to stop any more
        together = torch.cat([sums, sums.new_tensor([not finite, STOP.asked or orphaned, self.save])])
        self.total(together)
        bad, stops, saves = together[-3:].tolist()
        self.agreed, self.save = Wishes(stops > 0, saves > 0), False
        return together[:-3], bad == 0

    def joined(
        self, parts: Mapping[str, Tensor], axes: Axes, episodes: int, everywhere: bool = False
    ) -> dict[str, Tensor]:
        """Return tensors of all episodes from those of each rank's, in rank 0 or ``everywhere``; others keep their own.

        Args:
            parts: Tensors by name.
            axes: Axes that the episodes are in by name, for those that have one.
            episodes: Number E of episodes.
            everywhere: Whether all ranks need them.
        """
        divided = {name: value for name, value in parts.items() if name in axes}
        spans = [self.span(episodes, rank) for rank in range(self.size)]
        formats = [
            [(axes[name].shape(value.shape, span.stop - span.start), value.dtype) for name, value in divided.items()]
            for span in spans
        ]
        content = packed(list(divided.values()), max(map(size_of, formats)))
        gathered = self._call(lambda transport: transport.gathered(content, everywhere))
        if not gathered:
            return dict(parts)
        each = [unpacked(*pair) for pair in zip(gathered, formats, strict=True)]
        whole = {
            name: axes[name].join(values).to(parts[name].device)
            for name, values in zip(divided, zip(*each, strict=True), strict=True)
        }
        return {**parts, **whole}

    # --- Others that leave --------------------------------------------------------------------------------------------

    def _broadcast(self, content: Tensor) -> None:
        self._call(lambda transport: transport.broadcast(content))

    def _call(self, call: Callable[[Transport], Any]) -> Any:
        if self._transport is None:
            raise RankLost(f"the {self.size} ranks are not connected")
        try:
            return call(self._transport)
        except Disconnected as error:
            self._tell(MISSES)
            raise self._why() from error

    def _look_around(self) -> None:
        """Raise what made another rank leave, if one has left."""
        if any(worker.is_gone for worker in self._workers) or self._words():
            self._tell(MISSES)
            raise self._why()

    def _why(self) -> BaseException:
        """Find out why others have left: those that still are there, or left by themselves, say so."""
        until = time.monotonic() + REPLY
        while len(said := self._words()) < self.size and time.monotonic() < until:
            time.sleep(0.02)
        silent = [rank for rank in range(self.size) if rank not in said]
        reasons = [words for _, words in sorted(said.items()) if words not in (STOPPED, MISSES)]
        lost = [rank for rank in silent if self._is_dead(rank)] or (
            [] if reasons or STOPPED in said.values() else silent
        )
        if lost:
            how = self._workers[lost[0] - 1].how if self._workers else "ended unasked, or cannot be reached"
            self.speaks = self.rank == min(set(range(self.size)) - {*lost})
            names = f"rank {', '.join(map(str, lost))} of {self.size}"
            return RankLost(f"{names} {how}; the same command goes on from the last checkpoint")
        return RankLost(reasons[0]) if reasons else Stopped()

    def _is_dead(self, rank: int) -> bool:
        """Return whether a rank's process is known to be gone: it ran on this machine."""
        if self._workers:
            return rank > 0 and self._workers[rank - 1].is_gone
        host, pid = self._store.get(f"{HERE}/{rank}").decode().split()
        if host != socket.gethostname():
            return False
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        return False

    def _tell(self, words: str) -> None:
        """Leave word for the others, unless the process that keeps it is gone."""
        with suppress(RuntimeError):
            if self._store is not None:
                self._store.set(f"{LEFT}/{self.rank}", words)

    def _words(self) -> dict[int, str]:
        """Return the words that ranks have left."""
        try:
            keys = {rank: f"{LEFT}/{rank}" for rank in range(self.size)}
            return {rank: self._store.get(key).decode() for rank, key in keys.items() if self._store.check([key])}
        except RuntimeError:
            return {self.rank: MISSES}


@dataclass(frozen=True)
class Following:
    """The work of a process that rank 0 has started: to follow it."""

    place: Place
    port: int

    def __call__(self, pipe: Pipe) -> None:
        """Follow rank 0 until it ends."""
        del pipe
        be_silent()
        with Ranks(self.place, True, self.port) as ranks:
            ranks.follow()
