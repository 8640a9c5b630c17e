"""The cores that this process may use, which may be fewer than the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """Return this process's share of the cores: those it is bound to, and no more than its control groups grant.

    Args:
        root: Root of the file system, in which Linux shows control groups (versions 1 and 2).
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *map(math.ceil, _granted(root))]))


def _granted(root: Path) -> list[float]:
    """Return the cores that each control group of this process grants, its own and those that hold it."""
    listing = root / "proc/self/cgroup"
    shares = []
    for line in listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        own = PurePosixPath(path).relative_to("/")
        # In a container the path may be that outside of it: then the root of the hierarchy holds its limits.
        for group in (mount / own, *(mount / each for each in own.parents)):
            shares += _quota(group)
    return shares


def _quota(group: Path) -> list[float]:
    """Return the cores that one control group grants, or nothing if it sets no limit."""
    if (group / "cpu.max").is_file():
        quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
    elif (group / "cpu.cfs_quota_us").is_file():
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
    else:
        return []
    return [int(quota) / int(period)] if quota != "max" and int(quota) > 0 else []
