"""Processes that each answer for their part of a batch, on one machine."""

from __future__ import annotations

import copy
import pickle
import signal
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn
from torch import multiprocessing as mp

from l2l_cli.autodiff.linearize import Linearization
from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.core.types import Params
from l2l_cli.models.model import Model, gaussian
from l2l_cli.parallel.shared_memory import Channel, Letter, Outbox

PATIENCE = 600.0
"""Seconds after which a process that does not answer counts as failed; the first answer includes its start."""

LEAVE = 5.0
"""Seconds that a process has to end of its own accord."""

What = Literal["answer", "linearize", "push", "pull"]
Own = TypeVar("Own")


class Team:
    """R − 1 processes that answer for their parts of batches, and the caller, who answers for the first.

    Args:
        model: The network.
        replicas: R.
    """

    def __init__(self, model: Model, replicas: int) -> None:
        self._model = model
        self._replicas = replicas
        self._outbox = Outbox()
        self._members: list[tuple[Any, Channel]] = []
        self._forgotten: list[int] = []
        self._closing = weakref.finalize(self, _end, self._members)

    def close(self) -> None:
        """End the processes; they end with this object, or with the program, anyway."""
        self._closing()

    def ask(
        self, what: What, number: int, params: Params, parts: Sequence[Tensor], own: Callable[[], Own]
    ) -> tuple[Own, list[list[Tensor]]]:
        """Have every process do the same to its part at the same time.

        Args:
            what: See ``_Member.do``.
            number: Of the linearization.
            params: What all are given.
            parts: What each is given of its own, R of them or none.
            own: The caller's share of the work.

        Returns:
            The caller's result, and the others', on the CPU, valid until the next is asked for.

        Raises:
            RunFailed: A process failed or did not answer; then all have ended.
        """
        # Taking a number out of a tensor tells a recorder of programs that this is none: other processes are at work.
        torch.zeros((), device="cpu").item()
        if not self._closing.alive:
            raise RunFailed("the other processes of hardware.replicas have ended; start the run again")
        forgotten = [self._forgotten.pop() for _ in range(len(self._forgotten))]
        try:
            if not self._members:
                self._start()
            shared = self._outbox.put("all", list(params.values()))
            for rank, (_, channel) in enumerate(self._members, 1):
                part = self._outbox.put(f"part {rank}", [parts[rank]] if parts else [])
                self._send(rank, channel, (what, number, list(params), forgotten), shared, part)
            mine = own()
            return mine, [self._hear(rank) for rank in range(1, self._replicas)]
        except BaseException:  # also Ctrl-C: an answer that nobody waits for would be taken for the next one
            self.close()
            raise

    def until_gone(self, linear: Linearization, number: int) -> None:
        """Let the processes keep what they need for a linearization as long as it is there."""
        weakref.finalize(linear, self._forgotten.append, number).atexit = False

    def _start(self) -> None:
        """Start the processes; their first answers tell whether that went well."""
        context = mp.get_context("spawn")
        module = copy.deepcopy(self._model.module).to("cpu")
        for rank in range(1, self._replicas):
            here, there = context.Pipe()
            arguments = there, module, self._model.in_turn, self._model.recompute, _Setting.of(rank)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            try:
                process.start()
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise UsageError(
                    f"hardware.replicas={self._replicas} sends the model to other processes, but that fails ({error}); "
                    "define its classes at the top of a module, or use hardware.replicas=1"
                ) from error
            there.close()  # so that the pipe breaks when the process ends
            self._members.append((process, Channel(here)))

    def _send(self, rank: int, channel: Channel, words: Any, *letters: Letter) -> None:
        try:
            channel.send(words, *letters)
        except OSError as error:
            raise self._lost(rank) from error

    def _hear(self, rank: int) -> list[Tensor]:
        channel = self._members[rank - 1][1]
        if not channel.connection.poll(PATIENCE):
            raise RunFailed(f"process {rank} of hardware.replicas={self._replicas} did not answer for {PATIENCE:g} s")
        try:
            words, letters = channel.receive()
        except (EOFError, OSError) as error:
            raise self._lost(rank) from error
        if words is not None:
            message, details = words
            failed = RunFailed(f"process {rank} of hardware.replicas={self._replicas} failed: {message}")
            failed.add_note(details)
            raise failed
        return letters[0]

    def _lost(self, rank: int) -> RunFailed:
        process = self._members[rank - 1][0]
        process.join(LEAVE)
        return RunFailed(
            f"process {rank} of hardware.replicas={self._replicas} ended unasked, with exit code {process.exitcode} "
            "(negative: the signal that killed it; −9 may be for lack of memory)"
        )


def _end(members: Sequence[tuple[Any, Channel]]) -> None:
    """End processes, by their pipes if possible."""
    for _, channel in members:
        channel.connection.close()
    for process, _ in members:
        process.join(LEAVE)
        if process.is_alive():
            process.kill()
            process.join()


class _Setting(NamedTuple):
    """What of torch's state decides numbers or speed."""

    device: str
    threads: int
    dtype: torch.dtype
    deterministic: bool

    @classmethod
    def of(cls, rank: int) -> Self:
        """Return this process's, on the GPU that is so many further on."""
        device = torch.get_default_device()
        further = f"cuda:{((device.index or 0) + rank) % torch.cuda.device_count()}" if device.type == "cuda" else "cpu"
        return cls(
            further,
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
        )

    def take(self) -> None:
        """Make it this process's."""
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.use_deterministic_algorithms(self.deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        if self.device != "cpu":  # a default device is asked for by every operation
            torch.set_default_device(self.device)


def _serve(
    connection: Connection[Any, Any], module: nn.Module, in_turn: Any, recompute: bool, setting: _Setting
) -> None:
    """Do what is asked for until the pipe breaks: the other process has closed it, or has ended, in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the one who asks decides what comes of it
    setting.take()
    member = _Member(Model(module.to(setting.device), gaussian(0.0), in_turn, recompute), torch.device(setting.device))
    channel, outbox = Channel(connection), Outbox()
    with suppress(EOFError, OSError):
        while True:
            words, letters = channel.receive()
            try:
                result = member.do(*words, *letters)
            except Exception as error:  # it is the asking process's to report
                channel.send((f"{type(error).__name__}: {error}", traceback.format_exc()))
            else:
                channel.send(None, outbox.put("result", result))


class _Member:
    """Answers for a part of each batch.

    Args:
        model: The network.
        device: Where it computes.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._kept: dict[int, Linearization] = {}

    @torch.no_grad()
    def do(
        self,
        what: What,
        number: int,
        names: list[str],
        forgotten: list[int],
        shared: list[Tensor],
        own: list[Tensor],
    ) -> list[Tensor]:
        """Do what ``Model`` and ``Linearization`` do by these names, to this part.

        Args:
            what: "answer" and "linearize" are given θ and this part's inputs, "push" is given v, "pull" this part's u.
            number: Of the linearization.
            names: Of the tensors that are shared.
            forgotten: Numbers of linearizations that nobody will ask for again.
            shared: θ or v.
            own: Inputs or u.
        """
        for old in forgotten:
            del self._kept[old]
        params = {name: value.to(self._device) for name, value in zip(names, shared, strict=True)}
        part = [value.to(self._device) for value in own]
        match what:
            case "answer":
                return [self._model(params, *part)]
            case "linearize":
                # What is shared will be overwritten.
                params = {name: value.clone() for name, value in params.items()}
                self._kept[number] = self._model.linearize(params, part[0].clone())
                return [self._kept[number].outputs]
            case "push":
                return [self._kept[number].push(params)]
            case "pull":
                return list(self._kept[number].pull(*part).values())
