"""Figure 5: the rule that was meta-trained on the base network, on other networks.

Deviation: the paper does not state the scale of θ₀; its code's 0.01 is ours too, and the two problems whose curves
depend on it most are shown with 0.1 besides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.papers.andrychowicz2016.claims import beats, fails
from l2l_cli.papers.andrychowicz2016.measures import losses_of
from l2l_cli.papers.andrychowicz2016.published import FIGURE5, MARKS, Curve
from l2l_cli.papers.andrychowicz2016.sections import curve_panels, what_was_chosen, who_wins
from l2l_cli.papers.andrychowicz2016.tables import results_of
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.shared import listed
from l2l_cli.results.report import Figure, Section

WIDER_START = {"40 units, θ₀ 0.1": "40 units", "2 layers, θ₀ 0.1": "2 layers"}
"""Our problems with the wider θ₀, and those of the paper that they are variations of."""

FIRST_LOSS = math.log(10)
"""Cross-entropy in nats of ten classes before anything is learned."""

MARKS100 = [mark for mark in MARKS if 5 <= mark < 100]

START = (
    "The paper does not say how large θ₀ is.  With 0.01, its code's scale, a second layer starts at a plateau that the "
    "paper's curves leave sooner than ours if that was not its scale; both are shown, and the paper's points in both."
)


def figure5(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw the curves on wider, deeper and ReLU networks."""
    losses, title = losses_of(rows), "Figure 5: other networks"
    published: dict[str, Mapping[str, Curve]] = {**FIGURE5}
    results = results_of("figure5", list(rows), losses, FIGURE5)
    for ours, theirs in WIDER_START.items():
        published[ours] = FIGURE5[theirs]
        note = "wider θ₀ than the paper's code, whose problem it is set beside"
        results += results_of("figure5", list(rows), losses, {ours: FIGURE5[theirs]}, note)
    if not losses.contenders:
        return Artefact(results)
    path = folder / "figures" / "figure5"
    shown = [(problem, "mean", problem) for problem in published if problem in losses.problems]
    curve_panels(rows, losses.contenders, shown, published, path, columns=3 if len(shown) > 4 else 2)
    claims = [
        beats(f"Claim 3, the LSTM transfers to {problem}", losses, problem, MARKS100)
        for problem in ("40 units", "2 layers", *WIDER_START)
    ]
    claims.append(
        fails("Claim 4, expected to fail: the LSTM learns nothing with ReLU units", losses, "ReLU", 99, FIRST_LOSS)
    )
    caption = "Loss against updates on networks that the LSTM never saw; hollow: the paper's values."
    drawn = Figure(path.with_suffix(".png"), caption)
    sections = [
        Section(title, [listed(claims), START], figures=[drawn]),
        *who_wins(title, losses, losses.problems),
        *what_was_chosen(title, rows),
    ]
    return Artefact(results, sections)
