"""What the paper prints."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One row of Table 2."""

    train_mse: float
    test_mse: float
    subordinate_steps: int
    subordinate_mse: float


TABLE2 = {
    "B14-64": Published(0.033, 0.038, 6, 0.003),
    "B16-256": Published(0.0055, 0.0058, 6, 0.002),
    "semilinear-64": Published(0.0007, 0.0008, 10, 0.07),
    "semilinear-1000": Published(0.0020, 0.0025, 50, 0.05),
    "quadratic-1000": Published(0.00061, 0.00068, 35, 0.02),
}
"""Source: Table 2; B14-64 is also the LSTM's row of Table 1."""

RTRL = {"train": 0.22, "test": 0.21}
"""Source: Table 1, the recurrent network of 10 units under exact RTRL on B14-64."""
