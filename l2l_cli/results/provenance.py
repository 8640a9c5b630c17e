"""What run.json says about the process that made a run: command, commit, memory."""

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
"""Number of bytes in the unit in which the system reports a resident size."""


def command_line() -> str:
    """Return the command line as it was typed, quoted where a shell needs it."""
    return line_of(sys.argv[1:])


def own_peak_memory() -> int:
    """Return the peak resident size of this process in bytes, on Linux since ``forget_peak_memory``."""
    return 0 if sys.platform == "win32" else UNIT * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak_memory() -> None:
    """Reset the peak to the present resident size; on systems other than Linux, leave it unchanged.

    Freed memory is first returned to the system: its reuse would not raise the peak.
    """
    if sys.platform == "linux":
        gc.collect()
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # only in the GNU C library
            trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Return the peak resident size in bytes of this process, or of a child that it has waited for if larger."""
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
