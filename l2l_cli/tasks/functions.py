"""Functions of two arguments, to be learned example by example.

Source: Hochreiter, Younger and Conwell 2001, §3: an episode is a sequence of J examples of one function, and the error
counts at every step, the unpredictable first one included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Generator, Tensor

from l2l_cli.core.random import derive, generator, integers, uniform
from l2l_cli.core.types import Batches, Phase, Spec, Split
from l2l_cli.models.mlp import mlp
from l2l_cli.models.model import Model, glorot
from l2l_cli.tasks.base import BlockEpisode, Regression

GRID = 41
"""Number of points on each axis of the grid on which a quadratic's extremes are sought."""

BLOCK = 256
"""Number of examples drawn at once: a step beyond the horizon costs one more block, not the whole sequence again."""


class FunctionEpisode(BlockEpisode):
    """Sequences of examples (x, f_e(x)) of E functions, one example per step (N = 1).

    Args:
        task: Task that draws x and evaluates the functions.
        coefficients: Coefficients of each function, (E, K).
        seed: Seed of the inputs.
        rows: Indices (E,) of these sequences among ``total``, if they are picked from a fixed training set.
        total: Number of sequences that the seed draws side by side.
    """

    length = BLOCK

    def __init__(self, task: FunctionTask, coefficients: Tensor, seed: int, rows: Tensor | None, total: int) -> None:
        self._task = task
        self.coefficients = coefficients
        self._seed = seed
        self._rows = rows
        self._total = total
        self._blocks: dict[tuple[int, Split], Batches] = {}

    def pick(self, rows: Tensor) -> FunctionEpisode:
        """Return E of these sequences, by their indices (E,)."""
        return FunctionEpisode(self._task, self.coefficients[rows], self._seed, rows, self._total)

    def block(self, number: int, split: Split) -> Batches:
        """Return a block; each is drawn only once."""
        if (number, split) not in self._blocks:
            inputs = self._task.draw_inputs(BLOCK, self._total, generator(self._seed, "inputs", split, number))
            if self._rows is not None:
                inputs = inputs[:, self._rows]
            targets = self._task.evaluate(self.coefficients, inputs)
            self._blocks[number, split] = Batches(inputs.unsqueeze(2), targets[:, :, None, None])
        return self._blocks[number, split]


class ExampleTask(Regression, ABC):
    """A task of single examples (x, y), scored by the squared error and also by the absolute error."""

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the absolute error |y − o|, which the paper's Figure 2 shows, (E,)."""
        return {"absolute_error": (outputs - targets).abs().flatten(1).mean(1)}


class FunctionTask(ExampleTask):
    """A family of functions, each given by K coefficients; every family takes the arguments below.

    Args:
        length: Number of examples in a sequence.
        functions: Number of sequences in a fixed training set, from which meta-training episodes are picked (the paper:
            128 or 256); None draws new functions for every episode (ours).
        functions_seed: Seed of the fixed training set.
        hidden: Hidden units of the MLP that learners by gradient descent fit to the examples.
    """

    def __init__(
        self, length: int = 64, functions: int | None = None, functions_seed: int = 0, hidden: int = 8
    ) -> None:
        if length < 1 or (functions is not None and functions < 1):
            raise ValueError(f"length and functions must be at least 1, not {length} and {functions}")
        self.horizon = length
        self.functions, self.functions_seed = functions, functions_seed
        self.spec = Spec(inputs=(2,), targets=(1,), examples=1)
        self.model = Model(mlp(2, [hidden], 1, "tanh", squash=True), glorot)

    @abstractmethod
    def draw_coefficients(self, count: int, rng: Generator) -> Tensor:
        """Draw ``count`` functions, (count, K)."""

    def draw_inputs(self, steps: int, episodes: int, rng: Generator) -> Tensor:
        """Draw x for every step and episode, (T, E, 2): uniformly from the square [−1, 1]², unless overridden."""
        return uniform((steps, episodes, 2), -1.0, 1.0, rng)

    @abstractmethod
    def evaluate(self, coefficients: Tensor, inputs: Tensor) -> Tensor:
        """Return f_e(x) in [0, 1], (..., E), for coefficients (E, K) or (..., E, K) and inputs (..., E, 2)."""

    def sample(self, episodes: int, seed: int, phase: Phase) -> FunctionEpisode:
        """Draw E sequences; with a fixed training set, pick E from it."""
        whole = self.training_set() if phase is Phase.META_TRAIN else None
        if whole is not None:
            return whole.pick(integers((episodes,), len(whole.coefficients), generator(seed, "rows", phase)))
        return self._drawn(episodes, derive(seed, "functions", phase))

    def training_set(self) -> FunctionEpisode | None:
        """Return the fixed sequences, if there are any."""
        return None if self.functions is None else self._drawn(self.functions, derive(self.functions_seed, "fixed"))

    def _drawn(self, episodes: int, seed: int) -> FunctionEpisode:
        coefficients = self.draw_coefficients(episodes, generator(seed, "coefficients"))
        return FunctionEpisode(self, coefficients, seed, None, episodes)


