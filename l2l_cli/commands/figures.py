"""The figures of evaluate and compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from l2l_cli.results.plot import curves, decorate, panels, save
from l2l_cli.results.report import Figure


def horizon_figure(frame: pd.DataFrame, folder: Path) -> Figure:
    """Draw the loss at each horizon that was scored, mean and median over episodes."""
    figure, axes = panels(1, 2)
    order = list(dict.fromkeys(frame.split))
    for panel, statistic in zip(axes, ("mean", "median"), strict=True):
        part = frame[(frame.metric == "loss") & (frame.episode == statistic)]
        curves(panel, part.assign(contender=part.split), order)
        decorate(panel, f"{statistic} over episodes", "step", "loss", "xy")
    axes[0].legend()
    save(figure, folder / "figures" / "horizons")
    return Figure(folder / "figures" / "horizons.png", "Loss against step on fresh test episodes, by horizon.")


def contenders_figure(frame: pd.DataFrame, order: Sequence[str], folder: Path) -> Figure:
    """Draw every contender's loss against step, mean and median over episodes."""
    figure, axes = panels(1, 2, height=3.2)
    for panel, statistic in zip(axes, ("mean", "median"), strict=True):
        curves(panel, frame[(frame.metric == "loss") & (frame.episode == statistic)], order)
        decorate(panel, f"{statistic} over episodes", "step", "loss", "xy")
        shown = frame[(frame.metric == "loss") & (frame.episode == statistic) & (frame.value > 0)].value
        start = frame[(frame.metric == "loss") & (frame.episode == "mean") & (frame.step == 1)].value.max()
        # A diverging contender or an exact one must not squeeze all the others into a line.
        panel.set_ylim(max(shown.min() * 0.7, start * 1e-5), min(shown.max(), 10 * start) * 1.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, folder / "figures" / "contenders")
    return Figure(
        folder / "figures" / "contenders.png",
        "Loss against step on the same fresh test episodes; bands span the evaluation seeds.",
    )
