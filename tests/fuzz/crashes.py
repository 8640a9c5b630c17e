"""Power cuts of a disk that keeps only what it was told to keep: for machines on which nothing can be mounted.

A run is recorded: what its folder looks like at each of its system calls, which contents it has synchronised with the
disk, and which folders' lists of names.  At a power cut everything synchronised is there; of the rest, each name may be
the old or the new one, and each content the old one, the new one, a part of it, or zeros.  That is stricter than any
file system is.  States of random moments are made, and the run goes on from each.

    python -m tests.fuzz.crashes 20
"""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.kills import ROOT, TRAINING, complete
from tests.fuzz.material import weights_of

EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate"}
"""Audit events at which a run is looked at; and before and after each synchronisation."""


class Moment(NamedTuple):
    """A folder at one moment.

    Attributes:
        names: Inode of each name by folder, as a process sees them; folders are names too.
        kept: The same, of what the disk has been told to keep.
        contents: Content of each inode, as a process sees it.
        synced: Content of each inode that the disk has been told to keep.
    """

    names: dict[str, dict[str, int]]
    kept: dict[str, dict[str, int]]
    contents: dict[int, bytes]
    synced: dict[int, bytes]


class Recorder:
    """Looks at a folder whenever the process is about to change it."""

    def __init__(self, root: Path) -> None:
        self.root, self.moments = str(root), list[Moment]()
        self._busy, self._sync = False, os.fsync
        self._kept: dict[str, dict[str, int]] = {self.root: {}}
        self._synced: dict[int, bytes] = {}
        os.fsync = self._fsync
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and not self._busy and (event != "open" or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
            self._look()

    def _fsync(self, file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        self._look()
        self._sync(descriptor)
        state, name = os.fstat(descriptor), os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isdir(name):
            self._kept = self._kept | {name: _names(name)}
        else:
            self._synced = self._synced | {state.st_ino: Path(name).read_bytes()}
        self._look()

    def _look(self) -> None:
        self._busy = True
        names, contents = {}, {}
        for folder, _, files in os.walk(self.root):
            names[folder] = _names(folder)
            contents |= {names[folder][file]: Path(folder, file).read_bytes() for file in files}
        self.moments.append(Moment(names, self._kept, contents, self._synced))
        self._busy = False


def _names(folder: str) -> dict[str, int]:
    return {entry.name: entry.inode() for entry in os.scandir(folder)}


def record(folder: str, log: str) -> None:
    """Run the training in a folder, and write its moments to a file."""
    os.chdir(folder)
    recorder = Recorder(Path(folder))
    sys.argv = ["l2l", *TRAINING]
    from l2l_cli.cli import main

    try:
        main()
    finally:
        recorder._busy = True
        Path(log).write_bytes(pickle.dumps(recorder.moments))


def crashed(moment: Moment, seen: dict[int, bytes], root: str, place: Path, rng: random.Random) -> None:
    """Make what a disk may have after a power cut, below ``place``."""

    def fill(folder: str, target: Path) -> None:
        target.mkdir()
        live, kept = moment.names.get(folder, {}), moment.kept.get(folder, {})
        for name in sorted({*live, *kept}):
            inode = rng.choice([live.get(name), kept.get(name)])
            path = os.path.join(folder, name)
            if path in moment.names and (name in kept or inode is not None):
                fill(path, target / name)
            elif inode is not None and inode in seen:
                (target / name).write_bytes(content(inode))

    def content(inode: int) -> bytes:
        now, old = moment.contents.get(inode, seen[inode]), moment.synced.get(inode)
        if now == old:
            return now
        return rng.choice([old or b"", now, now[: rng.randrange(len(now) + 1)], (old or b"") + bytes(len(now) // 2)])

    fill(root, place)


def checkpoints(moments: list[Moment]) -> list[bytes]:
    """Return the distinct checkpoints that a run has shown so far."""
    return list(dict.fromkeys(one for moment in moments for one in _checkpoint(moment)))


def _checkpoint(moment: Moment) -> list[bytes]:
    found = [names[key] for names in moment.names.values() for key in names if key.startswith("checkpoint")]
    return [moment.contents[inode] for inode in found if inode in moment.contents]


def main(count: int, seed: int = 0) -> int:
    """Make so many cuts of one recorded run; return how many were lost."""
    rng, lost = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as root:
        (whole := Path(root, "whole")).mkdir()
        log = Path(root, "log")
        words = [sys.executable, "-m", "tests.fuzz.crashes", "record", str(whole), str(log)]
        subprocess.run(words, cwd=ROOT, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        moments: list[Moment] = pickle.loads(log.read_bytes())
        (weights,) = whole.glob("outputs/meta-train/*/weights.safetensors")
        bits = weights_of(weights.parent)
        for number in range(count):
            index = rng.randrange(len(moments))
            seen = {inode: data for moment in moments[: index + 1] for inode, data in moment.contents.items()}
            place = Path(root, f"{number}")
            crashed(moments[index], seen, str(whole), place, rng)
            had = [path.read_bytes() for path in place.glob("outputs/meta-train/*/checkpoint*.safetensors")]
            before = checkpoints(moments[: index + 1])
            is_late = len(before) > 1 and not any(one in before[-2:] for one in had)
            ended = complete(place)
            lost += ended != bits or is_late
            result = "the same bits" if ended == bits else ended
            late = ", more than one interval lost" if is_late else ""
            print(f"{number + 1}: cut at {index + 1} of {len(moments)}{late}: {result}", flush=True)
    print(f"{count} power cuts, {count - lost} survived, {lost} lost")
    return lost


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(*sys.argv[2:])
    else:
        sys.exit(min(1, main(*map(int, sys.argv[1:]))))
