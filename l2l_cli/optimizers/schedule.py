"""Schedules of learning rates, for every rule that has one."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal, TypeVar, get_args

from torch import nn

Schedule = Literal["constant", "cosine", "linear"]
"""Courses of a learning rate over an episode: constant, or falling to zero along half a cosine or a straight line."""

Rule = TypeVar("Rule", bound=nn.Module)


def half_cosine(share: float) -> float:
    """Return ½ · (1 + cos(π · share)), which falls from 1 to 0 as the share of the steps goes from 0 to 1."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """Return the factor on the learning rate at a step, counted from 0.

    The last of the planned steps still moves: a falling rate reaches zero only at the step after it, and stays there.
    """
    share = min(1.0, step / steps)
    return {"constant": 1.0, "cosine": half_cosine(share), "linear": 1.0 - share}[schedule]


def check(rule: nn.Module, schedule: Schedule) -> None:
    """Check that a rule can have a schedule.

    Raises:
        ValueError: There is no such schedule, or the rule has no learning rate that could follow it, or is learned.
    """
    if schedule not in get_args(Schedule):
        raise ValueError(f"schedule must be one of {', '.join(get_args(Schedule))}, not {schedule!r}")
    if schedule == "constant":
        return
    name = type(rule).__name__
    if any(True for _ in rule.parameters()):
        raise ValueError(f"schedule={schedule} is for hand-made rules, but {name} is learned; use schedule=constant")
    if rate_of(rule) is None:
        raise ValueError(f"schedule={schedule} needs a learning rate lr, but {name} has none; use schedule=constant")


def at_step(rule: Rule, schedule: Schedule, step: int, steps: int) -> Rule:
    """Return the rule with the learning rate of a step: the rule itself if the rate is constant, or else a copy.

    The copy shares all else with the rule, which must read its rate ``lr`` at every step.
    """
    if schedule == "constant":
        return rule
    return at_rate(rule, factor(schedule, step, steps) * (rate_of(rule) or 0.0))


def rate_of(rule: nn.Module) -> float | None:
    """Return the learning rate of a rule; None if it has none."""
    rate = getattr(rule, "lr", None)
    return rate if isinstance(rate, int | float) else None


def at_rate(rule: Rule, rate: float) -> Rule:
    """Return a copy of a rule with another learning rate; all else is shared."""
    changed: Any = copy.copy(rule)
    changed.lr = rate
    twin: Rule = changed
    return twin
