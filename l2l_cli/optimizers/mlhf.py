"""Hessian-free optimization whose damping and preconditioner are learned: MLHF.

Source: Chen and Lu 2018, "Meta-learning with Hessian-free approach in deep neural nets training", arXiv 1805.08462;
what the text leaves out is their code's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from l2l_cli.core.errors import UsageError
from l2l_cli.core.model import Kind
from l2l_cli.core.point import Point
from l2l_cli.core.random import generator, uniform
from l2l_cli.core.types import Params
from l2l_cli.kernels.kinds import KindKernels
from l2l_cli.optimizers.base import Optimizer, positive
from l2l_cli.optimizers.coordinatewise_lstm import LSTMCell
from l2l_cli.optimizers.line_search import from_vectors, to_vectors
from l2l_cli.optimizers.preprocess import Preprocess, Squash
from l2l_cli.optimizers.solvers import conjugate_gradient

INPUTS = 3
"""What a network sees of a coordinate: the gradient, a residual and a solution."""


ONE = math.log(math.e - 1.0)
"""Softplus of it is 1."""


class States(NamedTuple):
    """Hidden and cell activations of every layer, unit, episode and coordinate, (layers, H, E, D) each."""

    hidden: Tensor
    cell: Tensor


class Curved(NamedTuple):
    """What MLHF remembers of the last step.

    ``solution`` x_n and ``residual`` r_n are (E, D), coordinates sorted by the kind of their parameter; ``looks`` is
    (E,); the others are the two networks' states.
    """

    solution: Tensor
    residual: Tensor
    damping: States
    precondition: States
    pace: States
    looks: Tensor


class Solved(NamedTuple):
    """One solved system, differentiable in φ; coordinates are sorted by kind.

    Attributes:
        like: The point's parameters in the order of the coordinates.
        grad: g, (E, D), constant.
        x: The approximate solution, (E, D).
        residual: g − Ĥ·x, (E, D).
        damping: ŝ, (E, D).
        norms: Of the residuals before each iteration and after the last, (I + 1, E).
        move: θ_{t+1} − θ_t, (E, D).
        memory: For the next step.
    """

    like: Params
    grad: Tensor
    x: Tensor
    residual: Tensor
    damping: Tensor
    norms: Tensor
    move: Tensor
    memory: Curved


class CoordinateRNN(nn.Module):
    """LSTM layers shared by coordinates, and a linear head whose softplus is a positive number for each.

    Args:
        inputs: Features of a coordinate.
        hidden: Units of each layer.
        layers: Number of layers.
        initial_seed: Of the weights: Glorot's, biases 0, those of forget gates 1.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, initial_seed: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList(LSTMCell(width, hidden) for width in [inputs] + [hidden] * (layers - 1))
        self.head = nn.Linear(hidden, 1)
        rng = generator(initial_seed, "mlhf")
        with torch.no_grad():
            for cell in self.cells:
                assert isinstance(cell, LSTMCell)
                # TensorFlow draws both matrices of a cell as one.
                bound = math.sqrt(6.0 / (cell.input_weight.shape[1] + 5 * hidden))
                for weight in (cell.input_weight, cell.hidden_weight):
                    weight.copy_(uniform(tuple(weight.shape), -bound, bound, rng))
                cell.bias.zero_()[hidden : 2 * hidden] = 1.0
            bound = math.sqrt(6.0 / (hidden + 1))
            self.head.weight.copy_(uniform((1, hidden), -bound, bound, rng))
            self.head.bias.zero_()

    def forward(self, features: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return numbers (C,) and the next activations for features (K, C) and activations (layers, H, C)."""
        below, kept = features, []
        for unit, own, content in zip(self.cells, hidden, cell, strict=True):
            below, content = unit(below, own, content)
            kept.append((below, content))
        values = nn.functional.softplus(self.head.weight @ below + self.head.bias).squeeze(0)
        above, contents = zip(*kept, strict=True)
        return values, torch.stack(above), torch.stack(contents)


class KindRNNs(nn.Module):
    """A ``CoordinateRNN`` for each kind of parameter.

    Args:
        kinds: Of parameters.
        inputs: Features of a coordinate.
        hidden: Units of each layer.
        layers: Number of layers.
        initial_seed: Of the weights.
    """

    def __init__(self, kinds: Sequence[Kind], inputs: int, hidden: int, layers: int, initial_seed: int) -> None:
        super().__init__()
        networks: dict[str, nn.Module] = {
            kind: CoordinateRNN(inputs, hidden, layers, initial_seed + 7919 * i) for i, kind in enumerate(kinds)
        }
        self.kinds = nn.ModuleDict(networks)
        self._shape = layers, hidden
        self._kernels = KindKernels()

    @torch.no_grad()
    def begin_at_one(self) -> None:
        """Let the numbers be near 1 before there is any training."""
        for network in self.kinds.values():
            assert isinstance(network, CoordinateRNN)
            network.head.bias.fill_(ONE)

    def init(self, like: Tensor) -> States:
        """Start every coordinate of (E, D) from a zero state."""
        zero = like.new_zeros(*self._shape, *like[:, : None if self.kinds else 0].shape)
        return States(zero, zero)

    def forward(
        self, features: Tensor, states: States, spans: dict[Kind, slice], compiled: bool = False
    ) -> tuple[Tensor, States]:
        """Return a positive number for each coordinate, (E, D), for features (K, E, D); and the next states."""
        if compiled:
            weights = [list(self.kinds[kind].parameters()) for kind in spans]
            values, *after = self._kernels(features, *states, list(spans.values()), weights)
            return values, States(*after)
        found = []
        for kind, span in spans.items():
            shape = features[0, :, span].shape
            given = (part[..., span].flatten(-2) for part in (features, *states))
            found.append([part.unflatten(-1, shape) for part in self.kinds[kind](*given)])
        values, hidden, cell = (torch.cat(parts, -1) for parts in zip(*found, strict=True))
        return values, States(hidden, cell)


class MLHF(Optimizer[Curved]):
    """θ ← θ − lr · x_n with x_n from n iterations of preconditioned conjugate gradients on (G + diag ŝ)·x = g.

    G is the generalised Gauss-Newton matrix of the batch.  Two networks, one each for every kind of parameter, see g, a
    residual and a solution of each coordinate: RNN_s infers the damping ŝ from those of the last step, RNN_p the
    diagonal preconditioner P ≈ Ĥ⁻¹ from those of the present one.  The last solution is where the next system starts.

    Source: Chen and Lu 2018, algorithm 2.

    Args:
        lr: Share of the solution that a step goes; 1 in the paper's first version, in its second the batch's size
            divided by that of meta-training.
        iterations: n, of conjugate gradients.
        kinds: Of parameters that there are networks for; an optimizee with another one is refused.
        hidden: Units of each layer; 4.
        layers: LSTM layers; 2.
        preprocess: What a network sees of a number; None is its tanh (the paper).
        base_damping: Added to what RNN_s infers; 2e-5.
        preconditioner: "learned"; "none" is P = 1 (the paper's ablation); "jacobi" is P = 1 / ŝ, a control that is
            ours: it takes the damping for the whole of the matrix.
        pace: "learned": a third network for each kind sees g, r_n and x_n and multiplies each coordinate's step; ours.
        initial_seed: Of the initial weights.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        lr: float = 1.0,
        iterations: int = 4,
        kinds: Sequence[Kind] = ("conv_weight", "conv_bias", "dense_weight", "dense_bias"),
        hidden: int = 4,
        layers: int = 2,
        preprocess: Preprocess | None = None,
        base_damping: float = 2e-5,
        preconditioner: Literal["learned", "none", "jacobi"] = "learned",
        pace: Literal["fixed", "learned"] = "fixed",
        initial_seed: int = 0,
    ) -> None:
        super().__init__()
        positive(lr=lr, iterations=iterations, hidden=hidden, layers=layers, base_damping=base_damping)
        self.lr = lr
        self.iterations = iterations
        self.preprocess = preprocess if preprocess is not None else Squash()
        self.base_damping = base_damping
        self.preconditioner = preconditioner
        inputs = INPUTS * self.preprocess.width
        self.damping = KindRNNs(kinds, inputs, hidden, layers, initial_seed)
        none: Sequence[Kind] = ()
        learned = kinds if preconditioner == "learned" else none
        self.precondition = KindRNNs(learned, inputs, hidden, layers, initial_seed + 104_729)
        self.pace = KindRNNs(kinds if pace == "learned" else none, inputs, hidden, layers, initial_seed + 1_299_709)
        self.pace.begin_at_one()

    @property
    def kernels(self) -> str:
        """What the networks run on: "numba" or "reference"."""
        return "numba" if self.fast and next(self.parameters()).device.type == "cpu" else "reference"

    @property
    def _is_compiled(self) -> bool:
        return self.kernels == "numba"

    def init(self, params: Params) -> Curved:
        """Remember nothing."""
        none = torch.zeros_like(to_vectors(params))
        damping, precondition, pace = (part.init(none) for part in (self.damping, self.precondition, self.pace))
        return Curved(none, none, damping, precondition, pace, none.new_zeros(len(none)))

    def step(self, point: Point, memory: Curved) -> tuple[Params, Curved]:
        """Solve the system of this batch, and go along its solution."""
        found = self.solve(point, memory)
        moves = from_vectors(found.move, found.like)
        return {name: value + moves[name] for name, value in point.params.items()}, found.memory

    def solve(self, point: Point, memory: Curved) -> Solved:
        """Solve the system of this batch.

        φ's gradients flow through the networks, their states, the iterations and all that is remembered; g and G are
        constants.

        Raises:
            UsageError: The optimizee has a kind of parameter without networks.
        """
        like, spans = self._sorted(point)
        start, last = memory.solution, memory.residual

        def bent(vectors: Tensor) -> Tensor:
            return _in_order(point.ggn(from_vectors(vectors, like)), like)

        first = bent(start)  # before the gradient, so that one forward pass serves for all
        grad = _in_order(point.grad, like)
        shown, at_start = self._shown(grad), self._shown(start)
        features = torch.cat([shown, self._shown(last), at_start])
        inferred, damping_states = self.damping(features, memory.damping, spans, self._is_compiled)
        damping = inferred + self.base_damping
        residual = torch.addcmul(grad - first, damping, start, value=-1.0)
        precondition, states = self._precondition(shown, residual, at_start, damping, memory.precondition, spans)
        found = conjugate_gradient(
            lambda vectors: torch.addcmul(bent(vectors), damping, vectors),
            start,
            residual,
            precondition,
            self.iterations,
        )
        move, pace = -self.lr * found.x, memory.pace
        if self.pace.kinds:
            factor, pace = self.pace(self._features(grad, found.residual, found.x), pace, spans)
            move = factor * move
        looks = memory.looks + 1 + found.products
        memory = Curved(found.x, found.residual, damping_states, states, pace, looks)
        return Solved(like, grad, found.x, found.residual, damping, found.norms, move, memory)

    def looks(self, memory: Curved) -> Tensor:
        """Return the products with G, (E,)."""
        return memory.looks

    def _precondition(
        self,
        shown: Tensor,
        residual: Tensor,
        at_start: Tensor,
        damping: Tensor,
        states: States,
        spans: dict[Kind, slice],
    ) -> tuple[Tensor | None, States]:
        """Return P, (E, D), for a residual and what the networks see of g and x_0; and the next states."""
        if self.preconditioner == "none":
            return None, states
        if self.preconditioner == "jacobi":
            return 1.0 / damping, states
        features = torch.cat([shown, self._shown(residual), at_start])
        values: tuple[Tensor, States] = self.precondition(features, states, spans, self._is_compiled)
        return values

    def _shown(self, numbers: Tensor) -> Tensor:
        """Return what the networks see of numbers (E, D), (K / 3, E, D)."""
        shown: Tensor = self.preprocess(numbers.flatten()).unflatten(-1, numbers.shape)
        return shown

    def _sorted(self, point: Point) -> tuple[Params, dict[Kind, slice]]:
        """Return the parameters with those of one kind side by side, and where each kind is among the coordinates."""
        kinds = point.kinds
        if missing := sorted(set(kinds.values()) - set(self.damping.kinds)):
            raise UsageError(
                f"mlhf has no networks for {', '.join(missing)}, which the optimizee has; meta-train them on such a "
                f"model with learner.rule.kinds=[{','.join([*self.damping.kinds, *missing])}]"
            )
        order = list(self.damping.kinds)
        like = {name: point.params[name] for name in sorted(point.params, key=lambda name: order.index(kinds[name]))}
        spans: dict[Kind, slice] = {}
        begin = 0
        for name, value in like.items():
            end = begin + value[0].numel()
            spans[kinds[name]] = slice(spans.get(kinds[name], slice(begin, end)).start, end)
            begin = end
        return like, spans


def _in_order(params: Params, like: Params) -> Tensor:
    """Return parameters as vectors (E, D), in the order of ``like``."""
    return to_vectors({name: params[name] for name in like})
