"""Counts of all cases, which the summary of a test run shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.fuzz.outcome import Faults

CASES = "fuzzed cases"


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Callable[[Faults], None]]:
    """Count the cases of a test, and fail with its faults."""

    def count(faults: Faults) -> None:
        record_property(CASES, faults.cases)
        faults.check()

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how many cases there were."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, [])]
    counts = [int(value) for one in reports for name, value in one.user_properties if name == CASES]
    if counts:
        terminalreporter.write_line(f"{sum(counts)} cases fuzzed in {len(counts)} tests")
