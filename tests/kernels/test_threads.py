"""Threads that share a kernel's blocks."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from l2l_cli.kernels.threads import ThreadGroup, thread_group


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_block_is_done_once(threads, count):
    done, lock = [], threading.Lock()

    def work(thread, first, last):
        with lock:
            done.extend((block, thread) for block in range(first, last))

    ThreadGroup(threads).each(count, work)
    assert sorted(block for block, _ in done) == list(range(count))
    assert {thread for _, thread in done} == set(range(min(threads, count)))


def test_an_error_in_a_helper_is_raised_here_and_the_group_goes_on():
    group = ThreadGroup(2)

    def work(thread, first, last):
        if thread:
            raise ZeroDivisionError("block 1")

    with pytest.raises(ZeroDivisionError, match="block 1"):
        group.each(2, work)
    group.each(2, lambda *_: None)


def test_an_error_in_the_caller_waits_for_the_helpers_and_leaves_no_answer_behind():
    group, done = ThreadGroup(2), []

    def fail(thread, first, last):
        if not thread:
            raise ZeroDivisionError("block 0")
        time.sleep(0.1)
        done.append("first")

    def slow(thread, first, last):
        if thread:
            time.sleep(0.1)
            done.append("second")

    with pytest.raises(ZeroDivisionError, match="block 0"):
        group.each(2, fail)
    assert done == ["first"]
    group.each(2, slow)
    assert done == ["first", "second"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_makes_a_group_of_its_own():
    thread_group(2).each(2, lambda *_: None)
    child = os.fork()
    if not child:
        signal.alarm(20)  # rather than wait for ever for a thread that is not there
        thread_group(2).each(2, lambda *_: None)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
