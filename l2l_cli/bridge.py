"""From the command line to Hydra and back: Hydra composes and sweeps, this program talks."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from l2l_cli import __version__
from l2l_cli.commands.checks import check
from l2l_cli.config.compose import ConfigError, quoted, search_path, settings_from, usage_error
from l2l_cli.config.groups import config_root
from l2l_cli.config.schema import GROUPS
from l2l_cli.core.errors import L2LError, RunFailed, UsageError
from l2l_cli.core.nodes import Entries

QUIET = (
    # Hydra itself writes nothing: a run's folder is named by its configuration, and made once that is valid.
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra.sweep.subdir=.",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)


class Outcome(NamedTuple):
    """How a job ended: the row that it returned, or a message and an exit code."""

    row: Entries | None
    message: str | None = None
    exit_code: int = 0


@dataclass
class HydraJob:
    """Function that Hydra calls with a composed configuration; it may be pickled to another process.

    Attributes:
        command: Name of the command, a module of l2l_cli.commands.
        flags: Flags that are passed on to the command.
        config_dir: Folder with further configuration and Python modules.
        argv: Command line as it was typed, for the run's records.
        outcomes: Outcomes of the jobs that ran in this process.
    """

    command: str
    flags: Entries
    config_dir: str | None
    argv: list[str]
    outcomes: list[Outcome] = field(default_factory=list)

    def __call__(self, cfg: DictConfig) -> None:
        """Run the command on one configuration and note how that ended."""
        search_path(self.config_dir)
        runtime = HydraConfig.get()
        outcome = self._run(cfg, runtime)
        if runtime.mode == RunMode.MULTIRUN:
            folder = Path(runtime.sweep.dir)
            row = {"overrides": " ".join(_typed(runtime)), "outcome": outcome._asdict()}
            (folder / f"job-{int(runtime.job.num):04d}.json").write_text(json.dumps(row, default=str))
        self.outcomes.append(outcome)

    def _run(self, cfg: DictConfig, runtime: HydraConf) -> Outcome:
        patched, sys.argv = sys.argv, self.argv
        try:
            choices = {group: runtime.runtime.choices.get(group) for group in GROUPS}
            settings = replace(settings_from(cfg, choices, _typed(runtime)), config_dir=self.config_dir)
            check(self.command, settings, **self.flags)
            module = importlib.import_module(f"l2l_cli.commands.{self.command.replace('-', '_')}")
            return Outcome(module.run(settings, **self.flags))
        except L2LError as error:
            return Outcome(None, f"error: {error}", error.exit_code)
        except Exception:  # whatever a job or a user's class raises ends this job alone, with its traceback
            return Outcome(None, trimmed_traceback(), RunFailed.exit_code)
        finally:
            sys.argv = patched


def launch(
    command: str, overrides: Sequence[str], flags: Entries, hydra_flags: Sequence[str], config_dir: str | None
) -> int:
    """Compose and run a command; return its exit code.

    Args:
        command: Name of a file in conf/ and of a module in l2l_cli/commands.
        overrides: Overrides as they were typed.
        flags: Flags that are passed on to the command.
        hydra_flags: Flags that Hydra itself understands: ``-m``, ``--cfg`` and ``--info``.
        config_dir: Folder with further configuration.

    Raises:
        UsageError: The configuration is not valid.
    """
    multirun = "-m" in hydra_flags
    if multirun and "WORLD_SIZE" in os.environ:
        raise UsageError("-m under a distributed launcher would start every job on every rank; launch one sweep a rank")
    search = search_path(config_dir)
    job = HydraJob(command, flags, config_dir, list(sys.argv))
    output = next((item.split("=", 1)[1] for item in overrides if item.startswith("output=")), "outputs")
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    sweep = Path(output) / "multirun" / f"{stamp}-{os.getpid()}"
    arguments = [*QUIET, f"hydra.sweep.dir={quoted(str(sweep))}", *search, *overrides, *hydra_flags]
    fresh = [folder for folder in (sweep, *sweep.parents) if not folder.exists()]
    try:
        with _patched(arguments):
            hydra.main(version_base="1.3", config_path=str(config_root()), config_name=command)(job)()
    except ConfigError as error:
        _discard(sweep, fresh)
        raise usage_error(error, overrides, config_dir) from error
    return _finish_sweep(sweep) if multirun else _finish(job.outcomes)


def _typed(runtime: HydraConf) -> list[str]:
    """Return the overrides as typed: reading them one by one would resolve a ``${…}`` in them."""
    typed: Any = OmegaConf.to_container(runtime.overrides.task, resolve=False)
    return [str(item) for item in typed]


def _discard(sweep: Path, fresh: Sequence[Path]) -> None:
    """Remove what Hydra wrote for a sweep before it met an invalid configuration."""
    if any(sweep.glob("job-*.json")):
        return
    (sweep / "multirun.yaml").unlink(missing_ok=True)
    for folder in fresh:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


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


def _finish(outcomes: Sequence[Outcome]) -> int:
    for outcome in outcomes:
        if outcome.message:
            print(outcome.message, file=sys.stderr)
    return max((outcome.exit_code for outcome in outcomes), default=0)


def _finish_sweep(sweep: Path) -> int:
    """Print and write one table of all jobs."""
    import pandas as pd

    from l2l_cli.results.tables import frame_table
    from l2l_cli.results.terminal import console

    jobs = [json.loads(path.read_text()) for path in sorted(sweep.glob("job-*.json"))]
    outcomes = [Outcome(**job["outcome"]) for job in jobs]
    frame = pd.DataFrame(
        [{"overrides": job["overrides"], **(job["outcome"]["row"] or {"status": "failed"})} for job in jobs]
    )
    frame.to_csv(sweep / "summary.csv", index=False)
    console().print(frame_table(frame.drop(columns="run", errors="ignore"), f"{len(jobs)} runs"))
    print(f"summary: {sweep / 'summary.csv'}")
    return _finish(outcomes)


def trimmed_traceback() -> str:
    """Return the current exception with only the frames of this program and of the user's code."""
    error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
    assert error is not None
    shown = traceback.TracebackException.from_exception(error)
    kept = [frame for frame in shown.stack if _is_ours(frame.filename)]
    lines = [f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}" for frame in kept]
    return "\n".join([f"error: l2l {__version__} failed: {type(error).__name__}: {error}", *lines])


def _is_ours(filename: str) -> bool:
    """Return whether a frame is this program's, wherever it is installed, or the user's."""
    libraries = ("site-packages", "lib/python", "<frozen ")
    return filename.startswith(str(Path(__file__).parent)) or not any(place in filename for place in libraries)
