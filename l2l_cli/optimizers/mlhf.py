"""Hessian-free optimization whose damping and preconditioner are learned: MLHF.

Source: Chen and Lu 2018, "Meta-learning with Hessian-free approach in deep neural nets training", arXiv 1805.08462;
what the text leaves out is their code's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Params
from l2l_cli.kernels.paths import EVERY_PATH, NUMBA, REFERENCE, Path, Paths
from l2l_cli.models.model import Kind
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer, positive
from l2l_cli.optimizers.compiled import Fitting
from l2l_cli.optimizers.line_search import from_vectors, to_vectors
from l2l_cli.optimizers.preprocess import Preprocess, Squash
from l2l_cli.optimizers.solvers import conjugate_gradient
from l2l_cli.optimizers.type_rnns import ParameterTypeRNNs, States

INPUTS = 3
"""What a network sees of a coordinate: the gradient, a residual and a solution."""


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
        norms: Norms of the residuals before each iteration and after the last, (I + 1, E).
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
        kinds: Parameter types that there are networks for; an optimizee with another one is refused.
        hidden: Units of each layer; 4.
        layers: LSTM layers; 2.
        preprocess: Features that a network sees of a number; None is its tanh (the paper).
        base_damping: Added to what RNN_s infers; 2e-5.
        preconditioner: "learned"; "none" is P = 1 (the paper's ablation); "jacobi" is P = 1 / ŝ, a control that is
            ours: it takes the damping for the whole of the matrix.
        initial_damping: Damping that RNN_s infers at first; None leaves it to the initial weights (the paper), which
            give about 0.7.
        pace: "learned": a third network for each kind sees g, r_n and x_n and multiplies each coordinate's step; ours.
        initial_pace: Initial value of the learned step-size multiplier.
        initial_seed: Seed of the initial weights.
        paths: Paths that the networks may take.

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
        initial_damping: float | None = None,
        pace: Literal["fixed", "learned"] = "fixed",
        initial_pace: float = 1.0,
        initial_seed: int = 0,
        *,
        paths: Paths = EVERY_PATH,
    ) -> None:
        super().__init__()
        positive(lr=lr, iterations=iterations, hidden=hidden, layers=layers, base_damping=base_damping)
        positive(initial_pace=initial_pace)
        self._compiled = paths.compiled
        self.lr = lr
        self.iterations = iterations
        self.preprocess = preprocess if preprocess is not None else Squash()
        self.base_damping = base_damping
        self.preconditioner = preconditioner
        inputs = INPUTS * self.preprocess.width
        self.damping = ParameterTypeRNNs(kinds, inputs, hidden, layers, initial_seed)
        none: Sequence[Kind] = ()
        learned = kinds if preconditioner == "learned" else none
        self.precondition = ParameterTypeRNNs(learned, inputs, hidden, layers, initial_seed + 104_729)
        self.pace = ParameterTypeRNNs(
            kinds if pace == "learned" else none, inputs, hidden, layers, initial_seed + 1_299_709
        )
        self.pace.begin_at(initial_pace)
        if initial_damping is not None:
            positive(initial_damping=initial_damping)
            self.damping.begin_at(initial_damping)

    @property
    def path(self) -> Path:
        """What the networks run on, in ``step`` and in ``solve``."""
        return NUMBA if self._compiled and next(self.parameters()).device.type == "cpu" else REFERENCE

    def compiled(self, fitting: Fitting) -> Path:
        """Return the path of the networks: all else is products of the model's, which differ from step to step."""
        del fitting
        return self.path

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
        inferred, damping_states = self.damping(features, memory.damping, spans, self.path.is_compiled)
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
            features = torch.cat([shown, self._shown(found.residual), self._shown(found.x)])
            factor, pace = self.pace(features, pace, spans, self.path.is_compiled)
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
        values: tuple[Tensor, States] = self.precondition(features, states, spans, self.path.is_compiled)
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
