"""Worker processes on one machine, each of which computes its part of a batch."""

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
from l2l_cli.parallel.shared_memory import Channel, SendBuffer

PATIENCE = 600.0
"""Seconds after which a process that does not answer counts as failed; the first answer includes its start."""

LEAVE = 5.0
"""Seconds that a process has to end by itself before it is killed."""

Request = Literal["answer", "linearize", "push", "pull"]
"""The calls of ``Model`` and ``Linearization`` that workers carry out; "answer" is the model's own."""

Result = TypeVar("Result")


class WorkerGroup:
    """R − 1 processes that compute their parts of batches, beside the caller, who computes the first of the R parts."""

    def __init__(self, model: Model, replicas: int) -> None:
        self._model = model
        self._replicas = replicas
        self._buffer = SendBuffer()
        self._processes: list[tuple[Any, Channel]] = []
        self._forgotten: list[int] = []
        self._closing = weakref.finalize(self, _end, self._processes)

    def close(self) -> None:
        """End the processes; they end with this object, or with the program, anyway."""
        self._closing()

    def ask(
        self, request: Request, number: int, params: Params, parts: Sequence[Tensor], work: Callable[[], Result]
    ) -> tuple[Result, list[list[Tensor]]]:
        """Have every process carry out a request on its part at the same time.

        Args:
            request: Name of the call.
            number: Number of the linearization.
            params: Tensors that all processes receive.
            parts: Tensors of which each process receives its own, R of them or none.
            work: The caller's share of the work.

        Returns:
            The caller's result, and those of the others, on the CPU and valid until the next request.

        Raises:
            RunFailed: A process failed or did not answer; then all have ended.
        """
        # Taking a number out of a tensor tells a recorder that this is no program: other processes are at work.
        torch.zeros((), device="cpu").item()
        if not self._closing.alive:
            raise RunFailed("the other processes of hardware.replicas have ended; start the run again")
        forgotten = [self._forgotten.pop() for _ in range(len(self._forgotten))]
        try:
            if not self._processes:
                self._start()
            shared = self._buffer.put("all", list(params.values()))
            for rank, (_, channel) in enumerate(self._processes, 1):
                part = self._buffer.put(f"part {rank}", [parts[rank]] if parts else [])
                try:
                    channel.send((request, number, list(params), forgotten), shared, part)
                except OSError as error:
                    raise self._lost(rank) from error
            result = work()
            return result, [self._receive(rank) for rank in range(1, self._replicas)]
        except BaseException:  # also Ctrl-C: a result that nobody waits for would be taken for the next one
            self.close()
            raise

    def until_gone(self, linear: Linearization, number: int) -> None:
        """Let the processes keep their parts of a linearization as long as it exists here."""
        weakref.finalize(linear, self._forgotten.append, number).atexit = False

    def _start(self) -> None:
        """Start the processes; their first answers tell whether that went well."""
        context = mp.get_context("spawn")
        module = copy.deepcopy(self._model.module).to("cpu")
        for rank in range(1, self._replicas):
            here, there = context.Pipe()
            arguments = there, module, self._model.in_turn, self._model.recompute, _TorchSettings.of(rank)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            try:
                process.start()
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise UsageError(
                    f"hardware.replicas={self._replicas} sends the model to other processes, but that fails ({error}); "
                    "define its classes at the top of a module, or use hardware.replicas=1"
                ) from error
            there.close()  # so that the pipe breaks when the process ends
            self._processes.append((process, Channel(here)))

    def _receive(self, rank: int) -> list[Tensor]:
        channel = self._processes[rank - 1][1]
        if not channel.connection.poll(PATIENCE):
            raise RunFailed(f"process {rank} of hardware.replicas={self._replicas} did not answer for {PATIENCE:g} s")
        try:
            failure, messages = channel.receive()
        except (EOFError, OSError) as error:
            raise self._lost(rank) from error
        if failure is not None:
            reason, traceback_text = failure
            failed = RunFailed(f"process {rank} of hardware.replicas={self._replicas} failed: {reason}")
            failed.add_note(traceback_text)
            raise failed
        return messages[0]

    def _lost(self, rank: int) -> RunFailed:
        process = self._processes[rank - 1][0]
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


class _TorchSettings(NamedTuple):
    """The part of torch's global state that decides numbers or speed."""

    device: str
    threads: int
    dtype: torch.dtype
    deterministic: int

    @classmethod
    def of(cls, rank: int) -> Self:
        """Return this process's settings for a worker, on the GPU that is ``rank`` further on."""
        device = torch.get_default_device()
        further = f"cuda:{((device.index or 0) + rank) % torch.cuda.device_count()}" if device.type == "cuda" else "cpu"
        deterministic = torch.get_deterministic_debug_mode()
        return cls(further, torch.get_num_threads(), torch.get_default_dtype(), deterministic)

    def apply(self) -> None:
        """Apply the settings to this process."""
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.set_deterministic_debug_mode(self.deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        if self.device != "cpu":  # a default device makes every operation slower
            torch.set_default_device(self.device)


def _serve(
    connection: Connection[Any, Any],
    module: nn.Module,
    in_turn: bool | Literal["cpu"],
    recompute: bool,
    settings: _TorchSettings,
) -> None:
    """Carry out requests until the pipe breaks because the calling process has closed it or has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the calling one decides what to do
    settings.apply()
    model = Model(module.to(settings.device), gaussian(0.0), in_turn, recompute)
    worker = _Worker(model, torch.device(settings.device))
    channel, buffer = Channel(connection), SendBuffer()
    with suppress(EOFError, OSError):
        while True:
            header, messages = channel.receive()
            try:
                result = worker.do(*header, *messages)
            except Exception as error:  # the calling process reports it
                channel.send((f"{type(error).__name__}: {error}", traceback.format_exc()))
            else:
                channel.send(None, buffer.put("result", result))


class _Worker:
    """The computations of one process, on a device, on its part of each batch."""

    def __init__(self, model: Model, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._kept: dict[int, Linearization] = {}

    @torch.no_grad()
    def do(
        self,
        request: Request,
        number: int,
        names: list[str],
        forgotten: list[int],
        shared: list[Tensor],
        parts: list[Tensor],
    ) -> list[Tensor]:
        """Carry out a request on this process's part, and let go of the linearizations of the numbers ``forgotten``.

        "answer" and "linearize" receive θ, shared by all, and this part's inputs; "push" receives v, shared by all, and
        "pull" this part's u.
        """
        for old in forgotten:
            del self._kept[old]
        params = {name: value.to(self._device) for name, value in zip(names, shared, strict=True)}
        part = [value.to(self._device) for value in parts]
        match request:
            case "answer":
                return [self._model(params, *part)]
            case "linearize":
                # The next request overwrites the shared memory.
                params = {name: value.clone() for name, value in params.items()}
                self._kept[number] = self._model.linearize(params, part[0].clone())
                return [self._kept[number].outputs]
            case "push":
                return [self._kept[number].push(params)]
            case "pull":
                return list(self._kept[number].pull(*part).values())
