"""Processes on one machine, each of which computes its part of a batch."""

from __future__ import annotations

import copy
import pickle
import traceback
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn

from l2l_cli.autodiff.linearize import Linearization
from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.core.stop import STOP
from l2l_cli.core.types import Params
from l2l_cli.models.model import Model, gaussian
from l2l_cli.parallel.blocks import Block, Reader, Writer
from l2l_cli.parallel.processes import Worker

if TYPE_CHECKING:
    from l2l_cli.parallel.processes import Pipe

PATIENCE = 600.0
"""Seconds after which a process that does not answer counts as failed; the first answer includes its start."""

Request = Literal["answer", "linearize", "push", "pull"]
"""The calls of ``Model`` and ``Linearization`` that workers carry out; "answer" is the model's own."""

Result = TypeVar("Result")


class Header(NamedTuple):
    """A request, as it is sent through a pipe.

    Attributes:
        request: Name of the call.
        number: Number of the linearization.
        names: Names of the tensors that all processes receive.
        forgotten: Numbers of the linearizations that are no longer needed.
        shared: Tensors that all processes receive.
        part: The process's own tensors.
    """

    request: Request
    number: int
    names: list[str]
    forgotten: list[int]
    shared: Block
    part: Block


class Answer(NamedTuple):
    """Reply sent through a pipe: the tensors of a result, or a failure and its traceback as text."""

    result: Block | None = None
    failure: str | None = None
    trace: str = ""


class WorkerGroup:
    """R − 1 processes that compute their parts of batches; the caller computes the first of the R parts."""

    def __init__(self, model: Model, replicas: int) -> None:
        self._model = model
        self._replicas = replicas
        self._workers: list[Worker] = []
        self._writer = Writer()
        self._readers: list[Reader] = []
        self._forgotten: list[int] = []
        self._closing = weakref.finalize(self, _end, self._workers)

    def close(self) -> None:
        """End the processes; otherwise they end with this object, or with the program."""
        self._closing()

    def ask(
        self, request: Request, number: int, params: Params, parts: Sequence[Tensor], work: Callable[[], Result]
    ) -> tuple[Result, list[list[Tensor]]]:
        """Have every process carry out a request on its part at the same time.

        Args:
            request: Name of the call.
            number: Number of the linearization.
            params: Tensors that all processes receive.
            parts: Tensors of which each process receives its own; either R of them or none.
            work: The caller's share of the work.

        Returns:
            The caller's result, and those of the others, on the CPU and valid until the next request.

        Raises:
            RunFailed: A process failed or did not answer; by then all have been ended.
        """
        # Reading a number from a tensor keeps a tracer from recording this call: other processes are involved.
        torch.zeros((), device="cpu").item()
        if not self._closing.alive:
            raise RunFailed("the other processes of hardware.replicas have ended; start the run again")
        try:
            if not self._workers:
                self._start()
            self._send(request, number, params, parts)
            result = work()
            return result, [self._receive(rank) for rank in range(1, self._replicas)]
        except BaseException:  # even Ctrl-C: a result that is not fetched would be taken for the next one
            self.close()
            raise

    def until_gone(self, linear: Linearization, number: int) -> None:
        """Let the processes keep their parts of a linearization for as long as it exists here."""
        weakref.finalize(linear, self._forgotten.append, number).atexit = False

    def _start(self) -> None:
        """Start the processes; their first answers show whether they started properly."""
        module = copy.deepcopy(self._model.module).to("cpu")
        for rank in range(1, self._replicas):
            self._workers.append(Worker(f"process {rank} of hardware.replicas={self._replicas}"))
            self._readers.append(Reader())
            serving = _Serving(module, self._model.in_turn, self._model.recompute, _TorchSettings.of(rank))
            try:
                self._workers[-1].begin(serving)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise UsageError(
                    f"hardware.replicas={self._replicas} sends the model to other processes, but that fails ({error}); "
                    "define its classes at the top of a module, or use hardware.replicas=1"
                ) from error

    def _send(self, request: Request, number: int, params: Params, parts: Sequence[Tensor]) -> None:
        """Send a request to all."""
        forgotten = [self._forgotten.pop() for _ in range(len(self._forgotten))]
        for rank, worker in enumerate(self._workers, 1):
            shared = self._writer.block(rank, "all", list(params.values()), fresh=rank == 1)
            part = self._writer.block(rank, f"part {rank}", [parts[rank]] if parts else [])
            try:
                worker.pipe.send(Header(request, number, list(params), forgotten, shared, part))
            except OSError as error:
                raise worker.lost() from error

    def _receive(self, rank: int) -> list[Tensor]:
        worker = self._workers[rank - 1]
        if not worker.pipe.poll(PATIENCE):
            raise RunFailed(f"{worker.name} did not answer for {PATIENCE:g} s")
        try:
            answer: Answer = worker.pipe.recv()
        except (EOFError, OSError) as error:
            raise worker.lost() from error
        if answer.result is None:
            failed = RunFailed(f"{worker.name} failed: {answer.failure}")
            failed.add_note(answer.trace)
            raise failed
        return self._readers[rank - 1].tensors(answer.result)


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.end()


class _TorchSettings(NamedTuple):
    """The part of torch's global state that affects numbers or speed."""

    device: str
    threads: int
    dtype: torch.dtype
    deterministic: int

    @classmethod
    def of(cls, rank: int) -> Self:
        """Return this process's settings for a worker, on the GPU ``rank`` places after this one's."""
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


@dataclass(frozen=True)
class _Serving:
    """The work of one process: to carry out requests for as long as the calling process sends them."""

    module: nn.Module
    in_turn: bool | Literal["cpu"]
    recompute: bool
    settings: _TorchSettings

    def __call__(self, pipe: Pipe) -> None:
        """Carry out requests until the pipe breaks, because the calling process has closed it or has ended."""
        self.settings.apply()
        model = Model(self.module.to(self.settings.device), gaussian(0.0), self.in_turn, self.recompute)
        worker = _Worker(model, torch.device(self.settings.device))
        writer, reader = Writer(), Reader()
        with STOP.held():  # the calling process decides when to stop, and needs answers until then
            while True:
                header: Header = pipe.recv()
                try:
                    result = worker.do(header, reader.tensors(header.shared), reader.tensors(header.part))
                except Exception as error:  # the calling process reports it
                    pipe.send(Answer(None, f"{type(error).__name__}: {error}", traceback.format_exc()))
                else:
                    pipe.send(Answer(writer.block(0, "result", result)))


class _Worker:
    """The computations of one process, on a device, on its part of each batch."""

    def __init__(self, model: Model, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._kept: dict[int, Linearization] = {}

    @torch.no_grad()
    def do(self, header: Header, shared: list[Tensor], parts: list[Tensor]) -> list[Tensor]:
        """Carry out a request on this process's part, and drop the linearizations that are no longer needed.

        "answer" and "linearize" receive θ, shared by all, and this part's inputs; "push" receives v, shared by all, and
        "pull" this part's u.
        """
        for old in header.forgotten:
            del self._kept[old]
        params = {name: value.to(self._device) for name, value in zip(header.names, shared, strict=True)}
        part = [value.to(self._device) for value in parts]
        number = header.number
        match header.request:
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
