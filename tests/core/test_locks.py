"""Locks, by fcntl and by what stands in for it on Windows."""

from __future__ import annotations

import subprocess
import sys

import pytest

from l2l_cli.core import locks
from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import open_file
from l2l_cli.core.locks import is_locked, locked, try_lock, wait_for

HOLD = (
    "import sys; from pathlib import Path; from l2l_cli.core import locks\n"
    "locks.HAS_FCNTL = sys.argv[2] == 'True'\n"
    "with locks.locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture(params=[True, False], ids=["fcntl", "filelock"])
def kind(request, monkeypatch):
    """By which locks are made here."""
    monkeypatch.setattr(locks, "HAS_FCNTL", request.param and locks.HAS_FCNTL)
    return locks.HAS_FCNTL


def test_a_lock_ends_with_its_file_and_leaves_the_content(tmp_path, kind):
    path = tmp_path / "x"
    path.write_text("who has it")

    def is_free():
        with open_file(path) as other:
            return try_lock(other)

    with open_file(path, "ab") as file:
        assert try_lock(file)
        assert not is_free()
        assert path.read_text() == "who has it"
    del file
    assert is_free()


def test_a_lock_ends_with_its_process(tmp_path, kind):
    path = tmp_path / "x"
    assert not is_locked(path)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(kind)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    assert is_locked(path)
    other.kill()
    other.communicate()
    assert not is_locked(path)
    path.write_text("ended")
    assert wait_for(path) == "ended"
    with locked(path):
        pass


def test_a_link_is_no_lock(tmp_path, kind):
    (tmp_path / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a link"), locked(tmp_path / "x"):
        pass
    assert not (tmp_path / "elsewhere").exists()
