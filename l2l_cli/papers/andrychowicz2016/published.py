"""What the paper shows, read off its figures: the paper prints no table.

Source: Figures 4 and 5, digitised; ±5 % on logarithmic axes.

Deviation: the figures' axes are read as the number of updates made, from 0: the paper's "step 99" is the loss after 99
updates, which is our step 100, the answer before the hundredth update.  A shift by one step is within the reading.

Deviation: the rule of the MNIST figures is meta-trained on networks of 4, 8 and 16 hidden units in turn, the paper's
on 20 alone: two updates for the price of one, and a better rule.  Meta-learning rates were found by hand on
meta-training pictures, where the paper searches at random; `l2l meta-train search.trials=8` does that too.
"""

from __future__ import annotations

from collections.abc import Mapping

from l2l_cli.papers import shared

Curve = Mapping[int, float]
"""Loss by number of updates made."""

BASE = shared.BASE
"""Name of the problem that the rules are meta-trained on."""

LONGER = "200 steps"
"""Name of the same problem, run for twice as long."""

PAPERS_OWN = ("LSTM", "SGD", "NAG", "RMSprop", "Adam")
"""The contenders that the paper has; all others are ours."""

CG = "CG"
"""Conjugate gradient: a limit and no rival."""

SOLVERS = ("L-BFGS", CG)
"""Contenders that look at a batch more than once in a step; they are shown, and compete with nobody."""


def our_step(updates: int) -> int:
    """Return our step whose answer is given after so many updates; steps count from 1."""
    return updates + 1


def updates_at(step: int) -> int:
    """Return how many updates were made before the answer of our step."""
    return step - 1


def _curve(steps: tuple[int, ...], *losses: float | None) -> Curve:
    return {step: loss for step, loss in zip(steps, losses, strict=True) if loss is not None}


_QUADRATICS = (1, 5, 10, 20, 40, 60, 80, 99)
FIGURE4_QUADRATICS: Mapping[str, Curve] = {
    "LSTM": _curve(_QUADRATICS, 0.82, 0.40, 0.26, 0.15, 0.090, 0.058, 0.046, 0.040),
    "SGD": _curve(_QUADRATICS, 1.2, 0.67, 0.55, 0.45, 0.34, 0.28, 0.25, 0.22),
    "NAG": _curve(_QUADRATICS, 1.6, 0.42, 0.30, 0.20, 0.13, 0.10, 0.091, 0.083),
    "RMSprop": _curve(_QUADRATICS, 3.7, 2.3, 1.5, 0.63, 0.17, 0.090, 0.072, 0.061),
    "Adam": _curve(_QUADRATICS, 11.0, 9.0, 6.3, 2.2, 0.29, 0.099, 0.062, 0.053),
}
"""Source: Figure 4, left."""

_MNIST = (10, 20, 40, 60, 80, 99)
_MNIST_LONGER = (120, 160, 199)
FIGURE4_MNIST: Mapping[str, Mapping[str, Curve]] = {
    BASE: {
        "LSTM": _curve(_MNIST, 0.69, 0.45, 0.34, 0.30, 0.26, 0.255),
        "SGD": _curve(_MNIST, 2.26, 1.92, 1.04, 0.70, 0.55, 0.47),
        "NAG": _curve(_MNIST, 2.17, 1.34, 0.56, 0.415, 0.36, 0.33),
        "RMSprop": _curve(_MNIST, None, 1.61, 0.64, 0.44, 0.39, 0.36),
        "Adam": _curve(_MNIST, 2.1, 1.46, 0.62, 0.45, 0.40, 0.36),
    },
    LONGER: {
        "LSTM": _curve(_MNIST_LONGER, 0.236, 0.223, 0.213),
        "SGD": _curve(_MNIST_LONGER, 0.42, 0.365, 0.33),
        "NAG": _curve(_MNIST_LONGER, 0.32, 0.29, 0.26),
        "RMSprop": _curve(_MNIST_LONGER, 0.34, 0.31, 0.29),
        "Adam": _curve(_MNIST_LONGER, 0.36, 0.32, 0.31),
    },
}
"""Source: Figure 4, centre and right."""

FIGURE5: Mapping[str, Mapping[str, Curve]] = {
    "40 units": {
        "LSTM": {20: 0.37, 99: 0.19},
        "SGD": {99: 0.45},
        "NAG": {99: 0.30},
        "RMSprop": {99: 0.32},
        "Adam": {99: 0.31},
    },
    "2 layers": {
        "LSTM": {10: 1.54, 20: 0.90, 99: 0.33},
        "SGD": {99: 1.78},
        "NAG": {99: 0.75},
        "RMSprop": {99: 0.73},
        "Adam": {99: 0.70},
    },
    "ReLU": {
        "LSTM": {99: 2.6},
        "SGD": {99: 0.48},
        "NAG": {99: 0.37},
        "RMSprop": {99: 0.41},
        "Adam": {99: 0.37},
    },
}
"""Source: Figure 5, left, centre and right."""

MARKS = (1, 5, 10, 20, 40, 60, 80, 99, 120, 160, 199, 499, 999)
"""Numbers of updates at which every episode's loss is kept: those above, and two for longer episodes."""
