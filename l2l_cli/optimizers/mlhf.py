"""Hessian-free optimization whose damping and preconditioner are learned: MLHF.

Source: Chen and Lu 2018, "Meta-learning with Hessian-free approach in deep neural nets training", arXiv 1805.08462;
what the text leaves out is as in their code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import stacked, unstacked
from l2l_cli.kernels.paths import EVERY_PATH, NUMBA, REFERENCE, Path, Paths
from l2l_cli.models.model import ParameterType
from l2l_cli.models.point import Point
from l2l_cli.optimizers.base import Optimizer, added, positive
from l2l_cli.optimizers.compiled import Fitting
from l2l_cli.optimizers.diagonal import estimated_diagonal, ggn_diagonal
from l2l_cli.optimizers.preprocess import Preprocess, Squash
from l2l_cli.optimizers.solvers import conjugate_gradient
from l2l_cli.optimizers.type_rnns import ParameterTypeRNNs, States

INPUTS = 3
"""How many numbers a network receives for each coordinate: the gradient, a residual and a solution."""


class MLHFMemory(NamedTuple):
    """The last solution x_n and residual r_n, (E, D), the states of the networks, and extra evaluations so far, (E,).

    Coordinates are sorted by the type of their parameter.
    """

    solution: Tensor
    residual: Tensor
    damping: States
    precondition: States
    pace: States
    evaluations: Tensor


class SolvedSystem(NamedTuple):
    """One solved system, differentiable in φ; coordinates are sorted by the type of their parameter.

    Attributes:
        like: The point's parameters in the order of the coordinates.
        grad: Gradient g, (E, D), constant.
        x: Approximate solution, (E, D).
        residual: Residual g − Ĥ·x, (E, D).
        damping: Damping ŝ, (E, D).
        norms: Norms of the residuals before each iteration and after the last, (I + 1, E).
        move: Displacement θ_{t+1} − θ_t, (E, D).
        memory: Memory for the next step.
    """

    like: Params
    grad: Tensor
    x: Tensor
    residual: Tensor
    damping: Tensor
    norms: Tensor
    move: Tensor
    memory: MLHFMemory


class MLHF(Optimizer[MLHFMemory]):
    """θ ← θ − lr · x_n with x_n from n iterations of preconditioned conjugate gradients on (G + diag ŝ)·x = g.

    G is the generalised Gauss-Newton matrix of the batch.  Two networks for each parameter type receive g, a residual
    and a solution of each coordinate: RNN_s infers the damping ŝ from those of the last step, RNN_p the diagonal
    preconditioner P ≈ Ĥ⁻¹ from those of the current one.  The next system starts from the last solution.

    Source: Chen and Lu 2018, algorithm 2.

    Args:
        lr: Fraction of the solution that a step takes; 1 in the paper's first version, and in its second the batch's
            size divided by that of meta-training.
        iterations: Number n of conjugate-gradient iterations.
        kinds: Parameter types that have networks; a fitted network with another type is refused.
        hidden: Units of each layer; 4 in the paper.
        layers: Number of LSTM layers; 2 in the paper.
        preprocess: Map from a number to a network's inputs; None takes its tanh, as in the paper.
        base_damping: Number that is added to the damping that RNN_s infers; 2e-5 in the paper.
        preconditioner: Name of P: "learned"; "none" is P = 1 (the paper's ablation); "jacobi" is P = 1 / ŝ, our
            control, which treats the damping as the whole matrix; "diagonal" is P = 1 / (diag G + ŝ), the true Jacobi
            preconditioner and also our control, which takes one more backward pass for each output of an example or, if
            the network mixes examples, for each output of each example; "estimated_diagonal" estimates the same by
            random signs.
        initial_damping: Damping that RNN_s infers at first; None leaves it to the initial weights (the paper), which
            give about 0.7.
        pace: Step-size multiplier of each coordinate: "fixed" at 1; "learned" by a third network for each parameter
            type, which receives g, r_n and x_n (ours).
        initial_pace: Initial value of the learned step-size multiplier.
        initial_seed: Seed of the initial weights.
        paths: Paths that the networks may take.
    """

    may_rest: ClassVar[bool] = True

    def __init__(
        self,
        lr: float = 1.0,
        iterations: int = 4,
        kinds: Sequence[ParameterType] = ("conv_weight", "conv_bias", "dense_weight", "dense_bias"),
        hidden: int = 4,
        layers: int = 2,
        preprocess: Preprocess | None = None,
        base_damping: float = 2e-5,
        preconditioner: Literal["learned", "none", "jacobi", "diagonal", "estimated_diagonal"] = "learned",
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
        self.lr, self.iterations = lr, iterations
        self.work = 2.0 + iterations
        self.preprocess = preprocess if preprocess is not None else Squash()
        self.base_damping, self.preconditioner = base_damping, preconditioner
        inputs = INPUTS * self.preprocess.width
        self.damping = ParameterTypeRNNs(kinds, inputs, hidden, layers, initial_seed)
        preconditioned = kinds if preconditioner == "learned" else ()
        self.precondition = ParameterTypeRNNs(preconditioned, inputs, hidden, layers, initial_seed + 104_729)
        self.pace = ParameterTypeRNNs(
            kinds if pace == "learned" else (), inputs, hidden, layers, initial_seed + 1_299_709
        )
        self.pace.begin_at(initial_pace)
        if initial_damping is not None:
            positive(initial_damping=initial_damping)
            self.damping.begin_at(initial_damping)

    @property
    def path(self) -> Path:
        """The path that the networks take, in ``step`` and in ``solve``."""
        return NUMBA if self._compiled and next(self.parameters()).device.type == "cpu" else REFERENCE

    def compiled(self, fitting: Fitting) -> Path:
        """Return the path of the networks: all else is products with the model's G, which differs from step to step."""
        del fitting
        return self.path

    def init(self, params: Params) -> MLHFMemory:
        """Return a zero solution and residual, and zero states."""
        zero = torch.zeros_like(stacked(params))
        like = zero.to(next(self.parameters()).dtype)
        damping, precondition, pace = (part.init(like) for part in (self.damping, self.precondition, self.pace))
        return MLHFMemory(zero, zero, damping, precondition, pace, zero.new_zeros(len(zero)))

    def step(self, point: Point, memory: MLHFMemory) -> tuple[Params, MLHFMemory]:
        """Solve the system of this batch, and move along its solution."""
        system = self.solve(point, memory)
        return added(point.params, unstacked(system.move, system.like)), system.memory

    def solve(self, point: Point, memory: MLHFMemory) -> SolvedSystem:
        """Solve the system of this batch.

        Gradients of φ flow through the networks, their states, the iterations and the memory; g and G are constants.

        Raises:
            UsageError: The fitted network has a parameter type for which there are no networks.
        """
        like = self._sorted(point)
        spans = spans_by_type(like, point.parameter_types)
        start = memory.solution

        def ggn(vectors: Tensor) -> Tensor:
            return in_order(point.ggn(unstacked(vectors, like)), like)

        image = ggn(start)  # before the gradient, so that one forward pass serves for all
        grad = in_order(point.grad, like)
        seen_grad, seen_start = self._seen(grad), self._seen(start)
        features = torch.cat([seen_grad, self._seen(memory.residual), seen_start])
        inferred, damping_states = self.damping(features, memory.damping, spans, self.path.is_compiled)
        damping = inferred.to(grad.dtype) + self.base_damping
        residual = torch.addcmul(grad - image, damping, start, value=-1.0)
        precondition, passes = self._unlearned(point, memory, like, damping)
        states = memory.precondition
        if self.preconditioner == "learned":
            features = torch.cat([seen_grad, self._seen(residual), seen_start])
            learned, states = self.precondition(features, states, spans, self.path.is_compiled)
            precondition = learned.to(grad.dtype)
        x, residual, norms, products = conjugate_gradient(
            lambda v: torch.addcmul(ggn(v), damping, v), start, residual, precondition, self.iterations
        )
        move, pace = -self.lr * x, memory.pace
        if self.pace.kinds:
            features = torch.cat([seen_grad, self._seen(residual), self._seen(x)])
            factor, pace = self.pace(features, pace, spans, self.path.is_compiled)
            move = factor.to(grad.dtype) * move
        evaluations = memory.evaluations + 1 + passes + products
        memory = MLHFMemory(x, residual, damping_states, states, pace, evaluations)
        return SolvedSystem(like, grad, x, residual, damping, norms, move, memory)

    def _unlearned(self, point: Point, memory: MLHFMemory, like: Params, damping: Tensor) -> tuple[Tensor | None, int]:
        """Return P, (E, D), or None if it is learned or 1, and the number of backward passes that it takes."""
        match self.preconditioner:
            case "jacobi":
                return 1.0 / damping, 0
            case "diagonal":
                diagonal, passes = ggn_diagonal(point)
            case "estimated_diagonal":  # other signs at every step
                rng = generator(int(memory.evaluations.max()), "signs of the diagonal")
                diagonal, passes = estimated_diagonal(point, rng)
            case _:
                return None, 0
        return 1.0 / (in_order(diagonal, like) + damping), passes

    def extra_evaluations(self, memory: MLHFMemory) -> Tensor:
        """Return the number of products with G, and of backward passes for its diagonal, (E,)."""
        return memory.evaluations

    def _seen(self, numbers: Tensor) -> Tensor:
        """Return the networks' inputs for numbers (E, D), (K / 3, E, D)."""
        own = next(self.parameters()).dtype  # the type of these networks, which need not be the fitted network's
        inputs: Tensor = self.preprocess(numbers.flatten().to(own)).unflatten(-1, numbers.shape)
        return inputs

    def _sorted(self, point: Point) -> Params:
        """Return the point's parameters, sorted by their type."""
        types, order = point.parameter_types, list(self.damping.kinds)
        if missing := sorted(set(types.values()) - set(order)):
            raise UsageError(
                f"mlhf has no networks for {', '.join(missing)}, which the fitted network has; meta-train them on such "
                f"a network with learner.rule.kinds=[{','.join([*order, *missing])}]"
            )
        return {name: point.params[name] for name in sorted(point.params, key=lambda name: order.index(types[name]))}


def in_order(params: Params, like: Params) -> Tensor:
    """Return parameters as vectors (E, D), in the order of ``like``."""
    return stacked({name: params[name] for name in like})


def spans_by_type(like: Params, types: Mapping[str, ParameterType]) -> dict[ParameterType, slice]:
    """Return the coordinates of each parameter type, for parameters (E, ...) that are sorted by type."""
    spans: dict[ParameterType, slice] = {}
    begin = 0
    for name, value in like.items():
        end = begin + value[0].numel()
        spans[types[name]] = slice(spans.get(types[name], slice(begin, end)).start, end)
        begin = end
    return spans
