"""Damaged rows of a reproduction: measured anew, refused, or read as they were written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from l2l_cli.config.request import ReproduceRequest
from l2l_cli.core.errors import UsageError
from l2l_cli.papers.experiments import Experiment, experiments
from l2l_cli.papers.jobs import Work, work_of
from tests.fuzz.material import inside
from tests.fuzz.mutations import KINDS, Mutation, mutations, put
from tests.fuzz.outcome import SLOW, Faults, each, outcome

pytestmark = SLOW

REQUEST = ReproduceRequest("hochreiter2001", ("drift",), "smoke", overrides=("meta.updates=2", "hardware.threads=1"))


class Reproduction:
    """A reproduction whose rows are all measured, below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.asked = root, experiments(REQUEST)
        with inside(root):
            for piece in self.work().pieces:
                piece.work(lambda seconds, note: None)
            assert not self.work().pieces
        self.rows = sorted((root / "here" / "rows").iterdir())
        self.known = self.read()

    def work(self) -> Work:
        jobs = {job.key: job for one in self.asked for row in one.jobs.values() for job in row}
        return work_of(list(jobs.values()), Path("here"), Path("here"))

    def read(self) -> Any:
        """Read all measurements, as ``reproduce`` does before it judges them."""
        with inside(self.root):
            work = self.work()
            if work.pieces:
                raise UsageError("measured anew")
            return [self._frames(one, work) for one in self.asked]

    def _frames(self, one: Experiment, work: Work) -> str:
        measured = one.measured(work.files, Path("here"))
        return "".join(frame.to_csv() for frame in measured.frames.values())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Reproduction(tmp_path_factory.mktemp("rows"))


def restored(contents: dict[Path, bytes]) -> None:
    """Put rows back, whatever the reader has made of them."""
    for path, content in contents.items():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(content)


def test_damaged_contents(made, tally):
    path, faults = made.rows[0], Faults(made.known)
    contents = {row: row.read_bytes() for row in made.rows}

    def case(mutation: Mutation) -> None:
        mutation(path, made.rows)
        faults.judge((path.name, mutation), outcome(made.read, made.root))
        restored(contents)

    each(mutations(), 0.03, case)
    tally(faults)


def test_something_else_in_place_of_a_row(made, tmp_path, tally):
    path, faults = made.rows[0], Faults(made.known)
    contents = {row: row.read_bytes() for row in made.rows}
    for kind in KINDS:
        put(kind, path, tmp_path / "outside")
        faults.judge((path.name, kind), outcome(made.read, made.root))
        restored(contents)
    tally(faults)
