"""Figure 6: the final loss over widths and depths of the network that is trained.

Source: Andrychowicz et al. 2016, Figure 6, which could not be read off; nothing published stands beside our numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2l_cli.core.printable import counted
from l2l_cli.papers.andrychowicz2016.curves import TUNING, hand_made, updates_at
from l2l_cli.papers.base import Artefact, Findings, RowName
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.sections import loss_results, what_tuning_chose
from l2l_cli.results.content import Claim, Figure, Section
from l2l_cli.results.lines import emphasised
from l2l_cli.results.plot import decorate, heat_map, panels
from l2l_cli.results.standings import AHEAD, BEHIND, STANDS, Standings

TITLE = "Figure 6: widths and depths"

NEARLY_ALL = 0.9
"""Share of the networks that counts as nearly all of them; the criterion is ours."""


@dataclass(frozen=True)
class NetworkSizes(Artefact):
    """Final loss by the network's width, one panel for each depth.

    Attributes:
        learner: Row of the learned rule.
        trained_on: Problem with the network that the rule was meta-trained for.
    """

    learner: RowName
    trained_on: str

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw the final loss over all networks."""
        standings = measured.standings(mark=updates_at)
        mark = standings.last(self.trained_on) or 99
        problems = standings.problems or [self.trained_on]
        results = loss_results(measured, standings, problems, lambda row, problem: [mark])
        if not standings.contenders:
            return Findings(results)
        table = standings.against([self.learner], hand_made(measured))
        won, lost = (int((table[STANDS] == how).sum()) if len(table) else 0 for how in (AHEAD, BEHIND))
        networks, updates = counted(len(table), "network"), counted(mark, "update")
        text = f"Of {networks} the {self.learner} is ahead on {won} after {updates}, behind on {lost}."
        drawn = [_ratios(measured, table)] if len(table) else []
        drawn.append(self._draw(measured, standings, mark))
        claims = [nearly_everywhere(f"Figure 6, the {self.learner} wins on nearly all networks", won, lost, len(table))]
        section = Section(TITLE, [text], [table] if len(table) else [], drawn, claims=claims)
        return Findings(results, [section, *what_tuning_chose(TITLE, measured, TUNING)])

    def _draw(self, measured: Measured, standings: Standings, mark: int) -> Figure:
        hidden = {problem: list(measured.problems[problem]["hidden"]) for problem in standings.problems}
        depths, ticks = (
            sorted({len(units) for units in hidden.values()}),
            sorted({units[0] for units in hidden.values()}),
        )
        figure, axes = panels(1, len(depths), height=3.0)
        for index, (panel, depth) in enumerate(zip(axes, depths, strict=True)):
            widths = {problem: units[0] for problem, units in hidden.items() if len(units) == depth}
            run = {name: style for name, style in measured.styles().items() if name in standings.contenders}
            for name, style in emphasised(list(run), run).items():
                means = {
                    widths[one]: standings.mean(name, one, mark) for one in widths if standings.has(name, one, mark)
                }
                values = {units: loss for units, loss in sorted(means.items()) if 0 < loss < np.inf}
                if values:
                    panel.plot(list(values), list(values.values()), marker="o", markersize=3.5, label=name, **style)
            if self.trained_on in widths:
                style = {"color": "#777777", "linestyle": (0, (4, 2)), "linewidth": 1.0, "zorder": 1}
                panel.axvline(widths[self.trained_on], **style)
            title = f"{depth} layer{'s' if depth > 1 else ''}"
            decorate(panel, title, "units of each", f"loss after {counted(mark, 'update')}" if not index else "", "y")
            panel.set_xticks(ticks, [str(unit) for unit in ticks])
            panel.tick_params(labelleft=not index)
        ranges = [panel.get_ylim() for panel in axes]
        for panel in axes:
            panel.set_ylim(min(low for low, _ in ranges), max(high for _, high in ranges))
        after = f"Loss after {counted(mark, 'update')}"
        caption = f"{after} by width, a panel for each depth; dashed: the network of meta-training."
        return measured.save(figure, caption, columns=5)


def nearly_everywhere(text: str, ahead: int, behind: int, networks: int) -> Claim:
    """Judge whether a rule is ahead on nearly all networks, given on how many it is ahead and behind by an interval.

    It holds if the rule is ahead on the share ``NEARLY_ALL`` of them, and fails if it is behind on so many that this
    share is out of reach.
    """
    if not networks:
        return Claim(text, None)
    holds = True if ahead >= NEARLY_ALL * networks else False if networks - behind < NEARLY_ALL * networks else None
    found = f"ahead on {ahead} of {counted(networks, 'network')}, behind on {behind}"
    return Claim(text, holds, f"{found}; mark: ahead on {100 * NEARLY_ALL:.0f} %", found)


def _ratios(measured: Measured, table: pd.DataFrame) -> Figure:
    """Draw the learned rule's loss as a multiple of the best rival's, depths × widths, with the rival's name."""
    hidden = {problem: list(measured.problems[problem]["hidden"]) for problem in table.problem}
    depths, widths = sorted({len(units) for units in hidden.values()}), sorted({units[0] for units in hidden.values()})
    values = np.full((len(depths), len(widths)), np.nan)
    texts = [["" for _ in widths] for _ in depths]
    for problem, ratio, rival in zip(table.problem, table.ratio, table["best rival"], strict=True):
        row, column = depths.index(len(hidden[problem])), widths.index(hidden[problem][0])
        values[row, column], texts[row][column] = ratio, f"{ratio:.2f}\n{rival}"
    figure, (axes,) = panels(1, 1, height=0.9 + 0.45 * len(depths))
    rows = [f"{depth} layer{'s' if depth > 1 else ''}" for depth in depths]
    image = heat_map(axes, values, rows, [f"{units} units" for units in widths], texts, True, (0.5, 2.0))
    bar = figure.colorbar(image, ax=axes, label="loss ÷ best tuned rule's", ticks=[0.5, 1.0, 2.0])
    bar.minorticks_off()
    bar.set_ticklabels(["0.5", "1", "2"])
    caption = (
        "The learned rule's loss as a multiple of the best tuned rule's, which is named; blue: the learned is lower."
    )
    return measured.save(figure, caption, "_ratios")
