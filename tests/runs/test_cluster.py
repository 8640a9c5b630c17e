"""Pieces as jobs of a cluster, with submitit's local executor in the place of a scheduler."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from l2l_cli.config.schema import Hardware
from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.core.stop import STOP
from l2l_cli.runs.cluster import send
from l2l_cli.runs.pieces import Carrying, Piece

submitit = pytest.importorskip("submitit")

PATIENCE = 60.0

# Jobs are to outlive the command that submitted them.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@dataclass(frozen=True)
class Count:
    """Counts to ten in a file, from where it was; ``trouble`` befalls its first attempt at five."""

    path: Path
    trouble: str = ""

    def __call__(self, tell):
        with self.path.with_suffix(".attempts").open("a") as file:
            file.write("x")
        first = len(self.path.with_suffix(".attempts").read_text()) == 1
        begin = int(self.path.read_text()) if self.path.exists() else 0
        with STOP.held():
            for number in range(begin + 1, 11):
                self.path.write_text(str(number))
                tell(1.0, f"at {number}")
                if first and number == 5:
                    self.meet_trouble()
                STOP.check()

    def meet_trouble(self):
        if self.trouble == "failure":
            raise RunFailed("it does not work")
        if self.trouble:
            os.kill(os.getpid(), getattr(signal, self.trouble))


def pieces(folder, **troubles):
    counts = {name: Count(folder / name, trouble) for name, trouble in troubles.items()}
    return [Piece(name, name, 10.0, count) for name, count in counts.items() if not is_done(folder / name)]


def sent(folder, hardware, **troubles):
    carried = [Carrying.of(piece, folder) for piece in pieces(folder, **troubles)]
    return send(carried, folder / "cluster", hardware)


def is_done(path):
    return path.exists() and path.read_text() == "10"


def sent_until(folder, ready, hardware, **troubles):
    """Give the command again and again until what it shows is ready; return what it showed last, by name."""
    until = time.monotonic() + PATIENCE
    while True:
        shown = {one.name: one for one in sent(folder, hardware, **troubles)}
        if ready(shown):
            return shown
        assert time.monotonic() < until, shown
        time.sleep(0.3)


def attempts(folder, name):
    return len((folder / f"{name}.attempts").read_text())


def test_a_job_that_failed_waits_for_the_user_and_takes_no_other_down(tmp_path):
    local, troubles = Hardware(cluster="local", array=1), {"sound": "", "broken": "failure"}
    assert {one.note for one in sent(tmp_path, local, **troubles)} == {"submitted"}
    shown = sent_until(
        tmp_path, lambda shown: [*shown] == ["broken"] and shown["broken"].state == "failed", local, **troubles
    )
    assert shown["broken"].note == "it does not work"
    assert attempts(tmp_path, "sound") == attempts(tmp_path, "broken") == 1
    again = Hardware(cluster="local", array=1, resubmit=True)
    (standing,) = sent(tmp_path, again, **troubles)
    assert (standing.state, standing.note) == ("waiting", "submitted again: it does not work")
    sent_until(tmp_path, lambda shown: not shown, local, **troubles)
    assert attempts(tmp_path, "broken") == 2


@pytest.mark.slow
@pytest.mark.parametrize(("trouble", "submissions"), [("SIGKILL", 2), ("SIGUSR2", 1)], ids=["killed", "preempted"])
def test_what_was_killed_is_submitted_again_and_what_makes_room_is_queued_again(trouble, submissions, tmp_path):
    local = Hardware(cluster="local", array=2)
    ids = set()

    def over(shown):
        ids.update(file.read_text() for file in (tmp_path / "progress").glob("*.job"))
        return not shown

    sent_until(tmp_path, over, local, one=trouble)
    assert attempts(tmp_path, "one") == 2
    assert len(ids) == submissions


def test_a_cluster_that_is_not_here_is_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"this machine has no srun.*try hardware=submitit_local") as info:
        sent(tmp_path, Hardware(cluster="slurm"), one="")
    assert "\n" not in str(info.value)
    assert not (tmp_path / "one").exists()
