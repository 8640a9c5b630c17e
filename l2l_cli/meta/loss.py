"""Meta-losses: functions of an episode's losses that meta-training minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from l2l_cli.core.errors import UsageError
from l2l_cli.core.types import Batches
from l2l_cli.optimizers.base import positive


class MetaLoss(ABC):
    """A map from the losses of a window, (T, E), to the objective that φ is to minimise, a mean over episodes."""

    @abstractmethod
    def __call__(self, losses: Tensor, reached: float, shown: Tensor | None = None) -> Tensor:
        """Return the meta-loss, ().

        Args:
            losses: Loss of each step and episode, (T, E).
            reached: Fraction of the episode that is over at the window's end, in (0, 1].
            shown: Mask of the targets that could be learned from, (T, E) of 0 and 1; None is all.
        """

    def count(self, batches: Batches) -> float:
        """Return the number of episodes in the mean, by which ranks weight their parts; by default all episodes."""
        return batches.targets.shape[1]


class Trajectory(MetaLoss):
    """The mean loss along the trajectory, in which all steps have the same weight.

    Source: Andrychowicz et al. 2016, eq. 3 with all w_t = 1; Hochreiter et al. 2001, §2; J_all of Bosc 2016, §2.
    """

    def __call__(self, losses: Tensor, reached: float, shown: Tensor | None = None) -> Tensor:
        """Average over steps and episodes."""
        del reached, shown
        return losses.mean()


class LogTrajectory(MetaLoss):
    """The mean of log(loss + epsilon), in which late, small losses count as much as early, large ones.

    Deviation: ours; under the plain mean the end of an episode hardly counts in a learned optimizer's meta-loss.

    Args:
        epsilon: Number that is added to losses.
        rising: Whether a window is weighted by the fraction of the episode that is over at its end (Andrychowicz et
            al. 2016, eq. 3 with w_t rising); a truncated window ignores the later effects of its steps, which does the
            most harm early on.
        end: Weight of the last tenth of a window that ends the episode, in [0, 1]; the whole window has the remaining
            weight.
    """

    def __init__(self, epsilon: float = 1e-3, rising: bool = False, end: float = 0.0) -> None:
        positive(epsilon=epsilon)
        if not 0 <= end <= 1:
            raise ValueError(f"end must lie in [0, 1], not {end}")
        self.epsilon, self.rising, self.end = epsilon, rising, end

    def __call__(self, losses: Tensor, reached: float, shown: Tensor | None = None) -> Tensor:
        """Average the logarithms over steps and episodes."""
        del shown
        logs = (losses + self.epsilon).log()
        value = logs.mean()
        if self.end and reached >= 1.0:
            value = (1.0 - self.end) * value + self.end * logs[-max(1, len(logs) // 10) :].mean()
        return (reached if self.rising else 1.0) * value


class LastStep(MetaLoss):
    """The loss at the end of the window only, w_t = 1[t = T].

    Source: Andrychowicz et al. 2016, §2, as an objective that truncation makes hard to train.
    """

    def __call__(self, losses: Tensor, reached: float, shown: Tensor | None = None) -> Tensor:
        """Average the last step over episodes."""
        del reached, shown
        return losses[-1].mean()


class HeldOut(MetaLoss):
    """The mean loss over the steps whose targets are hidden, first within each episode, then over episodes.

    Episodes without hidden targets in a window do not count in it; a window without any hidden targets gives 0.

    Source: J_test of Bosc 2016, §2, which finds meta-training by J_all (``Trajectory``) far easier.
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

    def count(self, batches: Batches) -> float:
        """Return the number of episodes that have hidden targets in the window."""
        return 0.0 if batches.shown is None else float((batches.shown < 1.0).any(0).sum())
