"""Figure 7: a convolutional network on CIFAR-10, on five of its classes and on two.

The paper's figure could not be read off; nothing published stands beside these numbers.  LSTM-sub is meta-trained on
the classes that CIFAR-5 and CIFAR-2 leave out, so it has seen none of their pictures.

Deviation: the loss is that of minibatches of test pictures as the network is fitted to them, which is held out from
meta-training, not from the fit; so it is in the authors' later code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.papers.andrychowicz2016.claims import beats
from l2l_cli.papers.andrychowicz2016.measures import losses_of
from l2l_cli.papers.andrychowicz2016.published import MARKS
from l2l_cli.papers.andrychowicz2016.sections import curve_panels, what_was_chosen, who_wins
from l2l_cli.papers.andrychowicz2016.tables import row_name
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.losses import Losses
from l2l_cli.papers.shared import Claim, listed
from l2l_cli.results.frame import summarise
from l2l_cli.results.report import Figure, Section

SUB, ONE = "LSTM-sub", "LSTM, one for all"
"""The rule that saw other classes, and the one that treats all types of parameters alike."""

PROBLEMS = ("CIFAR-10", "CIFAR-5", "CIFAR-2")


def figure7(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw the curves on CIFAR."""
    losses, title = losses_of(rows), "Figure 7: CIFAR"
    results = [
        summarise(("figure7", row_name(row, problem), f"loss@{step}"), losses.seeds(row, problem, step), None)
        for problem in PROBLEMS
        for step in _shown(losses, problem)
        for row in rows
        if not (row == SUB and problem == PROBLEMS[0])  # half of whose classes it was trained on
    ]
    if not losses.contenders:
        return Artefact(results)
    path = folder / "figures" / "figure7"
    shown = [(problem, "mean", problem) for problem in PROBLEMS if problem in losses.problems]
    curve_panels(rows, losses.contenders, shown, {}, path, columns=len(shown))
    caption = "Loss against updates on test pictures, mean over episodes; bands: range over seeds."
    sections = [
        Section(title, [listed(_claims(losses))], figures=[Figure(path.with_suffix(".png"), caption)]),
        *who_wins(title, losses, losses.problems),
        *what_was_chosen(title, rows),
    ]
    return Artefact(results, sections)


def _shown(losses: Losses, problem: str) -> list[int]:
    """Return the last number of updates; 999 if nothing was run."""
    return losses.marks(problem)[-1:] or [MARKS[-1]]


def _claims(losses: Losses) -> list[Claim]:
    claims = [
        beats(f"Claim 5, the LSTM wins on {problem}", losses, problem, [step for step in MARKS if step >= 20])
        for problem in PROBLEMS
    ]
    claims += [
        beats(f"Claim 5, LSTM-sub transfers to the classes of {problem}", losses, problem, _shown(losses, problem), SUB)
        for problem in PROBLEMS[1:]
    ]
    text = "Claim 5, one LSTM for every type of parameter is not enough"
    claims.append(beats(text, losses, PROBLEMS[0], _shown(losses, PROBLEMS[0]), rivals=[ONE]))
    return claims
