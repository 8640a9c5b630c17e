"""Running a function on a configuration that Hydra composes: alone, or through Hydra's main."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from l2l_cli.config.compose import VERSION_BASE, own_hydra
from l2l_cli.config.groups import config_root

Job = Callable[[DictConfig], Any]
"""Function that runs on a composed configuration."""


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
