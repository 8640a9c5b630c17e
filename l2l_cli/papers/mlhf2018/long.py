"""Beyond the paper: runs of ten times the length of meta-training."""

from __future__ import annotations

from l2l_cli.papers.base import Artefact, Findings
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.mlhf2018.claims import downhill, progresses, stays_finite
from l2l_cli.papers.mlhf2018.drawing import draw
from l2l_cli.papers.mlhf2018.sections import end_results, ends_sections, inside_sections
from l2l_cli.papers.mlhf2018.track import NOT_FINITE
from l2l_cli.papers.panels import legend
from l2l_cli.results.content import Section
from l2l_cli.results.plot import decorate, panels

TITLE = "Beyond the paper: ten times as long"

TEXT = (
    "Meta-training meets no parameters older than a tenth of this run.  *lr 1* is the paper's learning rate; nothing "
    "is tuned here.  Hessian-free stands beside it at what Figure 1 chooses for it."
)

SHARE = 0.1
"""Age of the oldest parameters that meta-training may meet, as a share of the run."""


class Long(Artefact):
    """Curves far beyond the horizon of meta-training, and whether every loss is finite."""

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all contenders."""
        standings = measured.standings()
        problem = next(iter(standings.problems), "")
        frames, learned = measured.contenders, measured.names("learned")
        parts = {name: frames[name][frames[name].metric == NOT_FINITE] for name in learned}
        lost = {name: part.groupby("seed").value.sum().tolist() for name, part in parts.items()}
        results = [
            *end_results(measured, standings, problem, problem),
            *(measured.result(name, "not finite", counts) for name, counts in lost.items()),
        ]
        if not standings.contenders:
            return Findings(results)
        figure, axes = panels(1, 1, height=3.2)
        draw(axes[0], measured.curves(problem), measured.styles(), log=True)
        axes[0].axvline(SHARE * standings.last(problem), color="#555555", linestyle=":", linewidth=1.0)
        decorate(axes[0], "Ten times the horizon of meta-training", "updates", "training cross-entropy")
        legend(figure, axes, columns=3)
        drawn = measured.save(
            figure, "Training cross-entropy; dotted: the oldest parameters that meta-training may meet."
        )
        claims = [
            progresses(f"Claim 3, {name}, progress continues", standings, name, problem)
            for name in standings.contenders
        ]
        claims += [stays_finite("Ours, no loss is not finite", lost), downhill(measured, problem)]
        sections = [
            Section(TITLE, [TEXT], figures=[drawn], claims=claims),
            *ends_sections(TITLE, measured, standings, problem),
            *inside_sections(TITLE, measured, problem),
        ]
        return Findings(results, sections)