class Booleans(FunctionTask):
    """Boolean functions of two arguments in {0, 1}: all 16, or 14 without XOR and XNOR.

    A function is its truth table, (E, 4), at the inputs 00, 01, 10, 11.

    Args:
        xor: Whether XOR and XNOR are among the functions.
    """

    def __init__(
        self,
        xor: bool = True,
        length: int = 256,
        functions: int | None = None,
        functions_seed: int = 0,
        hidden: int = 8,
    ) -> None:
        super().__init__(length, functions, functions_seed, hidden)
        tables = torch.tensor([[code >> bit & 1 for bit in range(4)] for code in range(16)])
        linear = torch.tensor([row not in ([0, 1, 1, 0], [1, 0, 0, 1]) for row in tables.tolist()])
        self.tables = (tables if xor else tables[linear]).to(torch.get_default_dtype())

    def draw_coefficients(self, count: int, rng: Generator) -> Tensor:
        """Draw truth tables uniformly, (count, 4)."""
        return self.tables[integers((count,), len(self.tables), rng)]

    def draw_inputs(self, steps: int, episodes: int, rng: Generator) -> Tensor:
        """Draw the four input pairs uniformly, (T, E, 2)."""
        return integers((steps, episodes, 2), 2, rng).to(self.tables.dtype)

    def evaluate(self, coefficients: Tensor, inputs: Tensor) -> Tensor:
        """Return the entries of the truth tables."""
        index = (2 * inputs[..., 0] + inputs[..., 1]).long()
        return coefficients.expand(*index.shape, 4).gather(-1, index.unsqueeze(-1)).squeeze(-1)


class SemiLinear(FunctionTask):
    """y = ½(1 + tanh(w₁x₁ + w₂x₂ + w₃)), w ~ U[−1, 1].

    Deviation: the paper does not state the domain of x; ours is U[−1, 1]².
    """

    def draw_coefficients(self, count: int, rng: Generator) -> Tensor:
        """Draw (w₁, w₂, w₃), (count, 3)."""
        return uniform((count, 3), -1.0, 1.0, rng)

    def evaluate(self, coefficients: Tensor, inputs: Tensor) -> Tensor:
        """Evaluate ½(1 + tanh(a)) as the logistic function of 2a."""
        return torch.sigmoid(2.0 * ((inputs * coefficients[..., :2]).sum(-1) + coefficients[..., 2]))


class QuadraticFunction(FunctionTask):
    """q(x) = a x₁² + b x₂² + c x₁x₂ + d x₁ + e x₂ + f, coefficients ~ U[−1, 1], scaled to [0.2, 0.8].

    Deviation: the paper states neither the domain (ours: U[−1, 1]²) nor the scaling.  ``per_function`` maps each
    function's own range over the domain to [0.2, 0.8]; ``global`` maps [−6, 6], the range of the whole family.

    Args:
        scaling: Scaling to [0.2, 0.8], "per_function" or "global".
    """

    def __init__(
        self,
        scaling: Literal["per_function", "global"] = "per_function",
        length: int = 1000,
        functions: int | None = None,
        functions_seed: int = 0,
        hidden: int = 16,
    ) -> None:
        super().__init__(length, functions, functions_seed, hidden)
        self.scaling = scaling

    def draw_coefficients(self, count: int, rng: Generator) -> Tensor:
        """Draw the six coefficients of the *scaled* function, which is linear in them, (count, 6)."""
        raw = uniform((count, 6), -1.0, 1.0, rng)
        if self.scaling == "global":
            low, high = raw.new_tensor(-6.0), raw.new_tensor(6.0)
        else:
            axis = torch.linspace(-1.0, 1.0, GRID, dtype=raw.dtype, device=raw.device)
            grid = raw @ monomials(torch.cartesian_prod(axis, axis)).T
            low, high = grid.amin(1, keepdim=True), grid.amax(1, keepdim=True)
        scale = 0.6 / (high - low)
        constant = raw.new_tensor([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        return raw * scale + constant * (0.2 - low * scale)

    def evaluate(self, coefficients: Tensor, inputs: Tensor) -> Tensor:
        """Evaluate the scaled quadratic."""
        return (monomials(inputs) * coefficients).sum(-1)


def monomials(inputs: Tensor) -> Tensor:
    """Return (x₁², x₂², x₁x₂, x₁, x₂, 1) of inputs (..., 2), (..., 6)."""
    x1, x2 = inputs.unbind(-1)
    return torch.stack([x1 * x1, x2 * x2, x1 * x2, x1, x2, torch.ones_like(x1)], -1)
