"""A network whose memory cells are the weights of a second network, which gives the answers.

Source: Bosc 2016, §2.  Names: θ_t → ``CellState.params``; the paper's separator flag I_t → ``Batch.shown``;
φ → ``parameters()``, among which θ₀ is ``start``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, Self

import torch
from torch import Generator, Tensor, nn

from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Batch, Batches, Params
from l2l_cli.core.vectors import flattened, named, stacked
from l2l_cli.kernels.paths import EVERY_PATH, NUMBA, REFERENCE, Path, Paths
from l2l_cli.kernels.weights_in_cell import WeightsInCellKernel
from l2l_cli.learners.base import Learner, step_losses
from l2l_cli.learners.gates import FactoredGates, Gates, initial_biases
from l2l_cli.models.model import Model
from l2l_cli.models.point import Point
from l2l_cli.tasks.base import Task


class CellState(NamedTuple):
    """The model's weights (E, P), each parameter flattened in turn; the steps so far (); the last example.

    Before the first step θ is φ's own ``start``, whatever ``params`` holds.  ``previous`` is [x, I·y, ŷ, I] in
    Hochreiter's order, (E, D + K + A + 1), and otherwise (E, 0).
    """

    params: Tensor
    steps: Tensor
    previous: Tensor


class WeightsInCell(Learner[CellState]):
    """θ_t = f_t ⊙ θ_{t−1} + i_t ⊙ c̃_t: a memory cell without an output gate for each weight θ of the task's model.

    The model answers x_t with θ_{t−1}.  Then a feed-forward network of ReLU layers reads u_t = [x_t, I_t·y_t, ŷ_t,
    I_t], but not θ, and sets the gates f_t, i_t (logistic) and c̃_t (tanh); I_t is 0 where the target is hidden.

    In Hochreiter's order (2001, §2) the network reads x_t together with the last example: [x_{t−1}, I_{t−1}·y_{t−1},
    ŷ_{t−1}, I_{t−1}, x_t] moves θ, and the moved weights answer x_t; θ₀ answers the first input.  x_{t−1} is included
    because these gates, unlike Hochreiter's network, remember nothing but θ, which they do not see.

    Deviation: the sizes of the layers and the initialisation of φ are not known.  Ours are 64 units, weights drawn as
    by He et al. (2015), forget gates that are nearly open and input gates that are nearly shut, and the model's own
    θ₀.

    Args:
        task: Task that shows one example per step.
        hidden: Units of the ReLU layers.
        order: Order in which the weights answer and move.
        after_separator: Whether the weights move or are frozen at examples whose target is hidden (the paper: moves).
        rank: Rank of factored gates, see ``FactoredGates``; None gives every gate its own weights (the paper).
        sees: Quantity of its own weight that each gate also reads, times a learned factor: the weight itself, or the
            gradient of the example's loss, which is zero if the target is hidden; the paper's gates read neither.
        forget_bias: Initial bias of f.
        input_bias: Initial bias of i.
        gate_scale: Initial standard deviation of the contribution of features of unit size to a gate.
        initial_seed: Seed of φ.
        paths: Paths that the learner may take.
    """

    def __init__(
        self,
        task: Task,
        hidden: Sequence[int] = (64, 64),
        order: Literal["predict_then_update", "hochreiter"] = "predict_then_update",
        after_separator: Literal["moves", "frozen"] = "moves",
        rank: int | None = None,
        sees: Literal["none", "weights", "gradient"] = "none",
        forget_bias: float = 5.0,
        input_bias: float = -4.0,
        gate_scale: float = 0.5,
        initial_seed: int = 0,
        *,
        paths: Paths = EVERY_PATH,
    ) -> None:
        super().__init__(task, paths=paths)
        _check(task, hidden, order, after_separator, rank, sees)
        self.order, self.after_separator, self.rank, self.sees = order, after_separator, rank, sees
        self.rho = 1.0
        inputs = math.prod(task.spec.inputs)
        self._width = inputs + math.prod(task.spec.targets) + _answers(task) + 1
        widths = [self._width + (inputs if order == "hochreiter" else 0), *hidden]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        size, shapes = task.model.size, task.model.shapes
        self.gates: Gates | FactoredGates = (
            Gates(widths[-1], size) if rank is None else FactoredGates(widths[-1], shapes, rank)
        )
        self.start = nn.Parameter(torch.empty(size))
        # The factor starts at zero, so that at first the gates read only what the paper's do.
        self.sight = nn.Parameter(torch.zeros(3 * size)) if sees != "none" else None
        self._kernel = self._new_kernel()
        self._reset(initial_biases(size, forget_bias, input_bias), gate_scale, initial_seed)

    @torch.no_grad()
    def _reset(self, biases: Tensor, scale: float, seed: int) -> None:
        rng = generator(seed, "weights_in_cell")
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            layer.weight.copy_(normal(tuple(layer.weight.shape), rng, math.sqrt(2.0 / layer.in_features)))
            layer.bias.zero_()
        self.gates.reset(biases, scale, rng)
        start = self.task.model.init(1, rng)
        self.start.copy_(flattened(start))

    def on(self, task: Task) -> Self:
        """Return this learner on another task with the same model.

        Raises:
            UsageError: The task's model has weights of other shapes.
        """
        if task.model.shapes != self.task.model.shapes:
            raise UsageError(
                f"weights_in_cell has a cell for each of the {self.task.model.size} weights of its own model, but the "
                f"model of {type(task).__name__} has {task.model.size} weights, or weights of other shapes; meta-train "
                "a learner on it"
            )
        twin = super().on(task)
        twin._kernel = self._new_kernel()
        return twin

    def _new_kernel(self) -> WeightsInCellKernel:
        return WeightsInCellKernel(frozen=self.after_separator == "frozen", waits=self.order == "hochreiter")

    def init(self, episodes: int, rng: Generator) -> CellState:
        """Start from θ₀."""
        del rng
        width = self._width if self.order == "hochreiter" else 0
        params = self.start.detach().expand(episodes, -1).clone()
        return CellState(params, torch.zeros((), dtype=torch.long, device="cpu"), params.new_zeros(episodes, width))

    def step(self, state: CellState, batch: Batch) -> tuple[CellState, Tensor]:
        """Answer with θ_{t−1}, then move it; in Hochreiter's order, the other way round."""
        theta = self._met(self._theta(state), state, batch.inputs)
        answer = self.task.model(self.named(theta), batch.inputs)
        example = _example(batch, answer).to(self.start.dtype)
        if self.order == "hochreiter":
            return CellState(theta, state.steps + 1, example), answer
        return CellState(self._moved(theta, example, example), state.steps + 1, state.previous), answer

    def predict(self, state: CellState, inputs: Tensor) -> Tensor:
        """Answer with the current θ; in Hochreiter's order, answer each input as if it came next."""
        if self.order == "predict_then_update":
            return self.task.model(self.named(self._theta(state)), inputs)
        episodes, count = inputs.shape[:2]
        theta, previous = (value.repeat_interleave(count, 0) for value in (self._theta(state), state.previous))
        singly = inputs.flatten(0, 1).unsqueeze(1)
        theta = self._met(theta, state._replace(previous=previous), singly)
        answers = self.task.model(self.named(theta), singly)
        return answers.view(episodes, count, *answers.shape[2:])

    def unroll(self, state: CellState, batches: Batches) -> tuple[CellState, Tensor]:
        """Step through T batches, on the compiled path if no gradients are recorded."""
        if torch.is_grad_enabled() or not self.path.is_compiled:
            return super().unroll(state, batches)
        return self._compiled(state, batches)

    def losses(self, state: CellState, batches: Batches) -> tuple[CellState, Tensor]:
        """Return the losses of T steps; on the compiled path, the state before them is a constant, except for θ₀."""
        if not self.path.is_compiled:
            return super().losses(state, batches)
        state, outputs = self._compiled(state, batches)
        return state, step_losses(self.task, outputs, batches.targets)

    @property
    def path(self) -> Path:
        """The CPU's kernels, for the paper's learner and models of its shape."""
        if not self.paths.compiled:
            return REFERENCE
        reasons = {f"rank={self.rank}": self.rank is not None, f"sees={self.sees}": self.sees != "none"}
        if any(reasons.values()):
            options = ", ".join(name for name, holds in reasons.items() if holds)
            return Path(why_not=f"the kernels have no {options}")
        if self.task.model.dtype != self.start.dtype:
            return Path(why_not=f"the network is {self.task.model.dtype}, but the kernels know only {self.start.dtype}")
        if not _is_known(self.task.model):
            return Path(why_not="the kernels know only models of one ReLU layer and one logistic output")
        return NUMBA if self.start.device.type == "cpu" else REFERENCE

    def _compiled(self, state: CellState, batches: Batches) -> tuple[CellState, Tensor]:
        inputs, targets = batches.inputs.flatten(2), batches.targets.flatten(1)
        shown = torch.ones_like(targets) if batches.shown is None else batches.shown.to(targets)
        phi = [value for layer in (*self.layers, self.gates) for value in layer.parameters()]
        theta = self._met(self._theta(state), state, batches.inputs[0])
        answers, params = self._kernel(theta, inputs, torch.where(shown > 0, targets, 0.0), shown, phi)
        outputs, last = answers.view_as(batches.targets), state.previous
        if self.order == "hochreiter":
            last = _example(batches.at(-1), outputs[-1]).to(self.start.dtype)
        return CellState(params, state.steps + batches.steps, last), outputs

    def _theta(self, state: CellState) -> Tensor:
        """Return θ, (E, P); before the first step it is a part of φ and can be differentiated."""
        return self.start.expand(len(state.params), -1) if int(state.steps) == 0 else state.params

    def named(self, theta: Tensor) -> Params:
        """Return θ (E, P) as the model's parameters."""
        return named(theta, self.task.model.shapes)

    def _met(self, theta: Tensor, state: CellState, inputs: Tensor) -> Tensor:
        """Return the θ that answers inputs (E, 1, ...); in Hochreiter's order, the last example moves it only now."""
        if self.order == "predict_then_update" or int(state.steps) == 0:
            return theta
        return self._moved(theta, torch.cat([state.previous, inputs.flatten(1)], 1), state.previous)

    def _moved(self, theta: Tensor, features: Tensor, example: Tensor) -> Tensor:
        """Return f ⊙ θ + i ⊙ c̃ for features (E, n) and the example that they belong to, (E, D + K + A + 1)."""
        for layer in self.layers:
            features = torch.relu(layer(features))
        gates = self.gates(features)
        if self.sight is not None:
            gates = gates + self.sight * self._seen(theta, example).repeat(1, 3)
        forget, entrance, content = gates.chunk(3, 1)
        moved = torch.sigmoid(forget) * theta + torch.sigmoid(entrance) * torch.tanh(content)
        if self.after_separator == "moves":
            return moved
        return torch.where(example[:, -1:] > 0, moved, theta)

    def _seen(self, theta: Tensor, example: Tensor) -> Tensor:
        """Return what each gate sees of its own weight, (E, P)."""
        if self.sees == "weights":
            return theta
        spec = self.task.spec
        inputs, targets = math.prod(spec.inputs), math.prod(spec.targets)
        batch = Batch(
            example[:, :inputs].reshape(-1, 1, *spec.inputs),
            example[:, inputs : inputs + targets].reshape(-1, 1, *spec.targets),
        )
        order = self.rho > 0
        point = Point(self.task.model, self.task.loss, self.named(theta), batch, second_order=order, rho=self.rho)
        return stacked(point.grad) * example[:, -1:]

    def with_second_order(self, rho: float) -> Self:
        """Return this learner with a factor ``rho`` on the derivative of the gradients that its gates see."""
        if self.sees != "gradient":
            return super().with_second_order(rho)
        twin = copy.copy(self)
        twin.rho = rho
        return twin


