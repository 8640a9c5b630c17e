"""One colour a contender over all figures of this paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from l2l_cli.papers.drawing import legend, plain_numbers
from l2l_cli.papers.mlhf2018.measures import table_of
from l2l_cli.papers.mlhf2018.names import (
    AT_ONE,
    AT_RATIO,
    DEFAULT,
    FULL_STEPS,
    HF,
    JACOBI,
    KFAC,
    L2L,
    LM,
    MLHF,
    OURS,
    PLAIN,
    SHORT,
    TUNED,
    TWO,
    is_mlhf,
)
from l2l_cli.results.plot import COLOURS, LIMIT, STROKES, curves, decorate, panels, save

STYLES: Mapping[str, Mapping[str, Any]] = {
    "SGD": {"color": COLOURS[1], "linestyle": STROKES[3]},
    "SGD(m)": {"color": COLOURS[1]},
    "RMSprop": {"color": COLOURS[3]},
    "Adam": {"color": COLOURS[4]},
    KFAC: {"color": COLOURS[5]},
    HF: {"color": COLOURS[2]},
    LM: {"color": COLOURS[2], "linestyle": STROKES[1]},
    L2L: {"color": COLOURS[6]},
    FULL_STEPS: {"color": COLOURS[2]},
    PLAIN: {"color": COLOURS[1]},
    SHORT: {"color": COLOURS[4]},
    DEFAULT: {"color": COLOURS[0], "zorder": 4},
    JACOBI: {"color": LIMIT, "linestyle": (0, (4, 2)), "zorder": 4},
}
"""Blue is the paper's MLHF, black ours."""

RATE_STROKES = {TUNED: STROKES[0], AT_ONE: STROKES[1], AT_RATIO: STROKES[3]}

ABOVE = 1.15
"""What is above this multiple of the first loss is cut off."""


def styles_of(contenders: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return line properties by contender."""
    found = {name: _mlhf(name) if is_mlhf(name) else STYLES.get(name, {"color": LIMIT}) for name in contenders}
    return {name: {"linestyle": STROKES[0], **style} for name, style in found.items()}


def _mlhf(name: str) -> Mapping[str, Any]:
    stroke = next((stroke for rate, stroke in RATE_STROKES.items() if name.endswith(rate)), STROKES[2])
    if name.startswith(TWO):  # over one process's line, which it is to be
        return {"color": COLOURS[1], "linestyle": STROKES[2], "zorder": 5}
    return {"color": COLOURS[7] if name.startswith(OURS) else COLOURS[0], "linestyle": stroke, "zorder": 4}


def draw(
    axes: Axes,
    contenders: Mapping[str, pd.DataFrame],
    problem: str,
    metric: str = "loss",
    against: str = "updates",
    log: bool = False,
    limits: bool = True,
) -> None:
    """Draw one metric of all contenders against updates or seconds.

    Args:
        axes: Where.
        contenders: Measurements.
        problem: Which.
        metric: Along the vertical axis.
        against: "updates", or "seconds": each seed's mean curve over the mean seconds to the same step.
        log: Whether the vertical axis is logarithmic.
        limits: Cut off what is far above where all begin.
    """
    table = table_of(contenders, metric, problem)
    table = table.assign(value=table.value.where(np.isfinite(table.value)))
    if against == "seconds":
        seconds = table_of(contenders, "seconds", problem).groupby(["contender", "updates"]).value.mean()
        table = table.join(seconds.rename("seconds"), on=["contender", "updates"])
    order = [name for name in contenders if name in set(table.contender) and table[table.contender == name].value.any()]
    curves(axes, table, order, styles_of(order), x=against)
    if log:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    if limits and len(table):
        start, low = table[table.updates == table.updates.min()].value.median(), table.value.min()
        if np.isfinite(start) and low < start:
            axes.set_ylim(low - 0.05 * (start - low) if not log else low * 0.9, ABOVE * start)


def loss_panels(
    contenders: Mapping[str, pd.DataFrame], problem: str, path: Path, held: bool, log: bool = False
) -> None:
    """Draw training loss, on a logarithmic axis if asked for, and held-out loss and accuracy, if asked for."""
    figure, axes = panels(2 if held else 1, 2, height=3.0)
    draw(axes[0], contenders, problem, log=log)
    decorate(axes[0], "(a) against samples", "updates", "training cross-entropy")
    draw(axes[1], contenders, problem, against="seconds", log=log)
    decorate(axes[1], "(b) against seconds", "seconds", "", "x")
    if held:
        draw(axes[2], contenders, problem, "held_out_loss")
        decorate(axes[2], "ours: held-out pictures", "updates", "cross-entropy")
        draw(axes[3], contenders, problem, "held_out_accuracy", limits=False)
        decorate(axes[3], "ours: held-out pictures", "updates", "accuracy")
    legend(figure, axes, published=False, columns=4)
    save(figure, path)


def starts_with(contenders: Mapping[str, pd.DataFrame], *rows: str) -> dict[str, pd.DataFrame]:
    """Return the contenders whose names begin so."""
    return {name: frame for name, frame in contenders.items() if name.startswith(rows)}


def are_mlhf(contenders: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the forms of MLHF that were run."""
    return {name: frame for name, frame in starts_with(contenders, MLHF).items() if len(frame)}
