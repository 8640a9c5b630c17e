"""Claims 6 and 7, and other ways to meta-train the learner: all for the same number of updates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.bosc2016.measures import ACCURACY, Losses, losses_of
from l2l_cli.papers.shared import Claim, listed
from l2l_cli.results.frame import Result, summarise
from l2l_cli.results.report import Section

PLAIN, BY_TEST, HOCHREITER = "J_all", "J_test", "Hochreiter's order"
"""The learner as it is; meta-trained by the loss of the test parts alone; with paper 1's order of events."""

HARDER = 0.02
"""Nats by which J_test must be behind, after as many updates, to be called much harder to train by."""

ALIKE = 0.01
"""Nats that make no difference."""

TEXT = (
    "The learner of the table and its variants, each meta-trained for the same number of updates, but for the "
    "paper's own recipe: SMORMS3 at 0.001 (its default, the paper's rate is lost), one data set an update.  Mixed "
    "samples are scored with training and test samples mixed at random as well.  The difference is the variant's loss "
    "less that of the learner as it is, paired over data sets, seeds averaged."
)


def variants(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge the variants; there is nothing to draw."""
    del folder
    losses = losses_of(rows)
    results = [_result(row, losses) for row in rows]
    if not losses.contenders:
        return Artefact(results)
    formats = {"loss": ".4f", "sd": ".3f", "accuracy": ".3f"}
    section = Section(
        "Variants of the learner", [TEXT, listed(_claims(losses))], [_table(rows, losses)], formats=formats
    )
    return Artefact(results, [section])


def _result(row: str, losses: Losses) -> Result:
    return summarise(("variants", row, "cross_entropy"), losses.seeds(row), None)


def _claims(losses: Losses) -> list[Claim]:
    return [
        _claim("Claim 6, J_all works where J_test is much harder to train by", losses, BY_TEST, HARDER),
        _claim("Claim 7, predicting before updating makes no difference to paper 1's order", losses, HOCHREITER, None),
    ]


def _claim(text: str, losses: Losses, variant: str, behind: float | None) -> Claim:
    """Judge whether a variant is behind by so much; with None, whether it is within ``ALIKE``."""
    if not (losses.has(PLAIN) and losses.has(variant)):
        return Claim(text, None, "")
    duel = losses.duel(variant, PLAIN)
    gap = duel.interval.value
    holds = gap >= behind if behind is not None else abs(gap) <= ALIKE
    means = f"{losses.mean(variant):.4f} against {losses.mean(PLAIN):.4f}"
    limit = f"much: {behind:g}" if behind is not None else f"none: up to {ALIKE:g}"
    return Claim(text, holds, f"{variant} {means}, difference {duel} ({limit})")


def _table(rows: Mapping[str, pd.DataFrame], losses: Losses) -> pd.DataFrame:
    right, lines = losses_of(rows, ACCURACY), []
    for name in losses.contenders:
        against = name != PLAIN and losses.has(PLAIN)
        frame = rows[name]
        lines.append(
            {
                "variant": name,
                "loss": losses.mean(name),
                "sd": float(np.mean(losses.spreads(name))),
                "accuracy": right.mean(name),
                "less J_all": str(losses.duel(name, PLAIN)) if against else "–",
                "updates": int(frame[frame.metric == "updates"].value.mean()),
                "seconds": float(frame[frame.metric == "seconds"].value.mean()),
                "seeds": len(losses.seeds(name)),
            }
        )
    return pd.DataFrame(lines)
