"""Random kills of ``meta-train``: the same command goes on, and ends with the bits of a run that was never killed.

    python -m tests.fuzz.kills 20

kills twenty runs, each at a random moment, prints a line for each, and exits with 1 if any ended otherwise.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.material import weights_of

ROOT = Path(__file__).resolve().parents[2]

INTERVAL = 0.2
"""Seconds between two checkpoints."""

TRAINING = (
    "meta-train task=quadratic task.horizon=20 gradient.episodes=4 learner.rule.hidden=4 meta.updates=250 "
    f"meta.validate_every=20 meta.validation_episodes=8 meta.patience=null meta.checkpoint_every={INTERVAL} "
    "hardware.threads=1 hardware.kernels=reference"
).split()
"""Some seconds, most of which begin with the start of a process."""


def start(folder: Path) -> subprocess.Popen[str]:
    """Start the training in a folder, in a new process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "l2l_cli", *TRAINING],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def complete(folder: Path) -> str:
    """Run the training in a folder to its end, and return what it ends with: its bits, or its last line."""
    process = start(folder)
    said = process.communicate()[1].strip()
    if process.returncode:
        return f"exit {process.returncode}: {said.splitlines()[-1] if said else ''}"
    return weights_of(run_in(folder))


def run_in(folder: Path) -> Path:
    """Return the run below a folder."""
    (run,) = (folder / "outputs" / "meta-train").iterdir()
    return run


def reference(folder: Path) -> tuple[str, float]:
    """Return what the training ends with undisturbed, and its seconds."""
    began = time.monotonic()
    return complete(folder), time.monotonic() - began


def moment(rng: random.Random, seconds: float) -> float:
    """Draw when to disturb a training that takes so many seconds, a third of them to begin."""
    return rng.uniform(0.25, 0.97) * seconds


def kill(folder: Path, after: float) -> bool:
    """Kill the training after so many seconds; return whether it was still at work."""
    process = start(folder)
    time.sleep(after)
    at_work = process.poll() is None
    process.kill()
    process.communicate()
    return at_work


def main(count: int, seed: int = 0) -> int:
    """Kill so many trainings at work; return how many were lost."""
    rng, made, lost = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as root:
        (whole := Path(root, "whole")).mkdir()
        bits, seconds = reference(whole)
        while made < count:
            folder = Path(tempfile.mkdtemp(dir=root))
            after = moment(rng, seconds)
            if not kill(folder, after):
                print(f"it had ended after {after:.1f} s, which does not count", flush=True)
                continue
            made += 1
            ended = complete(folder)
            lost += ended != bits
            result = "the same bits" if ended == bits else ended
            print(f"{made}: killed after {after:.1f} s: {result}", flush=True)
    print(f"{count} kills, {count - lost} survived, {lost} lost")
    return lost


if __name__ == "__main__":
    sys.exit(min(1, main(*map(int, sys.argv[1:]))))
