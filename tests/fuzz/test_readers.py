"""Damaged files of the program's own beside runs: the store, a sweep's jobs, progress, rows known before, locks."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2l_cli.commands import evaluate
from l2l_cli.commands.known import known, remember
from l2l_cli.core.errors import UsageError
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.results.run import RunFolder
from l2l_cli.results.store import SCORES, Store
from l2l_cli.results.sweeps import DONE, SweepJob, messages, read_jobs, sweep_table, write_summary
from l2l_cli.results.terminal import console
from l2l_cli.runs.progress_files import ProgressFile, stands_of
from tests.fuzz.material import Runs, inside
from tests.fuzz.mutations import KINDS, Mutation, mutations, put
from tests.fuzz.outcome import SLOW, Faults, each, outcome, unfit

pytestmark = SLOW

KEY = {"learner": {"lr": 0.1}, "seed": 0}


class Reader:
    """A file, how it is read, and what it says; ``SOUND`` where it does not vouch for its own numbers."""

    def __init__(self, path: Path, read: Callable[[], Any], says: object = Faults.SOUND) -> None:
        self.path, self.read, self.says = path, read, says
        self.content = path.read_bytes()


def a_store(place: Path) -> Reader:
    store = Store(place)
    store.keep(SCORES, KEY, {"metric": "loss", "value": np.arange(64.0)}, {"loss": 0.5})

    def read() -> Any:
        kept = Store(place).read(SCORES, KEY, values=True)
        if kept is None:
            raise UsageError("computed again")
        return kept.values.tolist(), kept.facts

    (path,) = (place / SCORES).iterdir()
    return Reader(path, read, ([float(n) for n in range(64)], {"loss": 0.5}))


def a_sweep(place: Path) -> Reader:
    for number in range(2):
        row = {"objective": "loss", "loss": 0.5, "run": "x"}
        SweepJob(number, [f"seed={number}", "a=1"], DONE, row).write(place)

    def read() -> Any:
        jobs = read_jobs(place)
        write_summary(jobs, place / "summary.csv")
        console().print(sweep_table(jobs))
        for message in messages(jobs):
            print(message)

    return Reader(place / "job-0001.json", read)


def progress(place: Path) -> Reader:
    ProgressFile(place / "a.json", "a piece", 3.0)

    def read() -> Any:
        for stand in stands_of({"a": place / "a.json"}).values():
            print(f"{stand.name}: {stand.state}, {stand.done / stand.total:.0%}, {stand.note}, on {stand.where}")

    return Reader(place / "a.json", read)


def metrics(place: Path) -> Reader:
    file = MetricsFile(place / "metrics.csv")
    file.append(Metric("a", seed, "loss", 0.5, step) for seed in range(3) for step in range(5))
    return Reader(file.path, file.read)


def a_lock(place: Path) -> Reader:
    """What is said of who holds a lock that another process holds."""
    run = RunFolder.make(place / "run", {"name": "a"}, [])
    with run.lock():
        pass

    def read() -> Any:
        with ExitStack() as stack:
            if (path := run.path / ".lock").is_file() and not path.is_symlink():
                fcntl.flock(stack.enter_context(path.open("a")), fcntl.LOCK_EX)
                with run.lock(patience=0):
                    raise AssertionError("locked twice")
            with run.lock(patience=0):
                return

    return Reader(run.path / ".lock", read)


def known_row(place: Path) -> Reader:
    runs = Runs(place)
    flags = {"run_folder": str(place / "finished" / runs.run), "trust": []}
    with inside(place / "finished"):
        remember("evaluate", runs.scored, flags, evaluate.run(runs.scored, flags["run_folder"], []))
        (path,) = Path("outputs/multirun/.known").resolve().iterdir()

    def read() -> Any:
        with inside(place / "finished"):
            print(known("evaluate", runs.scored, flags))

    return Reader(path, read)


READERS = {one.__name__: one for one in (a_store, a_sweep, progress, metrics, a_lock, known_row)}


@pytest.mark.parametrize("name", READERS)
def test_damaged_contents(name, tmp_path, capsys, tally):
    (place := tmp_path / "place").mkdir()
    reader = READERS[name](place)
    other = tmp_path / "other"
    other.write_bytes(reader.content[::-1])
    faults = Faults(reader.says)

    def case(mutation: Mutation) -> None:
        reader.path.write_bytes(reader.content)
        mutation(reader.path, [other])
        judge(faults, reader, mutation, place, capsys)

    each(mutations(), 0.15 / len(READERS), case)
    tally(faults)


@pytest.mark.parametrize("name", READERS)
def test_something_else_in_place_of_a_file(name, tmp_path, capsys, tally):
    (place := tmp_path / "place").mkdir()
    reader = READERS[name](place)
    faults = Faults(reader.says)
    for kind in KINDS:
        put("nothing", reader.path, tmp_path / "outside")
        reader.path.write_bytes(reader.content)
        put(kind, reader.path, tmp_path / "outside")
        judge(faults, reader, kind, place, capsys)
    tally(faults)


def judge(faults: Faults, reader: Reader, case: object, place: Path, capsys: Any) -> None:
    capsys.readouterr()
    ended = outcome(reader.read, place)
    said = capsys.readouterr()
    wrong = {unfit(line) for line in (said.out + said.err).splitlines() if line.strip()} - {""}
    if wrong:
        ended = ended._replace(fault="; ".join([ended.fault, *sorted(wrong)]).strip("; ") + " in what is printed")
    faults.judge(case, ended)
