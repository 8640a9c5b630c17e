"""The learning rules of 1997 to 2001: they move φ themselves, step by step, so they are not gradient estimators.

Source: Hochreiter, Younger and Conwell 2001, §3.1 and Table 1.

Deviation: the paper does not say whether its learning rates are on e² or on ½e²; ours are on e².  It gives a rate only
for the LSTM on B14, 0.001, which we use for every family.

Deviation: the paper does not say what a batch update averages over; ours sums the gradient over steps and sequences,
since its error is a sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

from l2l_cli.core.random import derive
from l2l_cli.core.types import Phase
from l2l_cli.kernels.seeds import layers, lstm1997, recurrent
from l2l_cli.learners.base import Learner
from l2l_cli.learners.logistic_network import LogisticNetwork, Recurrent
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.meta.horizon import Full, Horizon
from l2l_cli.tasks.base import Episode

MODES = {"online": layers.ONLINE, "sequence": layers.SEQUENCE, "batch": layers.BATCH}


MULTIPLY_ADDS = 2.5e10
"""Number of multiply-adds per second of the compiled rules on one core."""

SMALL = 1500
"""Largest number of weights for which eight seeds share the lanes."""


class Kernel(NamedTuple):
    """A module of ``l2l_cli.kernels`` (``network``, ``epoch``, ``move``), its sizes, and φ's names in its order."""

    module: Any
    sizes: Any
    names: tuple[str, ...]

    @property
    def lanes(self) -> int:
        """Number of seeds side by side that is fastest: eight small networks fit the first-level cache.

        It depends on the network alone: with another number of lanes, sums would be rounded differently, and a seed
        would give different digits alone and next to others.
        """
        return 8 if sum(rows * sources for rows, sources in self.sizes.shapes) <= SMALL else 1


class OnlineRule(ABC):
    """A rule that presents a set of sequences once per epoch, with the state reset before each, and moves φ as it goes.

    Args:
        update: Time at which weights move: after every step ("online", with traces carried on while the weights move),
            after every "sequence", or after every epoch ("batch"); gradients are summed over steps and sequences, as
            the paper's error is.
        sequences: Number of sequences in an epoch, where the task has no fixed set of its own.
        half: Whether to minimise ½e² rather than e², which halves the learning rate.
        horizon: Length of sequences over the course of training; None is the task's own length.
    """

    def __init__(
        self,
        update: Literal["online", "sequence", "batch"] = "online",
        sequences: int = 128,
        half: bool = False,
        horizon: Horizon | None = None,
    ) -> None:
        if sequences < 1:
            raise ValueError(f"sequences must be at least 1, not {sequences}")
        self.update, self.sequences, self.half = update, sequences, half
        self.horizon = horizon if horizon is not None else Full()

    @abstractmethod
    def kernel(self, learner: Learner[Any]) -> Kernel:
        """Return the compiled loops for a learner.

        Raises:
            ValueError: The rule belongs to another network.
        """

    def operations(self, learner: Learner[Any]) -> int:
        """Return about how many multiply-adds an epoch takes."""
        fixed = learner.task.training_set()
        sequences = self.sequences if fixed is None else len(fixed.batch(0).targets)
        return int(self.kernel(learner).sizes.operations) * sequences * learner.task.horizon

    def update_seconds(self, learner: Learner[Any], seeds: int) -> float:
        """Return about how many seconds an epoch of some seeds, side by side, takes on one core."""
        return self.operations(learner) * seeds / MULTIPLY_ADDS

    def presentation(self, learner: Learner[Any], seed: int, number: int) -> Episode:
        """Return the sequences of an epoch: the task's fixed set, or new ones."""
        fixed = learner.task.training_set()
        if fixed is not None:
            return fixed
        return learner.task.sample(self.sequences, derive(seed, "epoch", number), Phase.META_TRAIN)


class Truncated1997(OnlineRule):
    """The rule of the LSTM of 1997: errors are cut at all recurrent inputs, and traces carry the cells' derivatives."""

    def kernel(self, learner: Learner[Any]) -> Kernel:
        """Return the LSTM's kernel."""
        if not isinstance(learner, LSTM1997):
            raise ValueError(_foreign("truncated1997", "lstm1997", learner))
        sizes = lstm1997.LSTM1997Sizes(learner.hidden, learner.cells, len(learner.second), _one_output(learner))
        return Kernel(lstm1997, sizes, ("first", "second", "readout"))


class TruncatedBPTT(OnlineRule):
    """Back-propagates every step's error through the last k activations of the hidden layer; see ``OnlineRule``.

    Args:
        depth: Number k; 1 is Elman's rule, which treats the context as a mere input.
    """

    def __init__(
        self,
        depth: int = 2,
        update: Literal["online", "sequence", "batch"] = "online",
        sequences: int = 128,
        half: bool = False,
        horizon: Horizon | None = None,
    ) -> None:
        super().__init__(update, sequences, half, horizon)
        if depth < 1:
            raise ValueError(f"depth must be at least 1, not {depth}")
        self.depth = depth

    def kernel(self, learner: Learner[Any]) -> Kernel:
        """Return the recurrent layer's kernel."""
        return _recurrent("bptt2", learner, self.depth)


class RTRL(OnlineRule):
    """Real-time recurrent learning: the exact gradient, from derivatives of all activations carried forward in time."""

    def kernel(self, learner: Learner[Any]) -> Kernel:
        """Return the recurrent layer's kernel."""
        return _recurrent("rtrl", learner, 0)


def _recurrent(rule: str, learner: Learner[Any], depth: int) -> Kernel:
    if not isinstance(learner, Recurrent):
        raise ValueError(_foreign(rule, "recurrent", learner))
    return Kernel(
        recurrent, recurrent.RecurrentSizes(learner.hidden, _one_output(learner), depth), ("first", "readout")
    )


def _one_output(learner: LogisticNetwork[Any]) -> int:
    """Return the number of external inputs of a network with one output, as the kernels require."""
    if learner.targets != 1:
        raise ValueError(f"the rules of 1997 are compiled for one target, and this task has {learner.targets}")
    return learner.external


def _foreign(rule: str, owner: str, learner: Learner[Any]) -> str:
    return f"gradient={rule} is the rule of learner={owner}, not of {type(learner).__name__}; try gradient=backprop"
