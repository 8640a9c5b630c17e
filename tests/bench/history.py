"""What a benchmark leaves for later ones: the machine, the versions, and the median and spread of every number."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.peers.client import versions
from tests.bench.samples import Sample, Spread, spread

VECTORS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
"""Features of a processor by which kernels differ, as Linux names them."""

RATES = ("GFLOP/s", "GB/s", "M seed-steps/s")
"""Units of which more is better."""

Record = dict[str, Any]
"""What a file of the history holds."""


def machine() -> Record:
    """Return on what, and with what, this runs."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        pairs = (line.partition(":") for line in information.read_text().splitlines())
        facts = {key.strip(): value.strip() for key, _, value in pairs}
        model = facts.get("model name", model)
        flags = set(facts.get("flags", facts.get("Features", "")).split())
    ours = {name: version(name) for name in ("torch", "numba", "numpy")}
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": model,
        "vectors": [name for name in VECTORS if name in flags],
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()} | ours | versions(),
    }


def line(record: Record) -> str:
    """Return a record's machine and versions in one line."""
    libraries = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    cores = f"{record['cores']} cores, load {record['load']:.1f} at the start"
    return f"{record['processor']} ({', '.join(record['vectors'])}), {cores}; {libraries}"


def write(record: Record, samples: list[Sample], folder: Path) -> Path:
    """Write a machine with the medians and spreads of its samples, into a file named by the time; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['when'].replace(':', '').replace('+0000', 'Z')}.json"
    path.write_text(json.dumps(record | {"numbers": list(numbers(samples))}, indent=1) + "\n", encoding="utf-8")
    return path


def numbers(samples: list[Sample]) -> Iterator[Record]:
    """Yield the median, least and greatest of each bench, case, contender and unit."""

    def key(sample: Sample) -> tuple[str, str, str, str]:
        return sample.bench, sample.case, sample.contender, sample.unit

    for names, group in groupby(sorted(samples, key=key), key):
        found = spread(sample.value for sample in group)
        yield dict(zip(("bench", "case", "contender", "unit"), names, strict=True)) | found._asdict()


class Change(NamedTuple):
    """A number of two files of the history."""

    name: tuple[str, str, str, str]
    old: Spread
    new: Spread

    @property
    def factor(self) -> float:
        """How many times as long it takes now, by the medians."""
        pair = self.new.median, self.old.median
        return pair[1] / pair[0] if self.name[-1] in RATES else pair[0] / pair[1]

    @property
    def is_beyond_its_spread(self) -> bool:
        """Whether the medians differ by more than the rounds of either file; a single round has no spread to tell."""
        widest = max(one.high - one.low for one in (self.old, self.new))
        return 0.0 < widest < abs(self.new.median - self.old.median)


def changes(old: Record, new: Record) -> list[Change]:
    """Return the numbers that both have and that lie beyond their spread, what got slowest first."""
    found = [Change(name, value, _spreads(new)[name]) for name, value in _spreads(old).items() if name in _spreads(new)]
    beyond = [change for change in found if change.old.median and change.new.median and change.is_beyond_its_spread]
    return sorted(beyond, key=lambda change: -change.factor)


def _spreads(record: Record) -> dict[tuple[str, str, str, str], Spread]:
    return {
        (one["bench"], one["case"], one["contender"], one["unit"]): Spread(one["median"], one["low"], one["high"])
        for one in record["numbers"]
    }
