"""Two learned optimizers for one network, each with weights shared over the coordinates of one type.

Source: Andrychowicz et al. 2016, §3.3: on CIFAR-10 one LSTM proposes updates for the convolutional layers, another one
for the fully connected layers; a single LSTM was not enough.
"""

from __future__ import annotations

from typing import Any, ClassVar

from l2l_cli.core.episodes import Pieces
from l2l_cli.core.types import Params
from l2l_cli.kernels.paths import REFERENCE, Path
from l2l_cli.optimizers.base import FirstOrder
from l2l_cli.optimizers.compiled import Fitting, Unroll
from l2l_cli.optimizers.fast.unroll_cpu import UnrollByType

CONV_RANK = 5
"""Number of axes (E, out, in, height, width) of convolutions' filters; parameters with fewer are of the other type."""


class PerType(FirstOrder[dict[str, Any]]):
    """A rule for the filters of convolutions and another one for all other parameters, with a memory for each type.

    A network without convolutions is moved by ``fc`` alone, and the meta-gradient of ``conv`` is zero there.
    The paper leaves open which rule moves biases and batch-norm offsets; as in the authors' code it is ``fc``.

    Args:
        conv: Rule for the filters of convolutions.
        fc: Rule for everything else.
    """

    may_rest: ClassVar[bool] = True

    def __init__(self, conv: FirstOrder[Any], fc: FirstOrder[Any]) -> None:
        super().__init__()
        self.conv, self.fc = conv, fc

    @property
    def rules(self) -> dict[str, FirstOrder[Any]]:
        """The rules by type, in the order of φ."""
        return {"conv": self.conv, "fc": self.fc}

    def split(self, params: Params) -> dict[str, Params]:
        """Return the parameters (E, ...) by type, in the order of φ; a type that does not occur is left out."""
        conv = {name: value for name, value in params.items() if value.ndim >= CONV_RANK}
        rest = {name: value for name, value in params.items() if value.ndim < CONV_RANK}
        return {name: group for name, group in {"conv": conv, "fc": rest}.items() if group}

    def init(self, params: Params) -> dict[str, Any]:
        """Return the memories of the rules whose type occurs."""
        return {name: self.rules[name].init(group) for name, group in self.split(params).items()}

    def pieces(self, params: Params) -> Pieces:
        """Return the pieces of the rules whose type occurs."""
        return {
            f".{name}{part}": sizes
            for name, group in self.split(params).items()
            for part, sizes in self.rules[name].pieces(group).items()
        }

    def update(self, grad: Params, memory: dict[str, Any]) -> tuple[Params, dict[str, Any]]:
        """Return each rule's displacement of its own parameters."""
        moves: Params = {}
        after = {}
        for name, group in self.split(grad).items():
            moved, after[name] = self.rules[name].update(group, memory[name])
            moves |= moved
        return moves, after

    def step_compiled(
        self, grad: Params, params: Params, memory: dict[str, Any]
    ) -> tuple[Params, dict[str, Any]] | None:
        """Return the next parameters and memory by both rules' compiled steps; None if one has none."""
        moved: Params = {}
        after = {}
        for name, group in self.split(params).items():
            found = self.rules[name].step_compiled({key: grad[key] for key in group}, group, memory[name])
            if found is None:
                return None
            moved |= found[0]
            after[name] = found[1]
        return moved, after

    def compiled(self, fitting: Fitting) -> Unroll[dict[str, Any]] | Path:
        """Return the path by both rules' compiled steps, if both have some and gradients can be taken as data."""
        if not fitting.paths.compiled:
            return REFERENCE
        found = {name: rule.compiled_steps() for name, rule in self.rules.items()}
        steps = {name: each for name, each in found.items() if not isinstance(each, Path)}
        if len(steps) < len(found):
            return max((each for each in found.values() if isinstance(each, Path)), key=lambda path: path.why_not)
        why_not = fitting.obstacle_for(self)
        return Path(why_not=why_not) if why_not else UnrollByType(fitting, steps, self.split)
