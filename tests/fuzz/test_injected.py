"""Faults of the machine: full and read-only disks, closed outputs, folders that vanish: one line, and nothing lost."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.fuzz.kills import ROOT, TRAINING, complete, reference, start
from tests.fuzz.outcome import SLOW, unfit

pytestmark = SLOW

FRAMES = re.compile(r"Traceback|^  \S+:\d+ in |l2l \S+ failed", re.MULTILINE)
SIZES = (0, 4, 16, 24, 32, 48, 64, 80, 96, 128)
"""Kilobytes that are free on a disk."""

LIMIT = 120.0
"""Seconds for which a test waits for a command."""


@pytest.fixture(scope="module")
def bits(tmp_path_factory):
    return reference(tmp_path_factory.mktemp("whole"))[0]


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a disk of that size, which lies in memory."""
    place.mkdir()
    # Besides what is free, a page for the folder that a run makes.
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={max(4, kilobytes)}k", "none", str(place)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def told(process: subprocess.Popen[str]) -> tuple[int, str]:
    """What a command that met a fault says of it, in one line."""
    err = process.communicate(timeout=LIMIT)[1] or ""
    assert not FRAMES.search(err), err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert process.returncode in (0, 1, 2), err
    assert len(errors) == (process.returncode != 0), err
    assert not any(map(unfit, errors)), errors
    return process.returncode, err


@pytest.mark.parametrize("free", SIZES)
def test_full_disk(free, bits, tmp_path):
    """The same command ends well once there is space, with what it had before."""
    with small_disk(tmp_path / "disk", free) as place:
        if not free:
            (place / "filler").write_bytes(bytes(4096))
        told(start(place))
        remount(place, "size=64m")
        assert complete(place) == bits


def test_disk_that_fills_meanwhile(bits, tmp_path):
    with small_disk(tmp_path / "disk", 4096) as place:
        process = start(place)
        while process.poll() is None and not list(place.glob("outputs/meta-train/*/*.safetensors")):
            time.sleep(0.01)
        fill(place / "filler")
        told(process)
        (place / "filler").unlink()
        assert complete(place) == bits


def fill(path: Path) -> None:
    """Write until there is no space."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_read_only_disk(when, bits, tmp_path):
    with small_disk(tmp_path / "disk", 4096) as place:
        if when == "before":
            remount(place, "ro")
        process = start(place)
        while when == "meanwhile" and process.poll() is None and not list(place.glob("outputs/*/*/checkpoint.*")):
            time.sleep(0.01)
        # A file that is open to be written keeps a disk from being read-only.
        for _ in range(1000 if when == "meanwhile" else 0):
            if (
                subprocess.run(["mount", "-o", "remount,ro", str(place)], capture_output=True, check=False).returncode
                == 0
            ):
                break
        told(process)
        remount(place, "rw")
        assert complete(place) == bits


def test_folder_that_vanishes(bits, tmp_path):
    process = start(tmp_path)
    while process.poll() is None and not list(tmp_path.glob("outputs/meta-train/*/*.safetensors")):
        time.sleep(0.01)
    (tmp_path / "outputs").rename(tmp_path / "elsewhere")
    told(process)
    shutil.rmtree(tmp_path / "outputs", ignore_errors=True)
    assert complete(tmp_path) == bits


def test_output_that_is_a_file(tmp_path):
    (tmp_path / "outputs").touch()
    code, said = told(start(tmp_path))
    assert code != 0
    assert "outputs" in said


CLOSED = {
    "closed": '"$@" >&-',
    "full": '"$@" >/dev/full',
    "a pipe that nobody reads": '"$@" | true',
    "both": '"$@" >&- 2>&-',
}
"""Ways in which standard output may fail, as a shell says them."""


@pytest.mark.parametrize("way", CLOSED)
def test_standard_output_that_fails(way, bits, tmp_path):
    """What is trained is kept: the same command finds it."""
    process = shell(CLOSED[way], TRAINING, tmp_path)
    told(process)
    assert complete(tmp_path) == bits


def test_standard_output_in_ascii(bits, tmp_path):
    assert complete(tmp_path) == bits
    (run,) = (tmp_path / "outputs" / "meta-train").iterdir()
    words = ["evaluate", "--run", str(run), "evaluation.episodes=4", 'name="Δ"']
    code, _ = told(shell('"$@" >out', words, tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C"))
    assert code == 0
    assert list(tmp_path.glob("outputs/evaluate/*/report.md"))


def shell(line: str, words: list[str], folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Start a command as a line of a shell says, with ``"$@"`` for it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    command = ["sh", "-c", line, "sh", sys.executable, "-m", "l2l_cli", *words]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
