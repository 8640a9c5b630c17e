"""l2l reproduce --list: papers, artefacts and scales, with the minutes that they take; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l2l_cli.config.catalogue import listing
from l2l_cli.config.schema import Row
from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.voice import VOICE
from l2l_cli.papers.agenda import seed_counts
from l2l_cli.results.terminal import FoldingTable, console

HEAD = """l2l reproduce PAPER [ARTEFACT]… --scale SCALE
Minutes on two cores, and the number of seeds in brackets.  Artefacts share runs, so
a whole paper takes less than the sum."""
"""Text above the list."""


def print_catalogue(known: Mapping[str, list[str]], paper: str | None, config_dir: str | None) -> int:
    """Print the artefacts and scales of all papers, or of one, with the minutes that they are expected to take.

    Raises:
        UsageError: There is no such paper.
    """
    if paper is not None and paper not in known:
        raise UsageError(f"there is no paper {paper!r}{did_you_mean(paper, known)} (papers: {', '.join(known)})")
    shown = known if paper is None else {paper: known[paper]}
    print(HEAD)
    for name, artefacts in shown.items():
        _print_paper(name, artefacts, config_dir)
    VOICE.suggest("reproduce", next(iter(shown)), "--scale", "smoke")
    return 0


def _print_paper(paper: str, names: Sequence[str], config_dir: str | None) -> None:
    table = []
    for name in names:
        experiment = listing(paper, name, config_dir)
        scales = {scale: _cost(facts, experiment.rows) for scale, facts in experiment.scales.items()}
        table.append({"artefact": name, **scales, "source": experiment.source})
        VOICE.event("artefact", preset=paper, **table[-1])
    columns = dict.fromkeys(column for row in table for column in row)
    right = {column: column not in ("artefact", "source") for column in columns}
    cells = [[str(row.get(column) or "–") for column in columns] for row in table]
    console().print(FoldingTable(paper, right, cells))


def _cost(scale: Mapping[str, Any], rows: Mapping[str, Row]) -> str:
    """Return the minutes of a scale, with its number of seeds in brackets; empty if no row is run at it."""
    counts = seed_counts(scale, rows)
    if not counts:
        return ""
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    return f"{scale['minutes']} ({seeds})"
