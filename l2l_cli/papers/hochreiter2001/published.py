"""What the paper prints, and which of our rows belong to what."""

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

LITERAL = "-1997"
"""Ends the names of rows that are trained as the paper trained them; the others are the modern recipe."""


class Network(NamedTuple):
    """One row of Table 1: what the network is, whether the paper finds that it learns, and the MSEt it prints."""

    name: str
    succeeds: bool
    train_mse: float | None
    test_mse: float | None


TABLE1 = {
    "elman": Network("Elman, 15 units", False, None, None),
    "bptt2": Network("recurrent, 20 units, BPTT(2)", False, None, None),
    "rtrl": Network("recurrent, 10 units, RTRL", False, 0.22, 0.21),
    "lstm1997": Network("LSTM 6/6(1)", True, 0.033, 0.038),
}
"""Source: Table 1, by the first word of our rows' names; ``B14-64-1997`` is an LSTM too."""


def network_of(row: str) -> str:
    """Return which network of Table 1 one of our rows is."""
    return "lstm1997" if row.endswith(LITERAL) else row.partition("-")[0]
