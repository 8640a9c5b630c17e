"""The treatment of hypotheses between two examples, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Upkeep:
    """The way in which functions change, and the hypotheses about them that are kept.

    Attributes:
        settle: Number of examples of a function after which only the likeliest component is kept; None keeps all.
        forgetting: Forgetting factor λ from one example to the next, at the start of meta-training; 1 forgets nothing
            and is not meta-learned.
        hazard: Probability that the function changes before an example, at the start of meta-training; 0 excludes
            changes and is not meta-learned.
        spare: Number of hypotheses that are kept besides those of a new function, where functions change.
    """

    settle: int | None = 32
    forgetting: float = 1.0
    hazard: float = 0.0
    spare: int = 32

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: A number is out of range, or both forgetting and hazard are set.
        """
        if self.spare < 1 or (self.settle is not None and self.settle < 1):
            raise ValueError(f"settle and spare must be at least 1, not {self.settle} and {self.spare}")
        if not 0 < self.forgetting <= 1 or not 0 <= self.hazard < 1:
            raise ValueError(
                f"forgetting must be in (0, 1] and hazard in [0, 1), not {self.forgetting} and {self.hazard}"
            )
        if self.forgetting < 1 and self.hazard > 0:
            raise ValueError("forgetting and hazard are two models of a changing function: set only one of them")
