"""Kills and power cuts, a few of each; ``python -m tests.fuzz.kills`` and ``python -m tests.fuzz.power`` make more."""

from __future__ import annotations

import pytest

from tests.fuzz import kills, power

pytestmark = pytest.mark.slow


def test_killed_runs_end_with_the_same_bits():
    assert kills.main(3) == 0


def test_runs_survive_power_cuts():
    if reason := power.why_not():
        pytest.skip(reason)
    assert power.main(3) == 0
