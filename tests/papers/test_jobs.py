"""The processes behind a reproduction."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import pytest

from l2l_cli.core.errors import RunFailed
from l2l_cli.papers.jobs import _watch
from l2l_cli.runs.progress import Reporter


def end_itself():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_process_is_an_error_that_names_its_rows_and_says_what_to_do():
    group = SimpleNamespace(name="B14-64 seed 0")
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        Reporter("reproduce", 1.0) as reporter,
        pytest.raises(RunFailed, match=r"B14-64 seed 0 ran or waited.*the same command goes on.*--processes 1"),
    ):
        _watch({pool.submit(end_itself): [group]}, queue.Queue(), reporter)
