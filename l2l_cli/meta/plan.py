"""The plan of a meta-training run, as plain values, so that reading a configuration loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

DROPS = (0.6, 0.76, 0.88)
"""Fractions of the updates after which "steps" divides the learning rate by ten: epochs 150, 190 and 220 of 250."""

CRITERIA = ("mean", "end", "final", "held_out")
"""Means of an episode's loss over all steps, the last tenth, the last step, or those whose targets are hidden."""


@dataclass
class MetaPlan:
    """The plan of a meta-training run.

    Attributes:
        updates: Number of updates of φ.
        warmup: Number of updates over which the learning rate rises linearly to its full value.
        schedule: Course of the learning rate after that: "cosine" lowers it to ``floor`` of the full value; "constant"
            keeps it; "steps" divides it by ten after 60 %, 76 % and 88 % of the updates (the code of Chen and Lu 2018).
        floor: Final learning rate of "cosine" as a fraction of the full one.
        clip: Largest Euclidean norm of a meta-gradient; None does not clip.
        clip_relative: Whether ``clip`` is in multiples of φ's own norm.
        average: Decay of a running mean of φ, which is then validated and kept; 0 keeps φ itself.
        validate_every: Number of updates between validations.
        patience: Number of validations without improvement after which training stops; None never stops early.
        criterion: Loss that validation minimises: the "mean" over an episode, that of its "end", the last tenth, that
            of its "final" step, or that of its "held_out" steps, whose targets are hidden; None is "held_out" for a
            task that hides targets, otherwise "mean".
        validation_episodes: Number of meta-valid episodes, the same at each validation.
        validation_steps: Number of steps of these episodes; None is the task's horizon.
        checkpoint_every: Seconds between checkpoints.
    """

    updates: int = 1000
    warmup: int = 30
    schedule: str = "cosine"
    floor: float = 0.01
    clip: float | None = 1.0
    clip_relative: bool = False
    average: float = 0.0
    validate_every: int = 100
    patience: int | None = None
    criterion: str | None = None
    validation_episodes: int = 128
    validation_steps: int | None = None
    checkpoint_every: float = 30.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: A value is out of range; the message names the key and its range.
        """
        for name, low in {"updates": 1, "validate_every": 1, "validation_episodes": 1, "warmup": 0}.items():
            _require(getattr(self, name) >= low, name, f"at least {low}", self)
        for name in ("patience", "validation_steps"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "at least 1 or null", self)
        _require(self.schedule in ("cosine", "constant", "steps"), "schedule", "cosine, constant or steps", self)
        _require(self.criterion in (None, *CRITERIA), "criterion", f"null, {', '.join(CRITERIA)}", self)
        _require(0 <= self.floor <= 1, "floor", "in [0, 1]", self)
        _require(0 <= self.average < 1, "average", "in [0, 1)", self)
        _require(self.clip is None or self.clip > 0, "clip", "above 0 or null", self)
        _require(self.checkpoint_every > 0, "checkpoint_every", "above 0 seconds", self)


def _require(holds: bool, name: str, wanted: str, plan: MetaPlan) -> None:
    if not holds:
        raise ValueError(f"meta.{name} must be {wanted}, not {getattr(plan, name)!r}")
