"""The table: test cross-entropy over 500 data sets, every contender against the learner, paired."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2l_cli.papers.base import TRIALS, Artefact
from l2l_cli.papers.bosc2016.measures import ACCURACY, Losses, losses_of, p_text
from l2l_cli.papers.bosc2016.published import (
    EPOCHS,
    GAUSSIAN_PROCESS,
    LEARNED,
    LINEAR_SVM,
    LOGISTIC,
    LONGER,
    ONLINE,
    RBF_SVM,
    TABLE,
)
from l2l_cli.papers.shared import Claim, listed, tuning_sections
from l2l_cli.results.frame import Result, bootstrap_interval, summarise
from l2l_cli.results.plot import COLOURS, decorate, panels, save
from l2l_cli.results.report import Figure, Section

LEVEL = 0.01
"""Of significance."""

TITLE = "Test cross-entropy"

TEXT = (
    "Mean and standard deviation over data sets of the cross-entropy on the test part, in nats.  Everybody meets the "
    "same data sets, none of which served to choose anything.  The difference is the learner's loss less the "
    "contender's, paired over data sets, its interval and p by the bootstrap; of several seeds of the learner the "
    "least favourable one's p is given.  Fits inside a data set choose their own strength on its training part; "
    "settings tried beyond that, on tune data sets, are counted."
)

TUNING = "Contenders with settings to be chosen are tuned on tune data sets, by their held-out loss."


def table(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge and draw all contenders."""
    losses = losses_of(rows)
    results = _results(rows, losses)
    if not losses.contenders:
        return Artefact(results)
    path = folder / "figures" / "table"
    _draw(losses, path)
    drawn = [Figure(path.with_suffix(".png"), "Mean test cross-entropy with 95 % intervals; hollow: the paper's.")]
    text = [TEXT, listed(claims(losses))]
    section = Section(TITLE, text, [_table(rows, losses)], drawn, {"mean": ".4f", "sd": ".3f", "accuracy": ".3f"})
    return Artefact(results, [section, *tuning_sections(TITLE, rows, TUNING)])


def _results(rows: Mapping[str, pd.DataFrame], losses: Losses) -> list[Result]:
    results: list[Result] = []
    for row in rows:
        paper = TABLE.get(row)
        mean, sd = (paper.mean, paper.sd) if paper else (None, None)
        results.append(summarise(("table", row, "cross_entropy"), losses.seeds(row), mean))
        note = "over data sets"
        results.append(summarise(("table", row, "sd"), losses.spreads(row), sd, note=note, lower_is_better=None))
    for rival in (RBF_SVM, GAUSSIAN_PROCESS):
        duels = [losses.duel(LEARNED, rival)] if losses.has(LEARNED) and losses.has(rival) else []
        gap = TABLE[LEARNED].mean - TABLE[rival].mean if rival in TABLE else None
        gaps = [duel.interval.value for duel in duels]
        results.append(summarise(("table", LEARNED, f"less {rival}"), gaps, gap, note="paired, seeds averaged"))
        p, note = [duel.p for duel in duels], "of the least favourable seed"
        results.append(summarise(("table", LEARNED, f"p against {rival}"), p, None, note=note))
    return results


def claims(losses: Losses) -> list[Claim]:
    """Judge claims 1 and 2, and what a sceptic asks."""
    return [
        _beats("Claim 1, lower than logistic regression and the linear SVM", losses, [LOGISTIC, LINEAR_SVM]),
        _loses("Claim 2, higher than the RBF SVM", losses, RBF_SVM),
        _beats("Ours, lower than the same network moved online by a tuned rule", losses, list(ONLINE)),
        _beats("Ours, lower than the RBF SVM", losses, [RBF_SVM]),
        _beats("Ours, lower than the strongest of the others", losses, [GAUSSIAN_PROCESS, EPOCHS]),
        _beats("Ours, the same after five times as many updates", losses, [GAUSSIAN_PROCESS, EPOCHS], LONGER),
    ]


def _beats(text: str, losses: Losses, rivals: list[str], who: str = LEARNED) -> Claim:
    """Judge whether a learner's mean is lower than that of all rivals, significantly."""
    run = [name for name in rivals if losses.has(name)]
    if not run or not losses.has(who):
        return Claim(text, None, "")
    duels = {name: losses.duel(who, name) for name in run}
    holds = all(duel.interval.value < 0 and duel.p < LEVEL for duel in duels.values())
    return Claim(text, holds, "; ".join(f"less {name} {duel}" for name, duel in duels.items()))


def _loses(text: str, losses: Losses, rival: str) -> Claim:
    if not (losses.has(rival) and losses.has(LEARNED)):
        return Claim(text, None, "")
    duel = losses.duel(LEARNED, rival)
    return Claim(text, duel.interval.value > 0 and duel.p < LEVEL, f"less it {duel}; the paper loses by 0.033")


def _table(rows: Mapping[str, pd.DataFrame], losses: Losses) -> pd.DataFrame:
    right, lines = losses_of(rows, ACCURACY), []
    for name in sorted(losses.contenders, key=losses.mean):
        paper = TABLE.get(name)
        duel = losses.duel(LEARNED, name) if losses.has(LEARNED) and name != LEARNED else None
        frame = rows[name]
        trials = frame[frame.metric == TRIALS].value.max()
        lines.append(
            {
                "contender": name,
                "mean": losses.mean(name),
                "sd": float(np.mean(losses.spreads(name))),
                "paper": f"{paper.mean:.3f} ± {paper.sd:.3f}" if paper else "–",
                "accuracy": right.mean(name),
                "learner less it [95 %]": _text(duel),
                "p": p_text(duel.p) if duel else "–",
                "sets on which the learner is better": f"{duel.won:.0%}" if duel else "–",
                "settings tried": "–" if pd.isna(trials) else f"{trials:.0f}",
                "seeds": len(losses.seeds(name)),
            }
        )
    return pd.DataFrame(lines)


def _text(duel: Any) -> str:
    if duel is None:
        return "–"
    found = duel.interval
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _draw(losses: Losses, path: Path) -> None:
    order = sorted(losses.contenders, key=losses.mean, reverse=True)
    figure, axes = panels(1, 1, height=1.0 + 0.3 * len(order))
    for height, name in enumerate(order):
        found = bootstrap_interval(losses.sets(name).tolist())
        colour = COLOURS[0] if name == LEARNED else COLOURS[7]
        axes[0].plot([found.low, found.high], [height, height], color=colour)
        axes[0].plot(found.value, height, "o", color=colour, markersize=4.5)
        if name in TABLE:
            axes[0].plot(TABLE[name].mean, height, "o", color=colour, markerfacecolor="none", markersize=4.5)
    axes[0].set_yticks(range(len(order)), order)
    decorate(axes[0], "", "mean test cross-entropy, nats", "")
    save(figure, path)
