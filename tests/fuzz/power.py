"""Power cuts while ``meta-train`` writes: what the disk holds at that moment is mounted again, and the run goes on.

The run writes into an ext4 file system on a loop device.  The file behind the device has all that the file system has
sent to the disk, and nothing of what it still keeps in memory: a copy of it is the disk as a power cut leaves it.  It
is read until two readings are equal, so that it is the disk of one moment.  Mounting the copy replays its journal.

    python -m tests.fuzz.power 20

needs root, loop devices and mkfs.ext4; prints a line for each cut, and exits with 1 if a run ended with other bits, was
refused, or lost more than one checkpoint.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.kills import complete, moment, reference, start

SIZE = 24 << 20
"""Bytes of the disk."""


class Cut(NamedTuple):
    """What a power cut came to.

    Attributes:
        after: Seconds after the start of the run.
        at_work: Whether the run was at work.
        lost: Number of checkpoints that the run had made and the disk does not have.
        ended: Bits of the run that went on, or what it said.
    """

    after: float
    at_work: bool
    lost: int
    ended: str


def why_not() -> str:
    """Say why there can be no trial on this machine; empty if there can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "only root may mount file systems"
    if shutil.which("mkfs.ext4") is None:
        return "there is no mkfs.ext4"
    with tempfile.TemporaryDirectory() as root:
        try:
            with mounted(disk(Path(root, "disk")), Path(root, "place")):
                return ""
        except subprocess.CalledProcessError as error:
            return f"no loop device can be mounted ({str(error.stderr or error).strip()})"


def disk(path: Path) -> Path:
    """Make an empty file system in a file."""
    path.touch()
    os.truncate(path, SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True, capture_output=True, text=True)
    return path


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """Mount the file system in a file."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, capture_output=True, text=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def snapshot(image: Path) -> bytes:
    """Read the disk as it is at one moment."""
    before = image.read_bytes()
    while (now := image.read_bytes()) != before:
        before = now
    return before


def checkpoints(place: Path, seconds: float) -> set[int]:
    """Watch a run for so many seconds, and return the times at which it has written checkpoints."""
    until, times = time.monotonic() + seconds, set[int]()
    while True:
        with suppress(OSError):
            times |= {path.stat().st_mtime_ns for path in place.glob("outputs/meta-train/*/checkpoint*.safetensors")}
        if time.monotonic() >= until:
            return times
        time.sleep(0.002)


def cut(root: Path, after: float) -> Cut:
    """Cut the power so many seconds after the start of a run, and go on with what the disk has."""
    image, copy = disk(root / "disk"), root / "copy"
    with mounted(image, root / "place") as place:
        process = start(place)
        made = checkpoints(place, after)
        copy.write_bytes(snapshot(image))
        at_work = process.poll() is None
        process.kill()
        process.communicate()
    with mounted(copy, root / "again") as place:
        newest = max(checkpoints(place, 0.0), default=0)
        lost = sum(each > newest for each in made)
        return Cut(after, at_work, lost, complete(place))


def main(count: int, seed: int = 0) -> int:
    """Cut the power of so many runs at work; return how many were lost."""
    if reason := why_not():
        print(f"not tried: {reason}")
        return 0
    rng, made, bad = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as root:
        (whole := Path(root, "whole")).mkdir()
        bits, seconds = reference(whole)
        while made < count:
            folder = Path(tempfile.mkdtemp(dir=root))
            one = cut(folder, moment(rng, seconds))
            made += one.at_work
            is_lost = one.ended != bits or one.lost > 1
            bad += is_lost
            result = "the same bits" if one.ended == bits else one.ended
            when = f"after {one.after:.1f} s" if one.at_work else "at its end, which does not count"
            print(f"{made}: cut {when}, {one.lost} checkpoints lost: {result}", flush=True)
            shutil.rmtree(folder)
    print(f"{count} power cuts, {count - bad} survived, {bad} lost")
    return bad


if __name__ == "__main__":
    sys.exit(min(1, main(*map(int, sys.argv[1:]))))
