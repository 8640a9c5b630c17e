"""The logger that a configuration asks for, and its records of runs that were done without it; no torch."""

from __future__ import annotations

from contextlib import closing

from l2l_cli.config.build import build
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.results.loggers import Logger
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.run import METRICS, RunFolder


def logger_of(settings: Settings) -> Logger | None:
    """Build the logger that records a run besides metrics.csv; None if there is none.

    Raises:
        UsageError: It is not a logger, or a package that it needs is not installed.
    """
    if not settings.logger:
        return None
    logger = build(settings.logger, "logger")
    if not isinstance(logger, Logger):
        raise UsageError(f"logger: {type(logger).__name__} is not a Logger; derive it from {Logger.__module__}.Logger")
    return logger


def log_what_is_done(folder: RunFolder, settings: Settings) -> None:
    """Let a logger that has not recorded a run yet take the records from its metrics.csv."""
    logger = logger_of(settings)
    if logger is not None and not logger.has_logged(folder.path):
        with folder.lock(), closing(logger):
            logger.begin(folder.path, MetricsFile(folder.path / METRICS).rows())
