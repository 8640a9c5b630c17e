"""Who is who: rows of the experiments, and the contenders that one meta-trained rule is measured as.

No number could be read off the paper's figures, so nothing published stands beside ours.
"""

from __future__ import annotations

from collections.abc import Sequence

MLHF, OURS = "MLHF", "MLHF, trajectories"
"""The paper's rule, and ours, which is meta-trained by whole trajectories and learns its pace."""

TWO = "MLHF, two processes"
"""The run whose batches are divided."""

AT_ONE, AT_RATIO, TUNED = "lr 1", "batch ratio", "lr tuned"
"""The paper's learning rate, that of its second version (a batch's size ÷ that of meta-training), and a tuned one."""

FIRST_ORDER = ("SGD", "SGD(m)", "RMSprop", "Adam")
HF, LM, KFAC, L2L = "Hessian-free", "Hessian-free, LM", "K-FAC", "L2L"

FULL_STEPS, PLAIN, SHORT, DEFAULT, JACOBI = (
    "no RNN_p, n = 20",
    "no RNN_p, n = 4",
    "RNN_p, n = 2",
    "RNN_p, n = 4",
    "Jacobi, n = 4",
)
"""The four configurations of the ablation, and a control that is ours."""


def is_mlhf(contender: str) -> bool:
    """Say whether a contender is MLHF in some form."""
    return contender.startswith(MLHF)


def variant(row: str, rate: str) -> str:
    """Return what a row's rule is called at a learning rate."""
    return f"{row}, {rate}"


def at(contenders: Sequence[str], rate: str) -> list[str]:
    """Return the forms of MLHF that go at a learning rate."""
    return [name for name in contenders if is_mlhf(name) and name.endswith(f", {rate}")]
