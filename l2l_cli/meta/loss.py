"""Meta-losses: what is asked of an episode as a whole."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.optimizers.base import positive


class MetaLoss(ABC):
    """Maps the losses of a window, (T, E), to the number that φ is to make small."""

    @abstractmethod
    def __call__(self, losses: Tensor, reached: float, shown: Tensor | None = None) -> Tensor:
        """Return a scalar.

        Args:
            losses: (T, E).
            reached: Share of the episode that is over at the window's end, in (0, 1].
            shown: Whose targets could be learned from, (T, E) of 0 and 1; None: all.
        """


class Trajectory(MetaLoss):
    """The mean loss along the trajectory: every step counts alike.

    Source: Andrychowicz et al. 2016, eq. 3 with all w_t = 1; Hochreiter et al. 2001, §2; J_all of Bosc 2016, §2.
    """

    def __call__(self, losses: Tensor, reached: float, shown: Tensor | None = None) -> Tensor:
        """Average over steps and episodes."""
        del reached, shown
        return losses.mean()


class LogTrajectory(MetaLoss):
    """The mean of log(loss + epsilon): late, small losses count as much as early, large ones.

    Deviation: ours; under the plain mean a learned optimizer is hardly asked about the end of an episode.

    Args:
        epsilon: Added to losses.
        rising: Weigh a window by the share of the episode that is over at its end (Andrychowicz et al. 2016, eq. 3 with
            w_t rising): a truncated window does not know what its moves are good for later, and that hurts most early.
    """

    def __init__(self, epsilon: float = 1e-3, rising: bool = False) -> None:
        positive(epsilon=epsilon)
        self.epsilon = epsilon
        self.rising = rising

    def __call__(self, losses: Tensor, reached: float, shown: Tensor | None = None) -> Tensor:
        """Average the logarithms over steps and episodes."""
        del shown
        return (reached if self.rising else 1.0) * (losses + self.epsilon).log().mean()


class LastStep(MetaLoss):
    """The loss at the end of the window alone, w_t = 1[t = T].

    Source: Andrychowicz et al. 2016, §2, as the objective that truncation makes hard to train.
    """

    def __call__(self, losses: Tensor, reached: float, shown: Tensor | None = None) -> Tensor:
        """Average the last step over episodes."""
        del reached, shown
        return losses[-1].mean()


class HeldOut(MetaLoss):
    """The mean loss over the steps whose targets are hidden, of each episode first, then over episodes.

    Source: J_test of Bosc 2016, §2, which finds J_all, ``Trajectory``, far easier to meta-train by.  Episodes that hide
    nothing within a window do not count in it; a window in which none does gives 0.
    """

    def __call__(self, losses: Tensor, reached: float, shown: Tensor | None = None) -> Tensor:
        """Average over hidden steps, then over episodes.

        Raises:
            UsageError: The task hides nothing.
        """
        del reached
        if shown is None:
            raise UsageError(
                "HeldOut scores what a task hides, and this task hides nothing; use gradient.loss._target_="
                "l2l_cli.meta.loss.Trajectory or task=halfplanes"
            )
        hidden = 1.0 - shown
        counts = hidden.sum(0)
        return ((losses * hidden).sum(0) / counts.clamp(min=1.0)).sum() / (counts > 0).sum().clamp(min=1)
