"""The meta-step that every contender is timed on, as arrays in one file: NumPy is all that contenders share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """A learned rule's weights, and the episodes that it optimizes for T steps.

    The rule is Andrychowicz et al.'s (2016, §2.1): stacked LSTM cells without peepholes, gates in the order input,
    forget, candidate, output, and a linear head; a gradient that it is shown counts as a constant.  The meta-loss is
    the mean of the losses over steps and episodes.

    Attributes:
        phi: Of each layer in turn its weights (4H, F) and (4H, H) and its bias (4H,); then the head's (1, H) and (1,).
        theta: Where the episodes start, (E, ...) each.  One vector θ: f = mean (Wθ − y)²; two weights and two biases:
            cross-entropy of a network with one layer of sigmoids.
        inputs: (T, E, N, ...): matrices W, or images.
        targets: (T, E, N): vectors y, or classes.
        log_scale: p of the features (log|g| / p, sign g), the paper's appendix A; 0 for the gradient itself.
        output_scale: Factor on the head.
        lr: Of the Adam that moves φ.
    """

    phi: list[Array]
    theta: list[Array]
    inputs: Array
    targets: Array
    log_scale: float
    output_scale: float
    lr: float = 1e-3

    @property
    def layers(self) -> int:
        """The number of LSTM layers."""
        return len(self.phi) // 3

    @property
    def hidden(self) -> int:
        """The units of a layer."""
        return int(self.phi[1].shape[1])

    @property
    def steps(self) -> int:
        """The length T of the unroll."""
        return len(self.inputs)

    @property
    def is_quadratic(self) -> bool:
        """Whether θ is one vector an episode."""
        return len(self.theta) == 1

    @property
    def coordinates(self) -> int:
        """The number of coordinates that the rule moves, over all episodes."""
        return sum(value.size for value in self.theta)

    def save(self, path: Path) -> None:
        """Write one .npz file."""
        phi = {f"phi{index:02d}": value for index, value in enumerate(self.phi)}
        theta = {f"theta{index:02d}": value for index, value in enumerate(self.theta)}
        numbers = {name: np.array(getattr(self, name)) for name in ("log_scale", "output_scale", "lr")}
        np.savez(path, inputs=self.inputs, targets=self.targets, **phi, **theta, **numbers)

    @classmethod
    def load(cls, path: Path) -> Problem:
        """Read what ``save`` wrote."""
        with np.load(path) as file:
            phi = [file[name] for name in sorted(file.files) if name.startswith("phi")]
            theta = [file[name] for name in sorted(file.files) if name.startswith("theta")]
            numbers = {name: float(file[name]) for name in ("log_scale", "output_scale", "lr")}
            return cls(phi, theta, file["inputs"], file["targets"], **numbers)


@dataclass(frozen=True)
class Product:
    """A network with one layer of sigmoids, and a vector that its Gauss-Newton matrix G is to be multiplied by.

    The loss is the mean cross-entropy over the batch, and G = Jᵀ·H·J, with H its Hessian in the outputs.

    Attributes:
        theta: Weights (hidden, inputs), biases (hidden,), weights (classes, hidden) and biases (classes,).
        v: The vector, in pieces shaped as ``theta``.
        inputs: (N, inputs).
        targets: Classes, (N,).
    """

    theta: list[Array]
    v: list[Array]
    inputs: Array
    targets: Array

    @property
    def size(self) -> int:
        """The number of weights."""
        return sum(value.size for value in self.theta)

    def save(self, path: Path) -> None:
        """Write one .npz file."""
        pieces = {f"{name}{index}": value for name in ("theta", "v") for index, value in enumerate(getattr(self, name))}
        np.savez(path, inputs=self.inputs, targets=self.targets, **pieces)

    @classmethod
    def load(cls, path: Path) -> Product:
        """Read what ``save`` wrote."""
        with np.load(path) as file:
            theta, v = ([file[f"{name}{index}"] for index in range(4)] for name in ("theta", "v"))
            return cls(theta, v, file["inputs"], file["targets"])
