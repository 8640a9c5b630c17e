"""What run.json says of the process that a run was made by: command, commit, memory."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from l2l_cli.core.cores import usable_cores

if sys.platform != "win32":
    import resource


def command_line() -> str:
    """Return the command line as it was typed."""
    return " ".join(["l2l", *sys.argv[1:]])


def peak_memory() -> int:
    """Return the largest resident size that this process or one that it has waited for ever had, in bytes."""
    if sys.platform == "win32":
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


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
