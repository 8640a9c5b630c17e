"""A coordinatewise LSTM whose coordinates communicate through global averaging cells.

Source: Andrychowicz et al. 2016, appendix D: some cells of each layer are for communication; they work as usual, but
their outgoing activations are averaged over all coordinates at each step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from l2l_cli.core.types import Params
from l2l_cli.kernels.paths import Path
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.preprocess import Preprocess


class GlobalAveragingLSTM(CoordinatewiseLSTM):
    """A coordinatewise LSTM in which the last ``averaged`` units of each layer are global averaging cells.

    The output of such a unit (to the layer above, the head, and all units of its layer at the next step) is the mean of
    h over all coordinates of one episode; episodes do not communicate.  Its cell state c remains separate for each
    coordinate.  φ is as large as without them.  The paper's example of their use is L2 gradient clipping.

    Args:
        averaged: Global averaging cells of each layer, from 0 to ``hidden`` (the paper gives no number; ours: a half).
        hidden: Units of each layer, global averaging cells included.
        layers: Number of LSTM layers; see ``CoordinatewiseLSTM`` for this and all further arguments.
        preprocess: Map from a gradient to the features that the cell sees.
        output_scale: Factor on the head.
        forget_bias: Initial bias of the forget gates.
        initial_head: Factor on the head's initial weights.
        initial_seed: Seed of the initial weights.
    """

    def __init__(
        self,
        averaged: int = 10,
        hidden: int = 20,
        layers: int = 2,
        preprocess: Preprocess | None = None,
        output_scale: float = 1.0,
        forget_bias: float = 1.0,
        initial_head: float = 1.0,
        initial_seed: int = 0,
    ) -> None:
        super().__init__(hidden, layers, preprocess, output_scale, forget_bias, initial_head, initial_seed)
        if not 0 <= averaged <= hidden:
            raise ValueError(f"averaged must lie between 0 and the {hidden} hidden units of a layer, not {averaged}")
        self.averaged = averaged

    def outgoing(self, hidden: Tensor, grad: Params) -> Tensor:
        """Return h (H, C) with the last rows averaged over the coordinates of each episode."""
        episodes = len(next(iter(grad.values())))
        own, shared = torch.split(hidden, [self.hidden - self.averaged, self.averaged])
        pieces = torch.split(shared, [value.numel() for value in grad.values()], 1)
        by_episode = [piece.reshape(self.averaged, episodes, piece.shape[1] // episodes) for piece in pieces]
        mean = torch.cat(by_episode, 2).mean(2, keepdim=True)
        return torch.cat([own, torch.cat([mean.expand_as(piece).flatten(1) for piece in by_episode], 1)])

    def compiled_steps(self) -> Path:
        """Return the reason why there are none."""
        return Path(why_not="global averaging cells mix coordinates, which the kernels take one by one")
