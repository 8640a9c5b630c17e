"""Sections that the reports of several artefacts share: results, who leads, how losses spread, what tuning chose."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import pandas as pd

from l2l_cli.core.printable import counted
from l2l_cli.papers.measured import BEYOND, CHOSEN, EDGE, TRIALS, TUNE, Measured, on_problem
from l2l_cli.papers.panels import ecdf
from l2l_cli.results.content import Section
from l2l_cli.results.plot import decorate, panels
from l2l_cli.results.standings import AHEAD, LEVEL, SIGNIFICANT, TOO_FEW, Standings
from l2l_cli.results.statistics import Interval, difference_of
from l2l_cli.results.verdicts import Result

PAIRED = (
    "All contenders meet the same test episodes, so differences are paired.  They are compared at three marks that "
    "were declared in advance: a tenth of the run, half of it and its end; p is corrected for their number (Holm).  "
    f"The lowest mean is *{AHEAD}* where p < {SIGNIFICANT:g} and *{LEVEL}* otherwise; *{TOO_FEW}* means that the seeds "
    "cannot tell.  For two hand-made rules, interval and p are about these rules, over episodes; for a meta-trained "
    "rule they are about its recipe, over seeds and episodes, and p is never below 2 / 2^seeds.  Solvers, which "
    "evaluate a batch more than once per step, do not compete."
)

COMPETING = ("learned", "rival", "control")
"""Roles of the rows that compete."""

SOLVED = 1e-6
"""Value below which a limit is given as 0: a ratio to rounding errors says nothing."""


def loss_results(
    measured: Measured,
    standings: Standings,
    problems: Collection[str],
    marks: Callable[[str, str], Sequence[int]],
    base: str = "",
    note: str = "",
    judged_in: str = "",
) -> list[Result]:
    """Return the loss of every row at some marks of every problem, beside the published one if there is one.

    ``marks`` gives the marks of a row and a problem; the name of the ``base`` problem is omitted from results.
    Published numbers that are ``judged_in`` another artefact get no verdict here.
    """
    limits, order = measured.names("limit"), list(measured.rows)
    origin = measured.origin | {row: row for row in measured.rows if row not in measured.run}
    results = [
        measured.result(on_problem(name, problem, base), metric, values, paper.get(metric), limit, note)
        for problem in problems
        for name in sorted(origin, key=lambda name: order.index(origin[name]))
        if measured.rows[origin[name]].role != "limit"
        for paper in [measured.published.get(problem, {}).get(name, {})]
        for mark in marks(name, problem)
        for metric, values in [(f"loss@{mark}", standings.values(name, problem, mark))]
        for limit in [_limit(standings, limits, problem, mark)]
    ]
    return [one.without_verdict(f"judged in {judged_in}") for one in results] if judged_in else results


def _limit(standings: Standings, limits: Sequence[str], problem: str, mark: int) -> float | None:
    best = standings.best(limits, problem, mark)
    if best is None:
        return None
    value = standings.mean(best, problem, mark)
    return value if value > SOLVED else 0.0


def ratio_result(
    measured: Measured, standings: Standings, who: str, rivals: Collection[str], what: str, problem: str, row: str = ""
) -> Result:
    """Return a contender's loss at the end as a multiple of its best rival's; metric "÷ what"."""
    mark = standings.last(problem)
    best = standings.best(rivals, problem, mark)
    row, metric = row or who, f"÷ {what}"
    if best is None:
        return measured.result(row, metric, [])
    bar, values = standings.mean(best, problem, mark), standings.values(who, problem, mark)
    spread = difference_of(values, standings.values(best, problem, mark)).interval
    # To first order: the difference of the two, in units of the rival's mean.
    ratio = Interval(values.mean() / bar, 1.0 + spread.low / bar, 1.0 + spread.high / bar, spread.about)
    return measured.result(row, metric, values / bar, note=f"÷ {best}, {bar:.4g}", interval=ratio)


def who_leads(title: str, measured: Measured, standings: Standings, problems: Collection[str]) -> list[Section]:
    """Return a section on who leads at the judged marks of every problem; none if no contenders compete."""
    competing, parts = measured.names(*COMPETING), []
    for problem in problems:
        table = standings.winners(problem, competing)
        if len(problems) > 1:
            table.insert(0, "problem", problem)
        parts += [table] if len(table) else []
    return [Section(f"{title}: who leads when", [PAIRED], [pd.concat(parts)])] if parts else []


def how_they_spread(title: str, measured: Measured, standings: Standings, problem: str, mark: int) -> list[Section]:
    """Return mean, median and tail of the losses over test episodes, as a table and as their distribution."""
    table = standings.spread(problem, mark)
    if not len(table):
        return []
    figure, axes = panels(1, 1, height=3.4)
    ecdf(axes[0], standings, measured.names(*COMPETING), measured.styles(), problem, mark)
    label = f"loss after {counted(mark, 'update')}"
    decorate(axes[0], f"{title}: spread over test problems", label, "share of problems below", "x")
    drawn = measured.save(figure, f"Distribution of the {label} over test problems.", "_spread", columns=5)
    text = (
        "The interval of a mean is about the recipe where there are several seeds; that of a median, between order "
        "statistics, is given for one rule.  Where mean and median differ, a few problems dominate the mean."
    )
    return [Section(f"{title}: spread over test problems", [text], [table], [drawn])]


def what_tuning_chose(title: str, measured: Measured, text: str) -> list[Section]:
    """Return what tuning chose, with a warning for settings at the edge of their grid; none if nothing was tuned."""
    table = _chosen(measured.contenders)
    return [Section(f"{title}: what tuning chose", [text, _edge_warning(table)], [table])] if len(table) else []


def _chosen(contenders: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    table = []
    for name, frame in contenders.items():
        tuned = frame[frame.split == TUNE]
        for problem, group in tuned.groupby("problem", sort=False):
            values, edges = (
                {
                    str(key).rpartition(".")[2]: str(name) or f"{value:.3g}"
                    for key, name, value in zip(part.metric, part.statistic, part.value, strict=True)
                }
                for part in (group[group.part == CHOSEN], group[(group.part == EDGE) & (group.value > 0)])
            )
            table.append(
                {
                    "contender": name,
                    "problem": problem or "–",
                    "trials": int(group[group.metric == TRIALS].value.iloc[0]),
                    "beyond its grid": int(group[group.metric == BEYOND].value.sum()),
                    "chosen": ", ".join(f"{key}={value}" for key, value in values.items()),
                    "at the edge of its grid": ", ".join(edges) or "–",
                }
            )
    return pd.DataFrame(table)


def _edge_warning(table: pd.DataFrame) -> str:
    """Return a sentence that counts the settings at the edge of their grid, where a wider one might do better."""
    ends = table[table["at the edge of its grid"] != "–"]
    names = [f"{row.contender}{f' on {row.problem}' if row.problem != '–' else ''}" for row in ends.itertuples()]
    onward = table[table["beyond its grid"] > 0]
    on = f"  {len(onward)} of {len(table)} searches continued beyond the edge of their grid." if len(onward) else ""
    if not names:
        return f"No chosen setting lies at the edge of the values tried.{on}"
    count = f"**{len(names)} of {len(table)} chosen settings lie at the edge of the values tried**"
    return f"{count} and might be better: {', '.join(names)}.{on}"
