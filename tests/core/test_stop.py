"""Requests to stop: where they wait, where they take effect at once, and what a second one does."""

from __future__ import annotations

import signal

import pytest

from l2l_cli.core.stop import SIGNALS, STOP, Stopped


@pytest.fixture(autouse=True)
def heard():
    """Hang-ups are heard, also where the tests themselves were started by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def ending(work):
    """Return what ended some work: the type of the exception, or None."""
    try:
        work()
    except KeyboardInterrupt as error:
        return type(error)
    return None


@pytest.mark.parametrize("number", SIGNALS)
def test_a_request_waits_until_a_step_is_over(number):
    steps = []

    def work():
        with STOP.held():
            signal.raise_signal(number)
            steps.append(STOP.by)
            STOP.check()
            steps.append("one more")

    assert ending(work) is Stopped
    assert steps == [number]


def test_the_end_of_the_last_step_is_a_place_to_stop_too():
    def work():
        with STOP.held():
            signal.raise_signal(signal.SIGTERM)

    assert ending(work) is Stopped


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_request_does_not_wait_and_says_that_nothing_is_whole(second):
    def work():
        with STOP.held():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(second)
            pytest.fail("the work went on")

    assert ending(work) is KeyboardInterrupt


def test_where_nothing_changes_a_request_takes_effect_at_once():
    def work():
        with STOP.held(), STOP.at_once():
            signal.raise_signal(signal.SIGINT)
            pytest.fail("the work went on")

    assert ending(work) is Stopped


def test_a_request_that_waited_takes_effect_before_such_work_begins():
    def work():
        with STOP.held():
            signal.raise_signal(signal.SIGINT)
            with STOP.at_once():
                pytest.fail("the work began")

    assert ending(work) is Stopped


def test_outside_of_steps_a_request_is_a_keyboard_interrupt():
    def free():
        with STOP.listening():
            signal.raise_signal(signal.SIGHUP)

    def scoring():
        with STOP.listening(), STOP.at_once():
            signal.raise_signal(signal.SIGHUP)

    assert ending(free) is ending(scoring) is KeyboardInterrupt


def test_who_works_for_another_process_takes_many_signals_for_one_request_unless_it_insists():
    steps = []

    def work():
        with STOP.listening(serves=True), STOP.held():
            for number in SIGNALS:
                signal.raise_signal(number)
            STOP.ask()
            steps.append(STOP.asked)
            STOP.ask(insist=True)
            steps.append("one more")

    assert ending(work) is KeyboardInterrupt
    assert steps == [True]


def test_requests_are_forgotten_and_handlers_put_back():
    before = [signal.getsignal(number) for number in SIGNALS]

    def work():
        with STOP.held():
            signal.raise_signal(signal.SIGINT)

    assert ending(work) is Stopped
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with STOP.held():
        assert not STOP.asked


def test_what_nohup_started_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with STOP.held():
            signal.raise_signal(signal.SIGHUP)
            assert not STOP.asked
    finally:
        signal.signal(signal.SIGHUP, before)
