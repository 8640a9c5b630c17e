"""What run.json says of the process that a run was made by: command, commit, memory."""

from __future__ import annotations

import ctypes
import gc
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from l2l_cli.core.cores import usable_cores
from l2l_cli.core.voice import line_of

if sys.platform != "win32":
    import resource

UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit in which the system states a resident size."""


def command_line() -> str:
    """Return the command line as it was typed, quoted where a shell needs that."""
    return line_of(sys.argv[1:])


def own_peak_memory() -> int:
    """Return the largest resident size of this process in bytes, on Linux since ``forget_peak_memory``."""
    return 0 if sys.platform == "win32" else UNIT * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak_memory() -> None:
    """Count the peak anew from what is held now; elsewhere than on Linux it stays what it was.

    What was freed goes back to the system first: memory that is used a second time would not raise the peak.
    """
    if sys.platform == "linux":
        gc.collect()
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of the GNU C library alone
            trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Return the largest resident size that this process or one that it has waited for ever had, in bytes."""
    if sys.platform == "win32":
        return 0
    return max(own_peak_memory(), UNIT * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def machine() -> str:
    """Return the operating system, the processor's architecture and the number of cores that may be used."""
    return f"{platform.system()} {platform.machine()}, {usable_cores()} cores"


def commit() -> str | None:
    """Return the commit of the checkout that the package runs from, if it is one; "-dirty" if it was changed."""
    root = Path(__file__).resolve().parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    question = [git, "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(question, capture_output=True, text=True, check=False).stdout.strip() or None
