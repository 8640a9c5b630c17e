"""Beyond the paper: one and the same run, each of its batches answered by one process and by two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.measured import Measured, name_of
from l2l_cli.papers.mlhf2018.drawing import draw
from l2l_cli.papers.mlhf2018.measures import AT_ONE
from l2l_cli.papers.mlhf2018.track import SECONDS
from l2l_cli.papers.panels import legend
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.plot import STROKES, decorate, panels
from l2l_cli.results.standings import last_values

SAME = 1e-3
"""Largest relative difference of the losses over the first tenth of the run that counts as rounding."""

TEXT = (
    "With `hardware.replicas=2` every forward pass, gradient and Gauss-Newton product is divided over two processes, "
    "half the images each, and joined again.  In float64 both runs agree to 1e-12, which a test holds; in float32 "
    "sums of another order differ in their last digits, and conjugate gradients carry that on, step by step.  Seconds "
    "are those of the first process, which also runs the networks and the iterations."
)


class Parallel(Artefact):
    """A run on one process and on several.

    Deviation: the paper leaves data-parallel MLHF to future work; that both runs are one is ours to show.

    Args:
        one: Row of the run on one process.
        several: Row of the same run on several processes.
    """

    def __init__(self, one: str, several: str) -> None:
        self.one, self.several = one, several

    def refers_to(self) -> Sequence[str]:
        """Return both rows."""
        return [self.one, self.several]

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw both runs."""
        problem = next(iter(measured.standings().problems), "")
        table = measured.curves(problem)
        one, several = (name_of(row, AT_ONE) for row in self.refers_to())
        if not {one, several} <= set(table.contender):
            return Findings([measured.result(name, "difference", []) for name in measured.rows])
        alone, divided = (table[table.contender == name].groupby("updates").value.mean() for name in (one, several))
        apart: pd.Series[float] = (divided - alone).abs() / alone
        steps, last = int(apart.index.max()), float(apart.iloc[-1])
        first = float(apart[apart.index <= max(steps // 10, apart.index.min())].max())
        results = [
            measured.result(several, "difference", [first], note="relative, over the first tenth of the run"),
            measured.result(several, "difference at the end", [last]),
        ]
        evidence = f"relative differences of {first:.1e} over the first tenth of the run, {last:.1e} at its end"
        holds = bool(np.isfinite(first) and first <= SAME)
        claim = Claim("Ours, two processes are one with the joined batch", holds, evidence)
        seconds = last_values(measured.curves(problem, SECONDS))
        each = ", ".join(f"{name} {1000 * value / steps:.3g} ms per step" for name, value in seconds.items())
        figure, axes = panels(1, 1, height=3.0)
        styles = measured.styles()
        draw(axes[0], table, {**styles, several: {**styles[several], "linestyle": STROKES[2]}})
        decorate(axes[0], "The same run", "updates", "training cross-entropy")
        legend(figure, axes, columns=2)
        drawn = measured.save(figure, "Both runs; the line of several processes is drawn over that of one.")
        title, text = "Beyond the paper: MLHF on several processes", [TEXT, f"Seconds: {each}."]
        return Findings(results, [Section(title, text, figures=[drawn], claims=[claim])])
