"""Processes that work for another one: what they report, and how they end with it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.core.stop import STOP
from l2l_cli.parallel.pool import Assignment, carry_out
from l2l_cli.parallel.processes import Lost, Worker, how_it_ended

PATIENCE = 20.0


def answer(value, pipe):
    return value


def refuse(pipe):
    raise UsageError("there is no such thing")


def crash(pipe):
    raise ZeroDivisionError("by nothing")


def wait_for(ready):
    until = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def is_alive(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_a_worker_returns_results_and_raises_what_its_work_raised():
    with Worker("the worker") as worker:
        for work, error, message in (
            (refuse, UsageError, "there is no such thing"),
            (
                crash,
                RunFailed,
                r"the worker failed: your code raised ZeroDivisionError at .*\d+ in crash: by nothing",
            ),
        ):
            worker.begin(work)
            with pytest.raises(error, match=message):
                worker.outcome()
        worker.begin(partial(answer, 7))
        assert worker.outcome() == 7
        with pytest.raises((pickle.PicklingError, AttributeError)):
            worker.begin(lambda pipe: None)


def test_ends_are_told_in_words():
    assert how_it_ended(-9) == "was killed by SIGKILL, for lack of memory?"
    assert how_it_ended(-11) == "was killed by SIGSEGV"
    assert how_it_ended(3) == "ended by itself, with exit code 3"


@dataclass(frozen=True)
class Steps:
    """Writes its process's number, works until a file or a request to stop ends it, and then saves."""

    folder: Path
    name: str

    def __call__(self, pipe=None):
        (self.folder / f"{self.name}.pid").write_text(str(os.getpid()))
        try:
            with STOP.held():
                while not (self.folder / "enough").exists():
                    time.sleep(0.02)
                    STOP.check()
        except KeyboardInterrupt:
            (self.folder / f"{self.name}.saved").touch()
            raise
        (self.folder / f"{self.name}.done").touch()


def started(folder, name):
    path = folder / f"{name}.pid"
    wait_for(lambda: path.exists() and path.read_text())
    return int(path.read_text())


class Heard:
    """What a pool says of its tasks; ``act`` is called once, when all of ``names`` have begun."""

    def __init__(self, folder, names, act):
        self.folder, self.names, self.act = folder, names, act
        self.ended = {}

    def look(self):
        if self.act and all((self.folder / f"{name}.pid").exists() for name in self.names):
            pids = [started(self.folder, name) for name in self.names]
            act, self.act = self.act, None
            act(*pids)

    def end(self, index, error):
        self.ended[index] = error


def pool(folder, names, processes, act, at_work):
    heard = Heard(folder, at_work, act)
    tasks = [Assignment(name, Steps(folder, name)) for name in names]
    try:
        carry_out(tasks, processes, heard.look, heard.end)
    except KeyboardInterrupt:
        return heard, True
    return heard, False


def test_a_lost_process_costs_its_own_task_alone(tmp_path):
    def act(first, second):
        os.kill(first, signal.SIGKILL)
        (tmp_path / "enough").touch()

    heard, stopped = pool(tmp_path, ["a", "b", "c"], 2, act, ["a", "b"])
    assert not stopped
    assert isinstance(heard.ended[0], Lost)
    assert str(heard.ended[0]) == "a: its process was killed by SIGKILL, for lack of memory?"
    assert heard.ended[1] is heard.ended[2] is None
    assert {path.name for path in tmp_path.glob("*.done")} == {"b.done", "c.done"}


@pytest.mark.parametrize("whom", ["main", "worker"])
def test_a_request_to_one_process_stops_all_and_nothing_new_is_begun(whom, tmp_path, capsys):
    def act(first, second):
        os.kill(os.getpid() if whom == "main" else second, signal.SIGTERM)

    heard, stopped = pool(tmp_path, ["a", "b", "c"], 2, act, ["a", "b"])
    assert stopped
    assert {path.name for path in tmp_path.glob("*.saved")} == {"a.saved", "b.saved"}
    assert not (tmp_path / "c.pid").exists()
    assert heard.ended == {}
    assert "stopping after the present step of" in capsys.readouterr().err


def test_a_task_that_is_refused_stops_the_others(tmp_path):
    tasks = [Assignment("a", Steps(tmp_path, "a")), Assignment("b", partial(refuse, None))]
    with pytest.raises(UsageError, match="there is no such thing"):
        carry_out(tasks, 2, lambda: None, lambda index, error: None)


def start_and_wait(folder):
    """Start a worker that never ends by itself; run in a process that will be killed."""
    with Worker("the worker", saves=True) as worker:
        worker.begin(Steps(Path(folder), "orphan"))
        worker.outcome()


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc to see who is alive")
def test_a_worker_saves_and_ends_when_its_starter_is_killed(tmp_path):
    code = f"from tests.parallel.test_processes import start_and_wait; start_and_wait({str(tmp_path)!r})"
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root)
    orphan = started(tmp_path, "orphan")
    process.kill()
    process.wait()
    wait_for(lambda: not is_alive(orphan))
    assert (tmp_path / "orphan.saved").exists()
