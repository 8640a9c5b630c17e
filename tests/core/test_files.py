"""The door to files: whole or not at all, also after a power cut, and files alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from l2l_cli.core import files
from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import (
    atomic_write,
    checksum,
    file_checksum,
    make_folder,
    open_file,
    read_file,
    refuse_links,
    sync_file,
)


@pytest.fixture
def calls(monkeypatch):
    """What reaches the disk, in order: files and folders that are synced, and names that are changed."""
    seen = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        seen.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).split(".tmp")[0]))
        fsync(descriptor)

    def renamed(old, new):
        seen.append(("name", os.path.basename(new)))
        replace(old, new)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(files.os, "replace", renamed)
    return seen


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names of open files are in /proc")
def test_content_then_name_then_folder_reach_the_disk(tmp_path, calls):
    atomic_write(tmp_path / "a", "1")
    assert [kind for kind, _ in calls] == ["sync", "name", "sync"]
    assert calls[0][1].startswith(".a.")
    assert calls[1:] == [("name", "a"), ("sync", tmp_path.name)]
    calls.clear()
    atomic_write(tmp_path / "a", "2", kept=tmp_path / "b")
    assert [name for kind, name in calls if kind == "name"] == ["b", "a"]
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("2", "1")
    calls.clear()
    make_folder(tmp_path / "x" / "y")
    assert calls == [("sync", tmp_path.name), ("sync", "x")]
    calls.clear()
    sync_file(tmp_path / "a")
    sync_file(tmp_path / "none")
    assert calls == [("sync", "a"), ("sync", tmp_path.name)]


def link(path):
    (path.parent / "target").write_text("precious")
    path.symlink_to(path.parent / "target")


def dangling(path):
    path.symlink_to(path.parent / "made")


def listener(path):
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path is short
        one.bind(path.name)
        os.chdir(here)


OTHERS = {
    "link": link,
    "dangling": dangling,
    "folder": lambda path: path.mkdir(),
    "fifo": lambda path: os.mkfifo(path),
    "socket": listener,
}


@pytest.mark.skipif(sys.platform == "win32", reason="has none of these")
@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("mode", ["rb", "ab", "a+b"])
def test_what_is_no_file_is_refused_at_once(tmp_path, make, mode):
    make(tmp_path / "x")
    with pytest.raises(UsageError, match=r"x is (a link, which is not followed|a folder|not a file); remove it"):
        open_file(tmp_path / "x", mode)
    if make is not OTHERS["folder"]:
        with pytest.raises(UsageError, match="remove it"):
            refuse_links(tmp_path)
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "target").exists() or (tmp_path / "target").read_text() == "precious"


@pytest.mark.skipif(sys.platform == "win32", reason="has no links that anybody may make")
def test_a_link_is_replaced_and_not_written_through(tmp_path):
    link(tmp_path / "x")
    atomic_write(tmp_path / "x", "new")
    assert (tmp_path / "target").read_text() == "precious"
    assert ((tmp_path / "x").read_text(), (tmp_path / "x").is_symlink()) == ("new", False)


def test_a_file_is_not_read_beyond_a_bound(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1 << 33)  # takes no place on the disk
    with pytest.raises(UsageError, match=r"x has 8589934592 bytes, more than"):
        read_file(tmp_path / "x", 1 << 20)


def test_a_checksum_is_of_content_in_any_parts(tmp_path):
    content = bytes(range(256)) * 9000
    (tmp_path / "x").write_bytes(content)
    assert file_checksum(tmp_path / "x") == checksum(content) == checksum(content[:77], memoryview(content)[77:])
    for place in range(0, len(content), 99991):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        assert checksum(bytes(damaged)) != checksum(content)
    assert file_checksum(tmp_path / "none") is None


def test_a_write_that_is_killed_leaves_the_old_content(tmp_path):
    """Killed right before the rename: the temporary file stays, and nobody takes it for the file."""
    code = (
        "import os, sys; from pathlib import Path; from l2l_cli.core import files\n"
        "files.os.replace = lambda *_: os._exit(9)\n"
        "files.atomic_write(Path(sys.argv[1]), 'new')"
    )
    atomic_write(tmp_path / "x", "old")
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], check=False).returncode == 9
    assert (tmp_path / "x").read_text() == "old"
