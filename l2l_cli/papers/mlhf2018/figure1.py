"""Figure 1: CUDA-convnet on CIFAR-10, training cross-entropy against samples and against seconds.

Deviation: at scale short the network has 12 378 parameters in place of 1 756 426 (channels 8 and 16, one dense layer
of 32 units, pixels averaged in squares of 2 × 2), it fits 10 000 pictures, and a run has hundreds of steps; all
mechanisms are kept.

Deviation: every hand-made rule, and MLHF's learning rate, is tuned by the same number of settings; the paper fixed
most of them, added weight decay to the baselines' loss, and did not tune MLHF.

Deviation: meta-training and the runs that are reported fit different pictures, three fifths and two fifths of the
training set, as in the authors' release of September 2018; their first release used the same for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.losses import Losses
from l2l_cli.papers.mlhf2018.claims import downhill, goes_on, per_sample, per_second, ratio, within
from l2l_cli.papers.mlhf2018.measures import contenders_of, losses_of
from l2l_cli.papers.mlhf2018.names import AT_ONE, FIRST_ORDER, HF, KFAC, TUNED, at
from l2l_cli.papers.mlhf2018.sections import chosen_section, end_results, ends_section, inside_section
from l2l_cli.papers.mlhf2018.style import are_mlhf, loss_panels
from l2l_cli.papers.shared import Claim, listed
from l2l_cli.results.frame import Result
from l2l_cli.results.report import Figure, Section

PROBLEM = "convnet"

AHEAD, LEVEL = 0.90, 1.05
"""Marks of the project: MLHF's loss as a share of the best tuned first-order rule's, and of Hessian-free's."""

TEXT = (
    "MLHF is meta-trained once a seed, at learning rate 1 and half the batch, and then runs at that rate (*lr 1*, the "
    "paper's first version), at the ratio of the two batches (*batch ratio*, its second) and at a rate tuned like the "
    "others'.  *Trajectories* is ours: meta-trained on the evaluation's batch, by back-propagating the loss along ten "
    "steps through solutions and gradients (by the Gauss-Newton matrix), with a third network that multiplies each "
    "coordinate's step, log and sign of each number as inputs, and a start near a tuned Hessian-free rule; its "
    "learning rate is 1, untuned, but its recipe was found by hand, in about ten trials on episodes for tuning.  *L2L* "
    "is the coordinatewise LSTM, which the paper could not train on this network; it too is meta-trained here."
)

SECONDS = (
    "**Against seconds {verdict} ahead.**  Seconds are those that the process spent on its CPU, on a GPU those on the "
    "wall, accumulated over the steps alone; the paper's are those of a GPU."
)


def figure1(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw the curves, held-out pictures beside them."""
    contenders = contenders_of(rows)
    losses, title = losses_of(contenders), "Figure 1: CUDA-convnet on CIFAR-10"
    results = [*end_results("figure1", contenders, losses, PROBLEM), *_ratios(losses)]
    if not losses.contenders:
        return Artefact(results)
    path = folder / "figures" / "figure1"
    loss_panels(contenders, PROBLEM, path, held=True)
    caption = "Training cross-entropy against samples (a) and seconds (b); below, held-out pictures."
    judged = [*paper_claims(contenders, losses, PROBLEM, "convnet"), *_marks(losses)]
    text = [TEXT, listed(judged), who_is_quick(contenders, PROBLEM)]
    sections = [
        Section(title, text, figures=[Figure(path.with_suffix(".png"), f"{caption}  Bands: range over seeds.")]),
        *ends_section(title, contenders, losses, PROBLEM),
        *inside_section(title, contenders, PROBLEM, folder / "figures" / "figure1_damping"),
        *chosen_section(title, contenders),
    ]
    return Artefact(results, sections)


def _ratios(losses: Losses) -> list[Result]:
    """Return the numbers that the presets promise."""
    found = []
    for name in [*at(losses.contenders, TUNED), *at(losses.contenders, AT_ONE)]:
        found.append(ratio(("figure1", name, "÷ first order"), losses, name, FIRST_ORDER, PROBLEM))
        found.append(ratio(("figure1", name, "÷ Hessian-free"), losses, name, [HF], PROBLEM))
    return found


def paper_claims(contenders: Mapping[str, pd.DataFrame], losses: Losses, problem: str, network: str) -> list[Claim]:
    """Judge claims 1, 3 and 5 for every form of MLHF."""
    rest, judged = [*FIRST_ORDER, KFAC], []
    for name in [*at(losses.contenders, AT_ONE), *at(losses.contenders, TUNED)]:
        judged.append(per_sample(f"Claim 1, {name}, best per sample on the {network}", losses, name, rest, problem))
        judged.append(per_second(f"Claim 1, {name}, best per second", contenders, name, rest, problem))
        judged.append(goes_on(f"Claim 3, {name}, progress continues", losses, name, problem))
    judged.append(downhill("Claim 5, ⟨g, xₙ⟩ > 0", are_mlhf(contenders), problem))
    return judged


def _marks(losses: Losses) -> list[Claim]:
    """Judge what the project asks for."""
    judged = []
    for name in [*at(losses.contenders, AT_ONE), *at(losses.contenders, TUNED)]:
        text = f"Ours, {name} ends {1 - AHEAD:.0%} below the best tuned first-order rule"
        judged.append(within(text, losses, name, FIRST_ORDER, PROBLEM, AHEAD))
        judged.append(within(f"Ours, {name} is within 5 % of tuned Hessian-free", losses, name, [HF], PROBLEM, LEVEL))
        text = f"Ours, moonshot: {name} is 5 % below tuned Hessian-free"
        judged.append(within(text, losses, name, [HF], PROBLEM, 2 - LEVEL))
    for name in at(losses.contenders, AT_ONE):
        text = f"Ours, {name} is not behind the best tuned first-order rule"
        judged.append(within(text, losses, name, FIRST_ORDER, PROBLEM, 1.0))
    return judged


def who_is_quick(contenders: Mapping[str, pd.DataFrame], problem: str) -> str:
    """Say plainly who is ahead against seconds."""
    forms = list(are_mlhf(contenders))
    claims = [per_second(name, contenders, name, FIRST_ORDER, problem) for name in forms]
    won = [claim.text for claim in claims if claim.holds]
    if not claims or all(claim.holds is None for claim in claims):
        return "Nobody's seconds can be compared at this scale."
    return SECONDS.format(verdict=f"{', '.join(won)} is" if won else "the first-order methods are")
