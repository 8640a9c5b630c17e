"""What several tests of kernels use."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(params=[1, 2])
def threads(request):
    """Run the test with one thread of torch and with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
