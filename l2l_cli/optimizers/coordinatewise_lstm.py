"""The learned optimizer: one small LSTM, applied to all coordinates, each of which has its own state.

Source: Andrychowicz et al. 2016, §2.1: θ_{t+1} = θ_t + g_t,  [g_t; h_{t+1}] = m(∇_t, h_t, φ).
Names: φ → ``parameters()``; θ → ``params``; ∇ → ``grad``; h → ``LSTMStates``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from l2l_cli.core.episodes import Pieces
from l2l_cli.core.random import generator, uniform
from l2l_cli.core.types import Params
from l2l_cli.core.vectors import flattened, unflattened
from l2l_cli.kernels.gpu.coordinatewise import DeviceArena
from l2l_cli.kernels.paths import Path
from l2l_cli.kernels.weights import Weights
from l2l_cli.optimizers.base import FirstOrder, positive
from l2l_cli.optimizers.compiled import CompiledSteps, Fitting, Unroll
from l2l_cli.optimizers.fast.lstm_steps import LSTMSteps
from l2l_cli.optimizers.fast.unroll_cuda import CudaUnroll, Options, obstacle
from l2l_cli.optimizers.lstm_cell import LSTMCell, LSTMStates
from l2l_cli.optimizers.preprocess import Identity, Preprocess


class CoordinatewiseLSTM(FirstOrder[LSTMStates]):
    """A recurrent network with weights shared over coordinates and a linear head to the displacement.

    All coordinates of all E problems form one batch of the cell: C = Σ E · coordinates.

    Args:
        hidden: Units of each layer; 20 in the paper.
        layers: Number of LSTM layers; 2 in the paper.
        preprocess: Map from a gradient to the cell's features; None is the identity, the paper's choice for quadratics.
        output_scale: Factor on the head; in the paper 1 for quadratics and 0.1 for MNIST.
        forget_bias: Initial bias of the forget gates (ours: 1, as in the authors' later code).
        initial_head: Factor on the head's initial weights.  A rule whose first moves are random learns to stand still,
            and then gets little signal about where to go; with small weights it begins almost still, but free to move.
        initial_seed: Seed of the initial weights.
    """

    def __init__(
        self,
        hidden: int = 20,
        layers: int = 2,
        preprocess: Preprocess | None = None,
        output_scale: float = 1.0,
        forget_bias: float = 1.0,
        initial_head: float = 1.0,
        initial_seed: int = 0,
    ) -> None:
        super().__init__()
        if hidden < 1 or layers < 1:
            raise ValueError(f"hidden and layers must be at least 1, not {hidden} and {layers}")
        positive(output_scale=output_scale, initial_head=initial_head)
        self.hidden, self.output_scale = hidden, output_scale
        self.preprocess = preprocess if preprocess is not None else Identity()
        widths = [self.preprocess.width] + [hidden] * (layers - 1)
        self.cells = nn.ModuleList(LSTMCell(width, hidden) for width in widths)
        self.head = nn.Linear(hidden, 1)
        self._reset(forget_bias, initial_head, initial_seed)
        self._steps, self._arena = LSTMSteps(self.weights, self.preprocess), DeviceArena()

    def _reset(self, forget_bias: float, head: float, seed: int) -> None:
        rng = generator(seed, "coordinatewise_lstm")
        bound = self.hidden**-0.5
        with torch.no_grad():
            for value in self.parameters():
                value.copy_(uniform(tuple(value.shape), -bound, bound, rng))
            for name, value in self.named_parameters():
                if name.endswith("bias") and name.startswith("cells"):
                    value[self.hidden : 2 * self.hidden] += forget_bias
            for value in self.head.parameters():
                value.mul_(head)

    def init(self, params: Params) -> LSTMStates:
        """Start every coordinate from a zero state."""
        count = sum(value.numel() for value in params.values())
        zero = self.head.weight.new_zeros(len(self.cells), self.hidden, count)
        return LSTMStates(zero, zero, self.preprocess.begin(self.head.weight.new_zeros(count)))

    def pieces(self, params: Params) -> Pieces:
        """Return one piece for each parameter: their coordinates lie one parameter after the other."""
        return {"": [value.numel() for value in params.values()]}

    def update(self, grad: Params, memory: LSTMStates) -> tuple[Params, LSTMStates]:
        """Return g_t, shaped as the parameters."""
        below, seen = self.preprocess.show(flattened(grad), memory.seen)
        hidden, cell = [], []
        for layer, *before in zip(self.cells, memory.hidden, memory.cell, strict=True):
            below, content = layer(below, *before)
            below = self.outgoing(below, grad)
            hidden.append(below)
            cell.append(content)
        moves = self.output_scale * (self.head.weight @ below + self.head.bias).squeeze(0)
        return unflattened(moves, grad), LSTMStates(torch.stack(hidden), torch.stack(cell), seen)

    def outgoing(self, hidden: Tensor, grad: Params) -> Tensor:
        """Return what a layer passes on of its activations h (H, C), at ``grad``'s coordinates: here, h itself."""
        del grad
        return hidden

    def weights(self) -> Weights:
        """Return φ in the form that kernels take."""
        *cells, head, bias = self.parameters()
        layers = [cells[k : k + 3] for k in range(0, len(cells), 3)]
        return Weights(layers, (head, bias), self.output_scale, self.preprocess.presentation)

    def compiled_steps(self) -> CompiledSteps[LSTMStates] | Path:
        """Return the CPU's kernels."""
        if type(self) is not CoordinatewiseLSTM:
            return Path(why_not=f"{type(self).__name__} may do what the kernels of CoordinatewiseLSTM do not")
        if self.head.weight.device.type != "cpu":
            return Path(why_not="the GPU's kernels know one LSTM for all parameters, not one for each type")
        return self._steps

    def compiled(self, fitting: Fitting) -> Unroll[LSTMStates] | Path:
        """Return the path by the CPU's or the GPU's kernels, if gradients can be taken as data."""
        on_gpu = self.head.weight.device.type == "cuda" and type(self) is CoordinatewiseLSTM
        if not fitting.paths.compiled or not on_gpu:
            return super().compiled(fitting)
        weights = self.weights()
        why_not = fitting.obstacle_for(self) or obstacle(weights, fitting.paths.state_dtype)
        return Path(why_not=why_not) if why_not else CudaUnroll(fitting, weights, Options(self._arena))
