"""CPU-seconds go to the innermost activity, and to whoever asked from a mark on."""

from __future__ import annotations

import contextlib
import time

import pytest

from l2l_cli.core.ledger import Ledger, date_of


@pytest.fixture
def clock(monkeypatch):
    """The CPU's clock, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(time, "process_time", lambda: now[0])
    return now


def test_an_inner_activity_is_not_counted_for_the_outer_one(clock):
    ledger = Ledger()
    mark = ledger.mark()
    clock[0] = 1.0  # before anything: counted for nobody
    with ledger.of("scoring"):
        clock[0] = 3.0
        with ledger.of("tuning"):
            clock[0] = 7.0
        clock[0] = 8.0
    clock[0] = 20.0
    assert ledger.since(mark).seconds == {"scoring": 3.0, "tuning": 4.0}


def test_an_error_ends_the_activity(clock):
    ledger = Ledger()
    mark = ledger.mark()
    with contextlib.suppress(RuntimeError), ledger.of("training"):
        clock[0] = 2.0
        raise RuntimeError
    clock[0] = 9.0
    assert ledger.since(mark).seconds == {"training": 2.0}


def test_a_mark_leaves_out_what_was_before_it(clock, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0 + clock[0])
    ledger = Ledger()
    with ledger.of("training"):
        clock[0] = 5.0
    mark = ledger.mark()
    assert ledger.since(mark) == ({}, {}, {})
    clock[0] = 60.0
    with ledger.of("training"):
        clock[0] = 61.0
    assert ledger.since(mark) == ({"training": 1.0}, {}, {"training": 1060.0})
    assert date_of(1060.0) == "1970-01-01T00:17:40+00:00"


def test_what_is_reused_is_told_from_what_is_spent_and_began_when_it_was_made(clock, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0 + clock[0])
    ledger = Ledger()
    mark = ledger.mark()
    with ledger.of("scoring"):
        clock[0] = 2.0
        ledger.reuse("tuning", 8.0, 500.0)
        ledger.reuse("scoring", 1.0, 700.0)
    found = ledger.since(mark)
    assert found.seconds == {"tuning": 0.0, "scoring": 2.0}
    assert found.reused == {"tuning": 8.0, "scoring": 1.0}
    assert found.began == {"tuning": 500.0, "scoring": 700.0}
    assert ledger.since(ledger.mark()) == ({}, {}, {})
