"""Figure 2: a rule that was meta-trained on a small network is put to a larger one that it has never seen.

The paper goes from a small residual network on CIFAR-10 to ResNet-18 on ImageNet; ours also from the convolutional
network of figure 1 to one that sees more pixels.

Deviation: at scale short the small residual network has channels 8 and 16 and one block a stage, on pixels averaged in
squares of 2 × 2, and the larger one channels 8, 16 and 32 on all pixels of CIFAR-10; ImageNet is left to scale paper.

Deviation: held-out pictures are normalised with the statistics of their own minibatch, as training pictures are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.losses import Losses
from l2l_cli.papers.mlhf2018.claims import goes_on, per_sample, per_second, ratio, within
from l2l_cli.papers.mlhf2018.measures import contenders_of, losses_of
from l2l_cli.papers.mlhf2018.names import AT_ONE, FIRST_ORDER, HF, TUNED, at
from l2l_cli.papers.mlhf2018.sections import chosen_section, end_results, ends_section, inside_section
from l2l_cli.papers.mlhf2018.style import loss_panels
from l2l_cli.papers.shared import Claim, listed
from l2l_cli.results.frame import Result
from l2l_cli.results.report import Figure, Section

LARGER, IMAGENET = "larger", "ImageNet"

TRANSFER = 0.85
"""The project's mark: MLHF's loss as a share of tuned Adam's on a network that it has never seen."""

TEXT = (
    "MLHF is meta-trained on the smaller network and meets the larger one here for the first time; hand-made rules are "
    "tuned on the larger one itself, and so is MLHF's learning rate where it is called tuned."
)


def figure2(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw residual networks, on CIFAR-10 and on ImageNet."""
    titles = {LARGER: "Figure 2: a larger residual network", IMAGENET: "Figure 2: ResNet-18 on ImageNet"}
    return _transferred("figure2", rows, titles, folder)


def transfer(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw a larger convolutional network."""
    return _transferred("transfer", rows, {LARGER: "Beyond figure 2: a larger convolutional network"}, folder)


def _transferred(artefact: str, rows: Mapping[str, pd.DataFrame], titles: Mapping[str, str], folder: Path) -> Artefact:
    contenders = contenders_of(rows)
    losses = losses_of(contenders)
    results: list[Result] = []
    sections: list[Section] = []
    for problem in losses.problems or [LARGER]:
        suffix = "" if problem == LARGER else f", {problem}"
        results += end_results(artefact, contenders, losses, problem, suffix)
        results += _ratios(artefact, losses, problem, suffix)
        if losses.contenders:
            sections += _sections(f"{artefact}{suffix}", contenders, losses, problem, titles[problem], folder)
    if losses.contenders:
        sections += chosen_section(next(iter(titles.values())), contenders)
    return Artefact(results, sections)


def _ratios(artefact: str, losses: Losses, problem: str, suffix: str) -> list[Result]:
    """Return the numbers that the presets promise."""
    names = [*at(losses.contenders, TUNED), *at(losses.contenders, AT_ONE)]
    return [
        ratio((artefact, f"{name}{suffix}", f"÷ {what}"), losses, name, rivals, problem)
        for name in names
        for what, rivals in (("Adam", ["Adam"]), ("first order", FIRST_ORDER), ("Hessian-free", [HF]))
    ]


def _sections(
    name: str, contenders: Mapping[str, pd.DataFrame], losses: Losses, problem: str, title: str, folder: Path
) -> list[Section]:
    path = folder / "figures" / name.replace(", ", "_").lower()
    loss_panels(contenders, problem, path, held=False)
    caption = "Training cross-entropy against samples (a) and seconds (b) on a network that is new to MLHF."
    drawn = Figure(path.with_suffix(".png"), caption)
    return [
        Section(title, [TEXT, listed(_claims(contenders, losses, problem))], figures=[drawn]),
        *ends_section(title, contenders, losses, problem),
        *inside_section(title, contenders, problem, path.with_name(f"{path.name}_damping")),
    ]


def _claims(contenders: Mapping[str, pd.DataFrame], losses: Losses, problem: str) -> list[Claim]:
    judged = []
    for name in [*at(losses.contenders, AT_ONE), *at(losses.contenders, TUNED)]:
        judged.append(per_sample(f"Claim 2, {name}, best per sample", losses, name, FIRST_ORDER, problem))
        judged.append(per_second(f"Claim 2, {name}, best per second", contenders, name, FIRST_ORDER, problem))
        judged.append(goes_on(f"Claim 3, {name}, progress continues", losses, name, problem))
        judged.append(within(f"Ours, {name} is 15 % below tuned Adam", losses, name, ["Adam"], problem, TRANSFER))
    return judged
