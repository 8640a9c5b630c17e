"""Output of evaluate and compare for tasks that hide targets: losses over the hidden steps, one value per episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from l2l_cli.evaluation.contest import Standing
from l2l_cli.evaluation.score import Scores
from l2l_cli.results.statistics import difference_of, over_episodes

COLUMN = "held-out loss"

MEANING = (
    "The held-out loss of an episode is the mean over the steps whose targets are hidden; sd is over episodes, "
    "intervals are 95 %, over episodes, and about these rules."
)


def row(scores: Scores) -> dict[str, float | str]:
    """Return the mean and standard deviation over episodes, the mean's interval, and the task's metrics."""
    values = scores.held_out
    mean = over_episodes(values.double().cpu().numpy())
    return {
        COLUMN: mean.value,
        "sd": values.std().item(),
        "95 % interval": mean.ends(".4g"),
        **{f"held-out {name}": scores.over_hidden(each).mean().item() for name, each in scores.metrics.items()},
    }


def against_the_best(standings: Mapping[str, Standing]) -> Sequence[str]:
    """Return the difference of each contender's mean held-out loss from the lowest one, with its paired interval."""
    values = {name: one.ends.cpu().numpy()[None] for name, one in standings.items()}
    best = min(values, key=lambda name: values[name].mean())
    return ["–" if name == best else difference_of(losses, values[best]).within() for name, losses in values.items()]
