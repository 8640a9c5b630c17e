"""l2l reproduce --list: papers, artefacts and scales, with the minutes that they take; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l2l_cli.config.catalogue import listing
from l2l_cli.config.schema import Row
from l2l_cli.core.voice import VOICE
from l2l_cli.papers.agenda import seed_counts
from l2l_cli.results.terminal import FoldingTable, console


def print_catalogue(known: Mapping[str, list[str]], config_dir: str | None) -> int:
    """Print papers, artefacts and scales with the minutes that they are expected to take on two cores."""
    table = []
    for paper, names in known.items():
        for name in names:
            experiment = listing(paper, name, config_dir)
            scales = {
                scale: f"{facts['minutes']} min, {_seeds(facts, experiment.rows)}"
                for scale, facts in experiment.scales.items()
            }
            table.append({"preset": paper, "artefact": name, **scales, "source": experiment.source})
    columns = dict.fromkeys(column for row in table for column in row)
    title = "l2l reproduce PAPER [ARTEFACT]… --scale SCALE (minutes on two cores; shared runs count once)"
    cells = [[str(row.get(column) or "–") for column in columns] for row in table]
    console().print(FoldingTable(title, dict.fromkeys(columns, False), cells))
    for row in table:
        VOICE.event("artefact", **row)
    VOICE.suggest("reproduce", next(iter(known)), "--scale", "smoke")
    return 0


def _seeds(scale: Mapping[str, Any], rows: Mapping[str, Row]) -> str:
    counts = seed_counts(scale, rows)
    if not counts:
        return "left out"
    if list(counts) == [1]:
        return "1 seed"
    return f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"{counts[0]} seeds"
