"""The cores and the memory that this process may use, which may be less than the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """Return the number of cores that this process may use: its CPU affinity, limited by its control groups.

    Args:
        root: Root of the file system, in which Linux shows control groups (versions 1 and 2).
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = [share for group in _groups(root, "cpu") for share in _quota(group)]
    return max(1, min([bound, *map(math.ceil, granted)]))


def usable_memory(root: Path = ROOT) -> int | None:
    """Return the number of bytes that this process may still allocate: free memory, limited by its control groups.

    The page cache counts as free, since the system releases it on demand.  The result is None where it is unknown, as
    on systems without ``/proc/meminfo``.

    Args:
        root: Root of the file system; see ``usable_cores``.
    """
    listing = root / "proc/meminfo"
    if not listing.is_file():
        return None
    fields = dict(line.split(":", 1) for line in listing.read_text(encoding="utf-8").splitlines() if ":" in line)
    free = sum(int(fields[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree") if name in fields)
    return max(0, min([free, *(left for group in _groups(root, "memory") for left in _memory_left(group))]))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield this process's control groups for a controller: its own and all that contain it."""
    listing = root / "proc/self/cgroup"
    for line in listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        own = PurePosixPath(path).relative_to("/")
        # In a container the path may be the one seen from the host; the limits are then at the root of the hierarchy.
        yield from (mount / own, *(mount / each for each in own.parents))


def _quota(group: Path) -> list[float]:
    """Return the number of cores that one control group grants, or an empty list if it sets no limit."""
    if (group / "cpu.max").is_file():
        quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
    elif (group / "cpu.cfs_quota_us").is_file():
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
    else:
        return []
    return [int(quota) / int(period)] if quota != "max" and int(quota) > 0 else []


def _memory_left(group: Path) -> list[int]:
    """Return the bytes that one control group still grants, or an empty list if it sets no limit."""
    versions = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for most, used, files in versions:
        if (group / most).is_file() and (group / used).is_file():
            limit, taken = ((group / name).read_text(encoding="utf-8").strip() for name in (most, used))
            return [] if limit == "max" else [int(limit) - int(taken) + _entry(group / "memory.stat", files)]
    return []


def _entry(path: Path, name: str) -> int:
    """Return the number that follows a name in a file of "name number" lines; 0 if the name is missing."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
