"""How the benchmark talks to a contender in another process: one line asks, one line answers.

    load NAME FILE        read a problem, to be called by a name      -> ok
    gradient NAME FILE    write its meta-gradient, as of ``phi``      -> ok META-LOSS
    time NAME N           take N meta-steps, Adam's update included   -> ok SECONDS of this process's CPU time

Whatever fails answers ``error MESSAGE``.  Where the problem is a product with a matrix G, the meta-loss is ½·vᵀ·G·v,
its gradient G·v, and a meta-step one product.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from tests.bench.peers.problem import Array, Problem


class Program(Protocol):
    """A contender, with a problem in hand."""

    def gradient(self) -> tuple[float, list[Array]]:
        """Return the meta-loss and its gradient, in the order of ``Problem.phi``."""

    def meta_step(self) -> None:
        """Move φ once, and be done with it on return."""


def cpu_seconds(program: Program, count: int) -> float:
    """Return the CPU time of this process over so many meta-steps."""
    began = time.process_time()
    for _ in range(count):
        program.meta_step()
    return time.process_time() - began


def serve(build: Callable[[Any], Program], read: Callable[[Path], Any] = Problem.load) -> None:
    """Answer standard input on standard output until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not be taken for an answer
    reply_all(lambda path: build(read(path)), sys.stdin, answers)


def reply_all(load: Callable[[Path], Program], questions: IO[str], answers: IO[str]) -> None:
    """Answer every line of ``questions``; ``load`` makes a program of a problem's file."""
    programs: dict[str, Program] = {}
    for line in questions:
        try:
            answer = _reply(load, programs, *line.strip().split(" ", 2))
        except Exception as error:  # whatever a peer's libraries raise is the parent's to report
            print(f"error {type(error).__name__}: {' '.join(str(error).split())}", file=answers, flush=True)
        else:
            print(f"ok {answer}".strip(), file=answers, flush=True)


def _reply(
    load: Callable[[Path], Program], programs: dict[str, Program], command: str, name: str, argument: str
) -> str:
    if command == "load":
        programs[name] = load(Path(argument))
        return ""
    if command == "gradient":
        loss, gradient = programs[name].gradient()
        np.savez(argument, *gradient)
        return repr(loss)
    if command == "time":
        return repr(cpu_seconds(programs[name], int(argument)))
    raise ValueError(f"unknown command {command!r}")
