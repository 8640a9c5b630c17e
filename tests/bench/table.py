"""The table that the benchmark prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.bench import curved
from tests.bench.floors import Floors
from tests.bench.growth import LABELS, SIZES
from tests.bench.samples import Case, Sample, Spread, Work, by_round, ratios, slope, spread

WIDTH = 200
"""Where the terminal does not say."""


def number(value: float) -> str:
    """Return three significant digits, never in powers of ten."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def shown(found: Spread, mark: str = "") -> str:
    """Return "median (min … max)", or the one value that there is."""
    if found.low == found.high:
        return number(found.median) + mark
    return f"{number(found.median)}{mark} ({number(found.low)} … {number(found.high)})"


def build(cases: Sequence[Case], samples: list[Sample], rounds: int) -> Table:
    """Return the table of all cases."""
    title = f"{rounds} interleaved rounds: median (min … max).  One thread's CPU time, but for threads: the wall's"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, header_style="bold")
    table.add_column("", no_wrap=True)
    for name in ("measured", "÷ the first, in its round", "floors: FLOP · bytes", "of FLOP floor"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    floors = Floors(samples)
    for bench, group in groupby(cases, lambda case: case.bench):
        if bench in ("machine", "1997 rules"):
            _single_rows(table, bench, list(group), samples)
        elif bench == curved.BENCH:
            for case in group:
                _curved_rows(table, case, samples)
        elif not bench.startswith("growth"):
            for case in group:
                _case_rows(table, case, samples, floors)
    if any(case.bench.startswith("growth") for case in cases):
        _growth_rows(table, samples)
    return table


def _single_rows(table: Table, bench: str, cases: list[Case], samples: list[Sample]) -> None:
    """Add cases whose contenders are not set against each other."""
    table.add_section()
    table.add_row(f"[bold]{bench}")
    for case in cases:
        for contender in case.contenders:
            unit = _unit(samples, case)
            values = by_round(samples, bench, case.name, contender, unit)
            note = case.notes.get(contender, f"{contender}, {unit}")
            table.add_row(f"  {case.name}", shown(spread(values.values())), "", "", "", note)


def _unit(samples: list[Sample], case: Case) -> str:
    """Return the unit of a case that has one."""
    return next(s.unit for s in samples if (s.bench, s.case) == (case.bench, case.name))


def _case_rows(table: Table, case: Case, samples: list[Sample], floors: Floors) -> None:
    table.add_section()
    table.add_row(f"[bold]{case.bench}: {case.name}", "ms", "", "ms" if case.work else "")
    first: dict[int, float] = {}
    for contender in case.contenders:
        values = by_round(samples, case.bench, case.name, contender, "ms")
        ratio = shown(spread(ratios(values, first)), " ×") if first else ""
        first = first or values
        floor = _floor_cells(case.work[contender], values, floors) if contender in case.work else ["", ""]
        table.add_row(f"  {contender}", shown(spread(values.values())), ratio, *floor, case.notes.get(contender, ""))
    for contender, why in case.absent.items():
        table.add_row(f"  {contender}", "not run", "", "", "", escape(why))


def _curved_rows(table: Table, case: Case, samples: list[Sample]) -> None:
    """Add a case whose floor is made of its own contenders."""
    table.add_section()
    table.add_row(f"[bold]{case.bench}: {case.name}", "ms", "", "÷ floor")
    least = curved.floor(samples, case)
    found = {name: by_round(samples, case.bench, case.name, name, "ms") for name in case.contenders}
    for name, values in [*found.items(), (curved.FLOOR, least)]:
        of_sgd, of_floor = (shown(spread(ratios(values, base)), " ×") for base in (found[curved.SGD], least))
        table.add_row(f"  {name}", shown(spread(values.values())), of_sgd, of_floor)


def _floor_cells(work: Work, values: dict[int, float], floors: Floors) -> list[str]:
    arithmetic, memory = floors.arithmetic(work), floors.memory(work)
    least = " · ".join(number(spread(found.values()).median) for found in (arithmetic, memory))
    return [least, f"{spread(ratios(arithmetic, values)).median:.1%}"]


def medians(samples: list[Sample], axis: str, contender: str, unit: str) -> tuple[list[float], list[float]]:
    """Return the sizes of an axis of growth that were measured, and the medians."""
    sizes, values = [], []
    for size in SIZES[axis]:
        found = by_round(samples, f"growth: {axis}", str(size), contender, unit)
        if found:
            sizes.append(float(size))
            values.append(spread(found.values()).median)
    return sizes, values


def growth_slopes(samples: list[Sample], axis: str, contender: str) -> tuple[float, float]:
    """Return the exponents of time and memory over the upper half of the sizes, where fixed costs have faded."""
    found = []
    for unit in ("ms", "MB"):
        sizes, values = medians(samples, axis, contender, unit)
        half = min(len(sizes) // 2, max(len(sizes) - 2, 0))
        found.append(slope(sizes[half:], values[half:]))
    return found[0], found[1]


def _growth_rows(table: Table, samples: list[Sample]) -> None:
    for axis in SIZES:
        table.add_section()
        table.add_row(f"[bold]growth: {LABELS[axis]}", "ms", "", "MB at its peak")
        contenders = dict.fromkeys(s.contender for s in samples if s.bench == f"growth: {axis}")
        for contender in contenders:
            (sizes, times), (_, memory) = (medians(samples, axis, contender, unit) for unit in ("ms", "MB"))
            of_time, of_memory = (f"∝ n^{exponent:.2f}" for exponent in growth_slopes(samples, axis, contender))
            note = f"n = {sizes[0]:.0f} → {sizes[-1]:.0f}"
            table.add_row(f"  {contender}", _ends(times), of_time, _ends(memory), of_memory, note)


def _ends(values: list[float]) -> str:
    return f"{number(values[0])} → {number(values[-1])}"


def show(table: Table) -> None:
    """Print it; where the width is not known, at one that holds it."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(table)
