"""Beyond the paper: a perceptron, a recurrent network, and runs of ten times the length of meta-training.

Deviation: the paper compares with the coordinatewise LSTM on a perceptron in a supplement that could not be had, and
leaves recurrent networks to future work; networks, lengths and rivals here are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.drawing import legend
from l2l_cli.papers.mlhf2018.claims import downhill, end_of, goes_on, per_sample, ratio, stays_finite, within
from l2l_cli.papers.mlhf2018.figure1 import who_is_quick
from l2l_cli.papers.mlhf2018.measures import contenders_of, losses_of
from l2l_cli.papers.mlhf2018.names import AT_ONE, FIRST_ORDER, HF, L2L, TUNED, at, is_mlhf
from l2l_cli.papers.mlhf2018.sections import chosen_section, end_results, ends_section, inside_section
from l2l_cli.papers.mlhf2018.style import are_mlhf, draw, loss_panels
from l2l_cli.papers.shared import listed
from l2l_cli.results.frame import summarise
from l2l_cli.results.plot import decorate, panels, save
from l2l_cli.results.report import Figure, Section

LONG = "long"

LONG_TEXT = (
    "Meta-training meets no parameters older than a tenth of this run.  *lr 1* is the paper's learning rate; nothing "
    "is tuned here.  Hessian-free stands beside it at what Figure 1 chooses for it."
)

TEXTS = {
    "mlp": "A perceptron of 20 sigmoid units on MNIST, θ₀ ~ N(0, 0.01²), on which MLHF and L2L are both meta-trained.",
    "rnn": "An LSTM that reads MNIST row by row; MLHF is meta-trained on it, and G goes through time.",
}


def mlp(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw the perceptron, with L2L."""
    return _compared("mlp", "Beyond the paper: a perceptron on MNIST", rows, folder)


def rnn(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw the recurrent network."""
    return _compared("rnn", "Beyond the paper: a recurrent network on MNIST", rows, folder)


def _compared(artefact: str, title: str, rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    contenders = contenders_of(rows)
    losses, problem = losses_of(contenders), artefact
    names = [*at(losses.contenders, TUNED), *at(losses.contenders, AT_ONE)]
    rivals = {"first order": FIRST_ORDER, "Hessian-free": [HF], "L2L": [L2L]}
    results = end_results(artefact, contenders, losses, problem)
    for name in names:
        for what, others in rivals.items():
            if set(others) & set(losses.contenders):
                results.append(ratio((artefact, name, f"÷ {what}"), losses, name, others, problem))
    if not losses.contenders:
        return Artefact(results)
    path = folder / "figures" / artefact
    loss_panels(contenders, problem, path, held=True, log=True)
    judged = []
    for name in names:
        judged.append(per_sample(f"{name}, below every first-order rule", losses, name, FIRST_ORDER, problem))
        judged.append(within(f"{name}, not behind tuned Hessian-free", losses, name, [HF], problem, 1.0))
        if L2L in losses.contenders:
            judged.append(within(f"{name}, not behind L2L", losses, name, [L2L], problem, 1.0))
    judged.append(downhill("Claim 5, ⟨g, xₙ⟩ > 0", are_mlhf(contenders), problem))
    caption = "Training cross-entropy against samples (a) and seconds (b); below, held-out pictures."
    text = [TEXTS[artefact], listed(judged), who_is_quick(contenders, problem)]
    sections = [
        Section(title, text, figures=[Figure(path.with_suffix(".png"), caption)]),
        *ends_section(title, contenders, losses, problem),
        *inside_section(title, contenders, problem, folder / "figures" / f"{artefact}_damping"),
        *chosen_section(title, contenders),
    ]
    return Artefact(results, sections)


def long(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw runs of ten times the length that meta-training meets."""
    contenders, title = contenders_of(rows), "Beyond the paper: ten times as long"
    losses = losses_of(contenders)
    forms = [name for name in losses.contenders if is_mlhf(name)]
    results = end_results("long", contenders, losses, LONG)
    for name in forms:
        lost = contenders[name][contenders[name].metric == "not finite"].groupby("seed").value.sum().tolist()
        results.append(summarise(("long", name, "not finite"), lost, None))
    if not losses.contenders:
        return Artefact(results)
    path = folder / "figures" / "long"
    figure, axes = panels(1, 1, height=3.2)
    draw(axes[0], contenders, LONG, log=True)
    axes[0].axvline(end_of(losses, LONG) / 10, color="#555555", linestyle=":", linewidth=1.0)
    decorate(axes[0], "Ten times the horizon of meta-training", "updates", "training cross-entropy")
    legend(figure, axes, published=False, columns=3)
    save(figure, path)
    judged = [goes_on(f"Claim 3, {name}, progress continues", losses, name, LONG) for name in losses.contenders]
    judged.append(stays_finite("Ours, no step is not finite", contenders, forms))
    judged.append(downhill("Claim 5, ⟨g, xₙ⟩ > 0", are_mlhf(contenders), LONG))
    caption = "Training cross-entropy; dotted: the oldest parameters that meta-training may meet."
    sections = [
        Section(title, [LONG_TEXT, listed(judged)], figures=[Figure(path.with_suffix(".png"), caption)]),
        *ends_section(title, contenders, losses, LONG),
        *inside_section(title, contenders, LONG, folder / "figures" / "long_damping"),
    ]
    return Artefact(results, sections)