def _check(task: Task, hidden: Sequence[int], order: str, after_separator: str, rank: int | None, sees: str) -> None:
    if task.spec.examples != 1:
        raise ValueError(
            f"learner weights_in_cell reads one example a step; {type(task).__name__} gives {task.spec.examples} "
            "at once"
        )
    if not hidden or min(hidden) < 1 or (rank is not None and rank < 1):
        raise ValueError(f"hidden and rank must be at least 1, and hidden not empty; not {list(hidden)} and {rank}")
    for name, value, known in (
        ("order", order, ("predict_then_update", "hochreiter")),
        ("after_separator", after_separator, ("moves", "frozen")),
        ("sees", sees, ("none", "weights", "gradient")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def _example(batch: Batch, answer: Tensor) -> Tensor:
    """Return [x, I·y, ŷ, I] of one step, (E, D + K + A + 1)."""
    shown = answer.new_ones(len(answer)) if batch.shown is None else batch.shown.to(answer)
    flag = shown.unsqueeze(1)
    # Selected, not multiplied, so that the value of a hidden target is never read, not even a NaN.
    targets = torch.where(flag > 0, batch.targets.flatten(1).to(answer), 0.0)
    return torch.cat([batch.inputs.flatten(1), targets, answer.flatten(1), flag], 1)


def _answers(task: Task) -> int:
    """Return the number of the model's outputs for one example."""
    with torch.no_grad():
        answer = task.model(task.model.init(1, generator(0)), torch.zeros(1, 1, *task.spec.inputs))
    return answer.numel()


def _is_known(model: Model) -> bool:
    """Whether the kernels support this model: affine, ReLU, affine to one number, logistic."""
    module = model.module
    kinds = (nn.Linear, nn.ReLU, nn.Linear, nn.Sigmoid)
    if not isinstance(module, nn.Sequential) or tuple(map(type, module)) != kinds:
        return False
    return bool(module[2].out_features == 1) and len(model.shapes) == 4
