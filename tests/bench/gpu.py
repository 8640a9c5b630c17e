"""The GPU kernel on a GPU: first whether it is right, then how fast it is.  Writes outputs/bench/gpu.csv as it goes.

Whatever fails is reported, and the rest goes on.  It needs torch, triton, numba, numpy, scipy, rich and yaml alone.
Exit codes: 0 all is well, 1 a check does not hold or something of ours has failed, 2 there is nothing to run on.
"""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.bench.gpu_checks import Check, LeftOut, Trial, kernel_trials, unroll_trials
from tests.bench.gpu_timings import Row, Timing, Unavailable, timings

TARGET = Path("outputs/bench/gpu.csv")


def hold(trials: Iterable[tuple[str, Trial]], console: Console) -> bool:
    """Make all checks, print those that fail, and how many there were."""
    found: list[Check] = []
    broken = 0
    for name, trial in trials:
        try:
            found += trial()
        except LeftOut as reason:
            console.print(f"left out {escape(name)}: {escape(str(reason))}")
        except Exception as error:
            broken += 1
            console.print(f"FAILED {escape(name)}: {escape(told(error))}")
    for check in found:
        if not check.holds:
            console.print(f"FAILED {escape(check.name)}: relative error {check.error:.1e}, allowed {check.limit:.0e}")
    worst = max(found, key=lambda check: check.error / check.limit, default=None)
    nearest = f"; nearest its limit: {escape(worst.name)}" if worst else ""
    console.print(f"{sum(check.holds for check in found)} of {len(found)} checks hold, {broken} broke off{nearest}")
    return not broken and all(check.holds for check in found)


def told(error: Exception) -> str:
    """Return the type of an error and the first line of what it says."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def measured(timing: Timing) -> tuple[Row, bool]:
    """Return a row, with a note in place of its numbers if they cannot be had, and whether all is well with ours."""
    try:
        return timing.measure(), True
    except Unavailable as reason:
        return Row(timing.subject, timing.program, note=f"not available: {reason}"), True
    except Exception as error:
        return Row(timing.subject, timing.program, note=f"failed: {told(error)}"), not timing.is_ours
    finally:
        torch.cuda.empty_cache()


def measure_all(every: Iterable[Timing], device: str, target: Path) -> tuple[list[Row], bool]:
    """Measure, and write each row as it comes: what is lost later is lost alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    rows, well = [], True
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("device", *Row._fields))
        file.flush()
        for timing in every:
            row, is_well = measured(timing)
            rows.append(row)
            well = well and is_well
            writer.writerow((device, *row))
            file.flush()
    return rows, well


def show(rows: list[Row], console: Console) -> None:
    """Print a table; the first row is the copy that bandwidths are held against."""
    table = Table("what", "program", "ms", "fastest … slowest", "GB/s", "of a copy", "")
    peak = rows[0].bandwidth
    for one in rows:
        cells = [one.subject, one.program, "", "", "", "", escape(one.note)]
        if one.milliseconds is not None:
            cells[2:4] = f"{one.milliseconds:.3f}", f"{one.fastest:.3f} … {one.slowest:.3f}"
        if one.bandwidth is not None:
            cells[4] = f"{one.bandwidth:.0f}"
            cells[5] = f"{one.bandwidth / peak:.0%}" if peak else ""
        table.add_row(*cells)
    console.print(table)


def main(target: Path = TARGET) -> int:
    """Check, measure, print and write."""
    if not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        print("bench-gpu needs a CUDA device and Triton; this machine has not both", file=sys.stderr)
        return 2
    torch.set_default_device("cuda")
    console = Console()
    device = torch.cuda.get_device_name()
    console.print(f"{device}, torch {torch.__version__}")
    right = hold(kernel_trials(), console)
    right = hold(unroll_trials(), console) and right
    rows, well = measure_all(timings(), device, target)
    show(rows, console)
    console.print(f"written to {target}")
    return 0 if right and well else 1


if __name__ == "__main__":
    sys.exit(main())
