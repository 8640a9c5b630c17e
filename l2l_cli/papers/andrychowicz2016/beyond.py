"""Beyond the paper: rules meta-trained to be good on all of its MNIST problems, and for ten times as many steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from l2l_cli.papers.andrychowicz2016.claims import one_for_all, sane
from l2l_cli.papers.andrychowicz2016.ends import end_sections
from l2l_cli.papers.andrychowicz2016.measures import losses_of
from l2l_cli.papers.andrychowicz2016.published import BASE, FIGURE4_MNIST, FIGURE5
from l2l_cli.papers.andrychowicz2016.sections import curve_panels, what_was_chosen, who_wins
from l2l_cli.papers.andrychowicz2016.style import styles_of
from l2l_cli.papers.andrychowicz2016.tables import rivals_of, row_name
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.drawing import legend, plain_numbers
from l2l_cli.papers.losses import Losses, lead
from l2l_cli.papers.shared import listed
from l2l_cli.results.frame import Result, summarise
from l2l_cli.results.plot import decorate, panels, save
from l2l_cli.results.report import Figure, Section

PAPER = {problem: curves["LSTM"][99] for problem, curves in {BASE: FIGURE4_MNIST[BASE], **FIGURE5}.items()}
"""The paper's LSTM on its own problems after 99 updates; a problem that goes on longer begins with the same name."""

LONG = ("base, 1000 steps", "ReLU, 1000 steps")
"""Ten times the steps of meta-training."""

TEXT = (
    "One rule for all of the paper's MNIST networks, ReLU among them, and for ten times the steps.  The hand-made "
    "rules are tuned on each problem and for each horizon; a learned rule is what it is everywhere.  A ratio below 1 "
    "is a learned rule ahead of the best of SGD, NAG, RMSprop and Adam.  Learned rules are set beside the paper's LSTM."
)


def beyond(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw every learned rule against the best tuned one, on every problem."""
    losses, title = losses_of(rows), "Beyond the paper: one rule for all problems"
    results = _results(rows, losses)
    if not losses.contenders:
        return Artefact(results)
    path = folder / "figures" / "beyond"
    shown = [(problem, "mean", problem) for problem in losses.problems]
    curve_panels(rows, losses.contenders, shown, {}, path, columns=min(4, max(2, -(-len(shown) // 2))))
    drawn = [Figure(path.with_suffix(".png"), "Loss against updates on every problem; bands: range over seeds.")]
    table = _table(losses)
    if len(table):
        drawn.insert(0, _ratios(losses, table, folder))
    problems = [problem for problem in PAPER if problem in losses.problems]
    claims = []
    for name in losses.learned:
        claims.append(one_for_all(f"{name}, one rule for {len(problems)} networks", losses, name, problems, 99))
        claims.append(sane(f"{name}, sane after 999 updates", losses, name, LONG, 999, 99))
    sections = [
        Section(title, [TEXT, listed(claims)], [table], drawn),
        *end_sections(rows, problems, folder),
        *who_wins(title, losses, losses.problems),
        *what_was_chosen(title, rows),
    ]
    return Artefact(results, sections)


def _last(losses: Losses, problem: str) -> int:
    return losses.marks(problem)[-1]


def _results(rows: Mapping[str, pd.DataFrame], losses: Losses) -> list[Result]:
    results = []
    for problem in losses.problems or list(PAPER):
        updates = _last(losses, problem) if losses.contenders else 99
        for row in rows:
            paper = PAPER.get(problem) if row in losses.learned and updates == 99 else None
            key = ("beyond", row_name(row, problem), f"loss@{updates}")
            note = "paper: its own LSTM" if paper is not None else ""
            results.append(summarise(key, losses.seeds(row, problem, updates), paper, None, note))
    return results


def _table(losses: Losses) -> pd.DataFrame:
    """Return each learned rule's loss at the end of every problem, beside the best tuned rule's, and their ratio."""
    table = []
    for problem in losses.problems:
        updates = _last(losses, problem)
        best = losses.best(rivals_of(losses), problem, updates)
        for name in losses.learned:
            if best is not None and losses.has(name, problem, updates):
                ours, theirs = (losses.mean(who, problem, updates) for who in (name, best))
                table.append(
                    {
                        "problem": problem,
                        "updates": updates,
                        "learned rule": name,
                        "loss": ours,
                        "best tuned": best,
                        "its loss": theirs,
                        "ratio": ours / theirs,
                        "difference, 95 % interval": lead(losses, name, best, problem, updates),
                    }
                )
    return pd.DataFrame(table)


def _ratios(losses: Losses, table: pd.DataFrame, folder: Path) -> Figure:
    problems = list(dict.fromkeys(table.problem))
    figure, axes = panels(1, 1, height=1.3 + 0.32 * len(problems))
    styles = styles_of(losses.learned)
    for index, name in enumerate(losses.learned):
        part = table[table["learned rule"] == name]
        height = [-problems.index(problem) for problem in part.problem]
        marker = "osD^v"[index % 5]
        axes[0].plot(part.ratio, height, marker, color=styles[name]["color"], markersize=6, alpha=0.8, label=name)
    axes[0].axvline(1.0, color="#555555", linewidth=0.9)
    axes[0].set_yticks([-index for index in range(len(problems))], problems)
    axes[0].set_ylim(-len(problems) + 0.4, 0.6)
    decorate(axes[0], "Left of the line a learned rule is ahead", "final loss ÷ best tuned rule's", "", "x")
    plain_numbers(axes[0].xaxis)
    legend(figure, axes, published=False)
    save(figure, folder / "figures" / "beyond_ratios")
    caption = "Final loss of every learned rule as a multiple of the best tuned rule's, by problem."
    return Figure(folder / "figures" / "beyond_ratios.png", caption)
