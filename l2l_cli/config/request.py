"""Arguments of ``l2l reproduce``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReproduceRequest:
    """Arguments of the command ``reproduce``.

    Attributes:
        paper: Name of the paper, a folder of conf/experiment.
        artefacts: Names of artefacts, files of that folder; empty means all.
        scale: Name of the scale: smoke, short, study or paper.
        seeds: Number of seeds, instead of the scale's.
        output: Folder for the results; None means outputs/PAPER/SCALE-HASH.
        check: Whether to fail if a number breaks one of the preset's promises.
        processes: Number of runs in parallel; None means one per core.
        config_dir: Folder with further configuration.
        overrides: Overrides of each row's configuration, as typed.
        force: Whether everything is run again, even if it is done.
    """

    paper: str
    artefacts: tuple[str, ...] = ()
    scale: str = "short"
    seeds: int | None = None
    output: str | None = None
    check: bool = False
    processes: int | None = None
    config_dir: str | None = None
    overrides: tuple[str, ...] = ()
    force: bool = False
