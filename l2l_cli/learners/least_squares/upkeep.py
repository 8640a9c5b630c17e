"""What becomes of hypotheses between two examples, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Upkeep:
    """How functions go on, and which hypotheses about them are kept.

    Attributes:
        settle: Examples of a function after which the likeliest component alone goes on; None lets all go on.
        forgetting: Share λ of what is known that stays from one example to the next, at the start of meta-training;
            1 forgets nothing, and is fixed.
        hazard: Probability that the function changes before an example, at the start of meta-training; 0 excludes
            that, and is fixed.
        spare: Hypotheses beside those of a new function that are kept where functions change.
    """

    settle: int | None = 32
    forgetting: float = 1.0
    hazard: float = 0.0
    spare: int = 32

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: A number is out of range, or functions change in two ways.
        """
        if self.spare < 1 or (self.settle is not None and self.settle < 1):
            raise ValueError(f"settle and spare must be at least 1, not {self.settle} and {self.spare}")
        if not 0 < self.forgetting <= 1 or not 0 <= self.hazard < 1:
            raise ValueError(
                f"forgetting must be in (0, 1] and hazard in [0, 1), not {self.forgetting} and {self.hazard}"
            )
        if self.forgetting < 1 and self.hazard > 0:
            raise ValueError("forgetting and hazard are two models of a changing function: set only one of them")
