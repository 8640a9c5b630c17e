"""The first screen of a reproduction's report: the paper's question, and the answer in at most five sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from l2l_cli.config.request import ReproduceRequest
from l2l_cli.core.printable import counted
from l2l_cli.papers.base import Findings, Paper
from l2l_cli.papers.experiments import Experiment
from l2l_cli.papers.headline import Headline
from l2l_cli.results.content import UNDECIDED, Claim, Figure, Lead, counted_verdict, tally
from l2l_cli.results.tables import counted_verdicts
from l2l_cli.results.verdicts import BETTER, DIFFERS, NOT_RUN, OPEN, REPRODUCED, TOLERANCE, WORSE, Result

SMOKE = "smoke"
"""Scale that only shows that everything runs; nothing is judged."""

NAMED = 2
"""Number of failures that the answer names; the others are only counted."""

LONGEST = 90
"""Largest number of characters of a claim in the answer; the section has the full text."""

BRIEF = 24
"""Largest number of characters of the number that decides a claim which failed."""

WORDS = {
    REPRODUCED: f"reproduced (within {100 * TOLERANCE:g} %)",
    BETTER: "better than published",
    WORSE: "worse",
    DIFFERS: "different where neither side is better",
    OPEN: "open, as the 95 % interval does not decide",
}
"""Terms for verdicts in the answer."""

OURS = ("Ours, ", "Ours: ")
"""Prefixes of the claims that are not the paper's."""

FEW = 8
"""Number of published numbers that are shown if a paper has no headline, or it was not reproduced."""


def lead_of(
    paper: Paper, request: ReproduceRequest, asked: Sequence[Experiment], findings: Sequence[Findings], minutes: float
) -> Lead:
    """Return the first screen; ``minutes`` is the CPU time of all results in the report."""
    results = [result for each in findings for result in each.results]
    claims = [claim for each in findings for section in each.sections for claim in section.claims]
    headline = paper.headline if paper.headline and paper.headline.results(results) else None
    headline = headline or _made_up(asked, results)
    if request.scale == SMOKE:
        answer = [
            "This run shows that everything works; it is too small to answer the question.",
            _size(request, asked, minutes),
        ]
    else:
        said = [_decision(headline, asked, findings), _numbers(results), _distance(headline, results)]
        said += [f"{_claims(claims)}{_failures(claims)}", _size(request, asked, minutes)]
        answer = [sentence for sentence in said if sentence]
    table = headline.table(results)
    if table is not None and request.scale == SMOKE:
        table = table.drop(columns="verdict", errors="ignore")
    figure = _figure(headline, findings)
    about = "" if request.scale == SMOKE else headline.about  # it describes the other scales
    return Lead(headline.question, answer, table, figure, command_of_all(request), about, paper.citation)


def command_of_all(request: ReproduceRequest) -> str:
    """Return the command that reproduces the whole report."""
    words = ["l2l", "reproduce", request.paper, *request.artefacts, "--scale", request.scale]
    words += ["--config-dir", request.config_dir] if request.config_dir else []
    return " ".join([*words, *request.overrides])


def _made_up(asked: Sequence[Experiment], results: Sequence[Result]) -> Headline:
    """Return a headline of the first published numbers or, without any, of the first numbers."""
    published = [one for one in results if one.paper is not None and one.ours is not None]
    chosen = (published or [one for one in results if one.ours is not None])[:FEW]
    metrics, rows = {one.metric for one in chosen}, {one.row for one in chosen}
    is_one = len(metrics) == 1 and len(rows) == len(chosen)
    names = [one.row if is_one else f"{one.row}, {one.metric}" for one in chosen]
    lines = {name: (one.artefact, one.row, one.metric) for name, one in zip(names, chosen, strict=True)}
    return Headline(asked[0].settings.question, min(metrics).replace("_", " ") if is_one else "row", lines, "")


def _figure(headline: Headline, findings: Sequence[Findings]) -> Figure | None:
    figures = [figure for each in findings for section in each.sections for figure in section.figures]
    named = [figure for figure in figures if figure.path.stem == headline.figure]
    return next(iter([*named, *figures]), None)


def _decision(headline: Headline, asked: Sequence[Experiment], findings: Sequence[Findings]) -> str:
    """Answer the question by the claim that decides it, if it was judged; the headline's own artefact comes first.

    Without such a claim, as for artefacts that the headline is not about, the first one that was judged is stated.
    """
    order = sorted(zip(asked, findings, strict=True), key=lambda pair: pair[0].name != headline.figure)
    sections = [section for _, each in order for section in each.sections]
    judged = [claim for claim in chain.from_iterable(section.claims for section in sections) if claim.evidence]
    for claim in judged:
        if claim.text.startswith(headline.decided_by):
            word, verb = {True: ("Yes", "holds"), False: ("No", "fails"), None: ("Open", "is not decided")}[claim.holds]
            said = f"{_named(claim.text)} {verb}{f' ({claim.number})' if claim.number else ''}."
            return f"**{word}**: {said}" if headline.decided_by else said[0].upper() + said[1:]
    return ""


