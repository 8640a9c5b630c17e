"""Figure 3: what RNN_p is worth, by leaving it out and by the number of iterations.

Each configuration is meta-trained and then runs by itself, so that no two solve the same systems.  l_p is lower where
RNN_s infers less damping, whatever RNN_p does; so ours is also the *efficiency*: l_p as a share of what a
near-converged solution of the same system has, from the same start, 1 at best.

Deviation: at scale short the network is the reduced one of figure 1, where the paper has its small residual network,
and each configuration is meta-trained for fewer updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.drawing import legend
from l2l_cli.papers.mlhf2018.looks import CONVERGED, EFFICIENCY, RELATIVE, RESIDUAL, SOLVER
from l2l_cli.papers.mlhf2018.measures import ABLATION, last_of, table_of
from l2l_cli.papers.mlhf2018.names import AT_ONE, DEFAULT, FULL_STEPS, JACOBI, PLAIN, SHORT, variant
from l2l_cli.papers.mlhf2018.style import draw
from l2l_cli.papers.shared import Claim, listed
from l2l_cli.results.frame import Result, summarise
from l2l_cli.results.plot import decorate, panels, save
from l2l_cli.results.report import Figure, Section

ALIKE = 0.05
"""Efficiencies up to so far apart count as about the same."""

BAD = 0.10
"""An efficiency so far below that of the default is bad."""

LOOSE = 10.0
"""A residual this many times that of the near-exact configuration, relative to ‖g‖ each, is far from converged."""

TEXT = (
    "Every configuration is meta-trained as itself, goes at learning rate 1, and is looked into at the same steps.  "
    f"*Efficiency* is l_p ÷ that of {CONVERGED} iterations with P = 1/ŝ on the same system.  *Jacobi* is a control: "
    "P = 1/ŝ with nothing learned about it."
)


def figure3(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge the orderings one by one, and draw l_p, ‖r_n‖ and the efficiency."""
    configurations = {row: _as_row(row, frame) for row, frame in rows.items()}
    results = _results(configurations)
    run = {row: frame for row, frame in configurations.items() if len(frame)}
    if not run:
        return Artefact(results)
    path = folder / "figures" / "figure3"
    _draw(run, path)
    caption = "(a) l_p, lower is better; (b) ‖r_n‖; ours, l_p as a share of a near-converged solution's, 1 is best."
    drawn = [Figure(path.with_suffix(".png"), caption)]
    section = Section("Figure 3: ablation", [TEXT, listed(claims(run))], [_table(run)], drawn, FORMATS)
    return Artefact(results, [section])


