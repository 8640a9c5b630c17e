"""Beyond the paper: one and the same run, each of its batches answered by one process and by two.

Deviation: the paper leaves data-parallel MLHF to future work; that both runs are one is ours to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.drawing import legend
from l2l_cli.papers.mlhf2018.measures import contenders_of, last_of, table_of
from l2l_cli.papers.mlhf2018.style import draw
from l2l_cli.papers.shared import Claim, listed
from l2l_cli.results.frame import summarise
from l2l_cli.results.plot import decorate, panels, save
from l2l_cli.results.report import Figure, Section

PROBLEM = "parallel"

SAME = 1e-3
"""Largest relative difference of the losses over the first tenth of the run that counts as rounding."""

TEXT = (
    "With `hardware.replicas=2` every forward pass, gradient and Gauss-Newton product is divided over two processes, "
    "half the pictures each, and joined again.  In float64 both runs agree to 1e-12, which a test holds; in float32 "
    "sums of another order differ in their last digits, and conjugate gradients carry that on, step by step.  Seconds "
    "are those of the first process, which also runs the networks and the iterations."
)


def parallel(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw a run on one process and on two."""
    contenders = contenders_of(rows)
    table = table_of(contenders, "loss", PROBLEM)
    curves = {str(name): part.set_index("updates").value for name, part in table.groupby("contender", sort=False)}
    if len(curves) < 2:
        return Artefact([summarise(("parallel", name, "difference"), [], None) for name in rows])
    (_, one), (name, two) = curves.items()
    title = "Beyond the paper: MLHF on several processes"
    apart = (two - one).abs() / one
    early = apart[apart.index <= max(apart.index) // 10]
    first = float(early.max()) if len(early) else float(apart.iloc[0])
    results = [
        summarise(("parallel", name, "difference"), [first], None, None, "relative, over the first tenth of the run"),
        summarise(("parallel", name, "difference at the end"), [float(apart.iloc[-1])], None),
    ]
    seconds = last_of(contenders, "seconds", PROBLEM)
    each = ", ".join(f"{name} {1000 * value / max(apart.index):.3g} ms a step" for name, value in seconds.items())
    evidence = f"relative differences of {first:.1e} over the first tenth of the run, {apart.iloc[-1]:.1e} at its end"
    claim = Claim(
        "Ours, two processes are one with the joined batch", bool(np.isfinite(first) and first <= SAME), evidence
    )
    path = folder / "figures" / "parallel"
    figure, axes = panels(1, 1, height=3.0)
    draw(axes[0], contenders, PROBLEM)
    decorate(axes[0], "The same run", "updates", "training cross-entropy")
    legend(figure, axes, published=False, columns=2)
    save(figure, path)
    text = [TEXT, listed([claim]), f"Seconds: {each}."]
    return Artefact(results, [Section(title, text, figures=[Figure(path.with_suffix(".png"), "Both runs.")])])
