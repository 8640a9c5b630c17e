"""Composition by Hydra, and functions that run on what it composes: alone, or through Hydra's main."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from l2l_cli.config.groups import config_root
from l2l_cli.config.schema import Settings
from l2l_cli.config.user_folder import UserFolder

VERSION_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
"""Argument that makes Hydra 1.3 use its own defaults; later versions warn about it."""

Job = Callable[[DictConfig], Any]
"""Function that runs on a composed configuration."""


OPEN = (
    *("evaluation.grid", "evaluation.problems", "evaluation.learner"),
    *("tune.grid", "tune.ranges", "tune.choices", "tune.halving", "contenders"),
)
"""Mappings whose keys the user chooses, so that a new key needs no "+"."""


def _schema() -> DictConfig:
    schema = OmegaConf.structured(Settings)
    for key in OPEN:
        OmegaConf.set_struct(OmegaConf.select(schema, key), False)
    assert isinstance(schema, DictConfig)
    return schema


ConfigStore.instance().store(name="l2l_schema", node=_schema())


@contextmanager
def own_hydra() -> Iterator[None]:
    """Use Hydra's global state and restore it afterwards, since a job may be running under it."""
    running, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_dir(str(config_root()), job_name="l2l", **VERSION_BASE):
            yield
    finally:
        GlobalHydra.instance().hydra = running  # of another instance: the initialization has put back a copy


def quoted(text: str) -> str:
    """Return text as a value that Hydra's override grammar takes as it is."""
    return "'" + text.replace("'", "\\'") + "'"


def searched(folders: Sequence[Path]) -> list[str]:
    """Return the override that adds folders of configuration, if there are any."""
    places = ",".join(quoted(f"{UserFolder.scheme()}://{folder}") for folder in folders)
    return [f"hydra.searchpath=[{places}]"] if folders else []


def composition(command: str, overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    """Compose a configuration, even inside a running job; Hydra's own part is under ``hydra``."""
    with own_hydra():
        return compose(command, [*overrides, *searched(folders)], return_hydra_config=True)


def alone(command: str, job: Job, overrides: Sequence[str]) -> None:
    """Run one job without a sweep.

    Hydra's main composes the configuration twice, first only to see whether it is a sweep; this composes it once.
    """
    with own_hydra():
        program = GlobalHydra.instance().hydra
        assert program is not None
        program.run(command, job, [*overrides, "hydra.mode=RUN"])


def through_main(command: str, job: Job, arguments: Sequence[str]) -> None:
    """Run Hydra's main, which also sweeps and shows configurations, with these arguments as its command line."""
    with _patched(arguments):
        hydra.main(config_path=str(config_root()), config_name=command, **VERSION_BASE)(job)()


@contextmanager
def _patched(arguments: Sequence[str]) -> Iterator[None]:
    """Let Hydra read ``arguments`` as the command line, and raise its errors instead of printing them."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [argv[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        GlobalHydra.instance().clear()
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