def _as_row(row: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Call a configuration by its row: all go at one learning rate."""
    return frame.assign(contender=frame.contender.replace(variant(row, AT_ONE), row)) if len(frame) else frame


def _means(configurations: Mapping[str, pd.DataFrame], metric: str) -> dict[str, list[float]]:
    """Return one metric by configuration, each seed's mean over the steps."""
    table = table_of(configurations, metric, ABLATION)
    groups = table.groupby("contender", sort=False) if len(table) else ()
    return {str(name): part.groupby("seed").value.mean().tolist() for name, part in groups}


def _results(configurations: Mapping[str, pd.DataFrame]) -> list[Result]:
    efficiency, solver = (_means(configurations, metric) for metric in (EFFICIENCY, SOLVER))
    found = []
    for row in configurations:
        key = ("figure3", row)
        note = "limit: the same systems solved for long"
        values = efficiency.get(row, [])
        found.append(summarise((*key, EFFICIENCY), values, None, 1.0, note, lower_is_better=False))
        found.append(summarise((*key, SOLVER), solver.get(row, []), None))
    return found


def _draw(configurations: Mapping[str, pd.DataFrame], path: Path) -> None:
    figure, axes = panels(1, 3, height=3.0)
    for panel, (metric, title, log) in zip(
        axes,
        ((SOLVER, "(a) l_p", False), (RESIDUAL, "(b) mean ‖r_n‖", True), (EFFICIENCY, "ours: efficiency", False)),
        strict=True,
    ):
        draw(panel, configurations, ABLATION, metric, log=log, limits=False)
        decorate(panel, title, "updates", "")
    legend(figure, axes, published=False)
    save(figure, path)


FORMATS = {"l_p": ".3f", "efficiency": ".3f", "loss": ".3f", "seconds ÷ default's": ".2f"}
"""Of the table."""


def _table(configurations: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    found = {metric: _means(configurations, metric) for metric in (SOLVER, EFFICIENCY, RESIDUAL, RELATIVE)}
    loss = last_of(configurations, "loss", ABLATION)
    seconds = last_of(configurations, "seconds", ABLATION)
    return pd.DataFrame(
        [
            {
                "configuration": row,
                "l_p": np.mean(found[SOLVER][row]),
                "efficiency": np.mean(found[EFFICIENCY][row]),
                "‖r_n‖": np.mean(found[RESIDUAL][row]),
                "‖r_n‖ ÷ ‖g‖": np.mean(found[RELATIVE][row]),
                "loss": loss[row],
                "seconds ÷ default's": seconds[row] / seconds.get(DEFAULT, np.nan),
                "seeds": len(found[SOLVER][row]),
            }
            for row in configurations
        ]
    )


def claims(configurations: Mapping[str, pd.DataFrame]) -> list[Claim]:
    """Judge claim 4, one ordering after the other, by the efficiency; l_p itself is said beside it."""
    return [
        _alike("Claim 4, n = 4 with RNN_p is about as good as n = 20 without", configurations, FULL_STEPS),
        _loose("Claim 4, its residual is far from converged, that of n = 20 is not", configurations),
        _bad("Claim 4, n = 4 without RNN_p is bad", configurations, PLAIN),
        _bad("Claim 4, n = 2 with RNN_p is bad", configurations, SHORT),
        _alike("Ours, RNN_p does better than the control P = 1/ŝ", configurations, JACOBI, better=True),
    ]


def _pair(configurations: Mapping[str, pd.DataFrame], metric: str, other: str) -> tuple[float, float] | None:
    """Return one metric of the default and of another configuration, means over seeds and steps."""
    found = _means(configurations, metric)
    if DEFAULT not in found or other not in found:
        return None
    return float(np.mean(found[DEFAULT])), float(np.mean(found[other]))


def _evidence(configurations: Mapping[str, pd.DataFrame], other: str, mark: str) -> str:
    efficiency, solver = (_pair(configurations, metric, other) for metric in (EFFICIENCY, SOLVER))
    assert efficiency is not None
    assert solver is not None
    return (
        f"efficiency {efficiency[0]:.3f} against {efficiency[1]:.3f} (mark: {mark}); l_p {solver[0]:.3f} against "
        f"{solver[1]:.3f}"
    )


def _alike(text: str, configurations: Mapping[str, pd.DataFrame], other: str, better: bool = False) -> Claim:
    """Judge whether the default is about as efficient as another configuration, or better than it by as much."""
    found = _pair(configurations, EFFICIENCY, other)
    if found is None:
        return Claim(text, None, "")
    gap = found[0] - found[1]
    mark = f"above by more than {ALIKE:g}" if better else f"within {ALIKE:g}, or above"
    return Claim(text, gap > ALIKE if better else gap >= -ALIKE, _evidence(configurations, other, mark))


def _bad(text: str, configurations: Mapping[str, pd.DataFrame], other: str) -> Claim:
    found = _pair(configurations, EFFICIENCY, other)
    if found is None:
        return Claim(text, None, "")
    return Claim(text, found[0] - found[1] >= BAD, _evidence(configurations, other, f"behind by {BAD:g}"))


def _loose(text: str, configurations: Mapping[str, pd.DataFrame]) -> Claim:
    found = _pair(configurations, RELATIVE, FULL_STEPS)
    if found is None:
        return Claim(text, None, "")
    evidence = f"‖r_n‖ ÷ ‖g‖ {found[0]:.2g} against {found[1]:.2g} (mark: {LOOSE:g} times)"
    return Claim(text, found[0] >= LOOSE * found[1], evidence)
