"""Beyond the paper: how losses depend on the noise and on the dimension."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.bosc2016.measures import Losses, losses_of
from l2l_cli.papers.bosc2016.published import LEARNED
from l2l_cli.papers.shared import BASE, tuning_sections
from l2l_cli.results.frame import Result, summarise
from l2l_cli.results.plot import curves, decorate, panels, save
from l2l_cli.results.report import Figure, Section

TITLE = "Beyond the paper: noise and dimension"

TEXT = (
    "Noise: the learner of the table, meta-trained at one noise, on test data sets of others; every other contender is "
    "fitted or tuned there.  Dimension: a learner is meta-trained for each, since it has a cell for each weight."
)


def beyond(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw the losses against the noise and against the dimension."""
    losses = losses_of(rows)
    results = [_result(row, problem, losses) for row in rows for problem in _problems(row, losses)]
    if not losses.contenders:
        return Artefact(results)
    frames = {"noise": _by_noise(losses), "dimension": _by_dimension(losses)}
    figure, axes = panels(1, 2, height=3.2)
    order = list(dict.fromkeys([*frames["noise"].contender, *frames["dimension"].contender]))
    for panel, (name, frame) in zip(axes, frames.items(), strict=True):
        curves(panel, frame, order, {LEARNED: {"linewidth": 2.4}}, x=name)
        decorate(panel, "", "mean variance of the noise" if name == "noise" else "inputs d", "held-out loss")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    save(figure, folder / "figures" / "beyond")
    drawn = Figure(folder / "figures" / "beyond.png", "Held-out loss against noise and dimension; bands: seeds.")
    tables = [_wide(frame, name) for name, frame in frames.items()]
    sections = [Section(TITLE, [TEXT], tables, [drawn])]
    return Artefact(results, [*sections, *tuning_sections(TITLE, rows, "Tuned on tune data sets of each problem.")])


def _problems(row: str, losses: Losses) -> list[str]:
    return [problem for problem in losses.problems if losses.has(row, problem)] or [BASE]


def _result(row: str, problem: str, losses: Losses) -> Result:
    name = row if problem == BASE else f"{row}, {problem}"
    return summarise(("beyond", name, "cross_entropy"), losses.seeds(row, problem), None)


def _by_noise(losses: Losses) -> pd.DataFrame:
    """Return the losses on the problems called "noise …", in long form."""
    return _long(
        {
            (contender, float(problem.split()[1]), seed): value
            for contender, problem in losses.at
            if problem.startswith("noise ")
            for seed, value in enumerate(losses.seeds(contender, problem))
        },
        "noise",
    )


def _by_dimension(losses: Losses) -> pd.DataFrame:
    """Return the losses of the rows called "…, d = …", in long form."""
    return _long(
        {
            (row.partition(", d = ")[0], float(row.partition(", d = ")[2]), seed): value
            for row, problem in losses.at
            if problem == BASE and ", d = " in row
            for seed, value in enumerate(losses.seeds(row, problem))
        },
        "dimension",
    )


def _long(values: Mapping[tuple[str, float, int], float], name: str) -> pd.DataFrame:
    table = [(*key, value) for key, value in values.items()]
    return pd.DataFrame(table, columns=["contender", name, "seed", "value"])


def _wide(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    wide = frame.pivot_table(index="contender", columns=name, values="value", sort=False).reset_index()
    wide.columns = ["contender", *(f"{name} {value:g}" for value in wide.columns[1:])]
    return wide
