"""Measurements that nobody made: what an artefact is judged on in tests."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd

from l2l_cli.config.request import ReproduceRequest
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.experiments import Experiment, experiment
from l2l_cli.papers.measured import COST, Measured
from l2l_cli.results.metrics import Metric


def frame_of(rows: list[Metric]) -> pd.DataFrame:
    """Measurements as they are read back from their file."""
    frame = pd.DataFrame(rows, columns=list(Metric._fields))
    return frame.assign(episode=frame.episode.astype("Int64"))


def costs(row: str, seeds: int, **values: float) -> list[Metric]:
    """What the runs of a row cost."""
    named = {"updates": 5.0, "seconds": 5.0, "skipped": 0.0, "meta_parameters": 7.0} | values
    return [Metric(row, seed, name, value, split=COST) for seed in range(seeds) for name, value in named.items()]


@cache
def composed(paper: str, name: str, scale: str = "paper") -> Experiment:
    """An experiment of conf/, composed once for all tests, which must not change it."""
    return experiment(ReproduceRequest(paper, scale=scale), name)


def measured_of(
    paper: str, name: str, frames: Mapping[str, pd.DataFrame], folder: Path, scale: str = "paper"
) -> tuple[Artefact, Measured]:
    """An artefact of conf/, and these measurements for its rows; rows without any were not run."""
    one = composed(paper, name, scale)
    settings = one.settings
    problems = {}
    for row, jobs in one.jobs.items():
        if row in frames:
            problems |= jobs[0].settings(folder).evaluation.problems
    all_frames = {row: frames.get(row, pd.DataFrame()) for row in settings.rows}
    measured = Measured(name, settings.rows, all_frames, folder, settings.published, problems)
    return one.artefact, measured
