"""Seeds of test episodes: all of them are listed, and those of studies are drawn, not chosen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from l2l_cli.config.catalogue import listing
from l2l_cli.config.groups import config_root, papers

PAGE = Path(__file__).resolve().parents[2] / "l2l_cli" / "papers" / "SEEDS.md"
LINES = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if "| 20" in line]


def seeds_of(paper: str) -> set[str]:
    """The seeds that the configuration of a paper names; a task that draws all by the run's own seed names none."""
    texts = [file.read_text() for file in (config_root() / "experiment" / paper).rglob("*.yaml")]
    found = [re.findall(r"(?:evaluation\.seeds=|^  seeds: )\[([\d, ]+)\]", text, re.MULTILINE) for text in texts]
    return {seed for each in found for one in each for seed in re.findall(r"\d+", one)}


@pytest.mark.parametrize("paper", papers())
def test_every_seed_of_test_episodes_is_listed(paper):
    listed = {line[0] for line in LINES if paper in line[1]}
    assert seeds_of(paper) <= listed
    assert listed


@pytest.mark.parametrize("paper", papers())
def test_the_seed_of_a_study_is_what_the_frozen_commit_writes(paper):
    """Seeds 0 and 1 are validation: a study that stands on them is none."""
    overrides = [listing(paper, name)[1].get("study", {}).get("overrides", []) for name in papers()[paper]]
    drawn = {word for words in overrides for word in words if word.startswith("evaluation.seeds=")}
    assert drawn or not (PAGE.parent / paper / "results.csv").exists()
    for word in drawn:
        (seed,) = re.findall(r"\d+", word)
        (line,) = (line for line in LINES if line[0] == seed and paper in line[1])
        (commit,) = re.findall(r"\b[0-9a-f]{7,40}\b", line[3])
        assert int(seed) == int(commit[:7], 16)
        assert line[4] == "test"
