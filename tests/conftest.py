"""Fixtures that every test may use."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch

from l2l_cli.results.index import JOURNAL

gc.freeze()  # thousands of tests would search the modules for garbage again and again
gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests are small: threads would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """A test that draws without a seed of its own draws the same every time."""
    torch.manual_seed(0)


@pytest.fixture
def double() -> Iterator[None]:
    """Draw and compute in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """See that no test begins a journal of runs above its own folder, which those after it would write into."""
    place = getattr(item, "funcargs", {}).get("tmp_path")
    if place is not None and (place.parent / JOURNAL).exists():
        (place.parent / JOURNAL).unlink()
        raise AssertionError(f"{item.nodeid} made {JOURNAL} beside its folder")
