"""What evaluate and compare say where a task hides targets: losses over the hidden steps, one number an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l2l_cli.evaluation.score import Scores
from l2l_cli.results.frame import bootstrap_interval, paired_bootstrap

COLUMN = "held-out loss"

MEANING = (
    "The held-out loss of an episode is the mean over the steps whose targets are hidden; sd is over episodes, "
    "intervals are 95 %, bootstrapped over episodes."
)


def row(scores: Scores) -> dict[str, Any]:
    """Return mean and standard deviation over episodes, the mean's interval, and the task's metrics."""
    values = scores.held_out
    found = bootstrap_interval(values.tolist())
    return {
        COLUMN: found.value,
        "sd": values.std().item(),
        "95 % interval": f"{found.low:.4g} … {found.high:.4g}",
        **{f"held-out {name}": scores.over_hidden(each).mean().item() for name, each in scores.metrics.items()},
    }


def against_the_best(scores: Mapping[str, Scores]) -> Sequence[str]:
    """Return each contender's mean held-out loss less the lowest one's, with its paired interval."""
    values = {name: one.held_out.tolist() for name, one in scores.items()}
    best = min(scores, key=lambda name: scores[name].by("held_out"))
    texts = []
    for name, own in values.items():
        found = paired_bootstrap(own, values[best])
        texts.append("–" if name == best else f"{found.value:+.4f} ({found.low:+.4f} … {found.high:+.4f})")
    return texts