def _named(claim: str) -> str:
    """Return a claim in quotation marks, preceded by whose claim it is."""
    if claim.startswith(OURS):
        return f"our own claim “{claim[len(OURS[0]) :]}”"
    return f"the paper's “{claim}”" if claim.startswith("Claim ") else f"the claim “{claim}”"


def _numbers(results: Sequence[Result]) -> str:
    """Return a sentence that counts the verdicts on published numbers, among those that were run."""
    counts = counted_verdicts(results)
    left_out = counts.pop(NOT_RUN, 0)
    total = sum(counts.values())
    if not total:
        return ""
    differ = sorted({_spelled(one.metric) for one in results if one.counts and one.verdict == DIFFERS})
    words = WORDS | {DIFFERS: f"{WORDS[DIFFERS]} ({', '.join(differ)})"}
    said = "; ".join(f"{counts[verdict]} {each}" for verdict, each in words.items() if counts[verdict])
    rest = f" ({left_out} more: not run at this scale)" if left_out else ""
    return f"Of {counted(total, 'published number')}{rest}: {said}{_worse(results)}."


def _spelled(metric: str) -> str:
    return metric.replace("_", " ").replace("mse", "MSE")


def _distance(headline: Headline, results: Sequence[Result]) -> str:
    """Return a sentence that compares our results with the best rivals in the table or, without any, with the limit."""
    ahead, compared = headline.ahead_of_rivals(results)
    if compared:
        return (
            f"The {headline.who} has a lower mean than the best tuned rival in {ahead} of the table's {compared} rows."
        )
    lines = headline.results(results)
    ratios = sorted(one.ratio_to_limit for one in lines.values() if one.ratio_to_limit is not None)
    if ratios:
        span = f"{ratios[0]:.2f}" if len(ratios) == 1 else f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        return f"In the table our results are {span} times the limit, the best possible result."
    return "The best possible result is not known here."


def _claims(claims: Sequence[Claim]) -> str:
    """Return a sentence that counts the verdicts on claims, with our own claims counted separately."""
    verdicts: dict[bool, list[str]] = {False: [], True: []}
    for claim in claims:
        verdicts[claim.text.startswith(OURS)].append(claim.verdict)
    said = []
    for ours, each in verdicts.items():
        counts = tally(each)  # of what was judged
        known = [_verb(count, verdict) for verdict, count in counts.items() if count]
        if known:
            said.append(f"{counted(sum(counts.values()), 'claim')}{' of ours' if ours else ''}, {', '.join(known)}")
    return f"Of {'; of '.join(said)}" if said else ""


def _verb(count: int, verdict: str) -> str:
    said = counted_verdict(count, verdict)
    verb = " is " if count == 1 else " are "
    return f"{said.replace(' ', verb, 1)} (undecided)" if verdict == UNDECIDED else said


def _failures(claims: Sequence[Claim]) -> str:
    """Name the claims that failed, each preceded by that word."""
    failed = [claim for claim in claims if claim.holds is False]
    shown = failed[:NAMED]
    parts = [f"**fails**: “{_cut(one.text)}”{_decider(one.number)}" for one in shown]
    more = len(failed) - len(shown)
    parts += [f"{more} more fail{'s' if more == 1 else ''}"] if more else []
    return f"; {'; '.join(parts)}." if parts else "." if claims else ""


def _decider(number: str) -> str:
    """Return a short number that decides a claim, in brackets, without its interval, which the claim's section has."""
    mean = re.sub(r" \[[^\]]*\]", "", number)
    return f" ({mean})" if 0 < len(mean) <= BRIEF else ""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


def _worse(results: Sequence[Result]) -> str:
    """Name the rows with numbers worse than published, and their share of each row, as others may be better."""
    judged = [one for one in results if one.counts and one.verdict not in ("", NOT_RUN)]
    total = Counter(one.row for one in judged)
    found = Counter(one.row for one in judged if one.verdict == WORSE)
    rows = [f"{row} ({count} of its {total[row]})" if total[row] > 1 else row for row, count in found.items()]
    named, others = rows[: NAMED + 1], len(rows) - NAMED - 1
    named += [f"and {counted(others, 'more row')}"] if others > 0 else []
    return f"; **worse**: {'; '.join(named)}" if rows else ""


def _size(request: ReproduceRequest, asked: Sequence[Experiment], minutes: float) -> str:
    seeds = sorted({len(jobs) for one in asked for jobs in one.jobs.values()})
    span = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    spent = f"{minutes:.1f}" if minutes < 100 else f"{minutes:.0f}"
    runs = f"{span} seed{'s' if seeds[-1] > 1 else ''}"
    return f"Scale *{request.scale}*: {runs} (independent runs) per row, {spent} CPU-minutes in total."
