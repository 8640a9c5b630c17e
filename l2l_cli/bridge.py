"""The bridge from the command line to Hydra and back: Hydra composes and sweeps, and this program prints."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from l2l_cli.commands.checks import check, on_the_task_of_runs
from l2l_cli.commands.doing import row_of_command
from l2l_cli.commands.elsewhere import Elsewhere
from l2l_cli.commands.known import key_of, known
from l2l_cli.commands.outcomes import NoLoss, Outcome, tell_of
from l2l_cli.commands.unused import Asked, refuse_unused
from l2l_cli.config.compose import ConfigError, search_path, settings_from, usage_error
from l2l_cli.config.own_task import key_of_word, opened
from l2l_cli.config.running import alone, own_hydra, quoted, through_main
from l2l_cli.config.schema import GROUPS, Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.failures import failure_of
from l2l_cli.core.nodes import Entries
from l2l_cli.core.voice import VOICE
from l2l_cli.results.run import identity
from l2l_cli.results.sweeps import INTERRUPTED, RUNNING, SweepJob, swept_keys
from l2l_cli.runs.aside import on_hardware
from l2l_cli.sweep import MeetingPlace, Sweep, announcement, planned

QUIET = (
    # Hydra itself writes nothing: a run's folder is named after its configuration, and made once that is valid.
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra.sweep.subdir=.",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)

INTERRUPTED_CODE = 130
"""Exit code of a command that a user or a scheduler has interrupted."""


@dataclass
class HydraJob:
    """Function that Hydra calls with a composed configuration; it may be pickled to another process.

    Attributes:
        command: Name of the command, a module of l2l_cli.commands.
        flags: Flags that are passed on to the command.
        config_dir: Folder with further configuration and Python modules.
        argv: Command line as typed, for the run's records.
        force: Whether it runs again even if it is done.
        hardware: Keys of hardware that a sweep varies; each job must then run by itself.
        place: Place where the jobs of a sweep meet; None without a sweep.
        outcomes: Outcomes of the jobs that ran in this process without a sweep.
        elsewhere: Work that the jobs leave to a cluster.
        quiet: Whether only errors and results are printed, even in another process.
    """

    command: str
    flags: Entries
    config_dir: str | None
    argv: list[str]
    force: bool = False
    hardware: list[str] = field(default_factory=list)
    place: MeetingPlace | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    quiet: bool = field(default_factory=lambda: VOICE.quiet)

    def __call__(self, cfg: DictConfig) -> float:
        """Run the command on one configuration, record its outcome, and return the loss that a sweeper minimises."""
        search_path(self.config_dir)
        runtime, VOICE.quiet = HydraConfig.get(), self.quiet
        if self.place is None:
            self.outcomes.append(self._run(cfg, runtime))
            return NoLoss("nan")
        job = SweepJob(int(runtime.job.num), _typed(runtime), RUNNING)
        with self.place.serving(job):
            job.write(self.place.folder)
            try:
                outcome = self._run(cfg, runtime)
                job = replace(job, status=outcome.status, row=outcome.row or {}, message=outcome.message)
                job = replace(job, exit_code=outcome.exit_code)
            except KeyboardInterrupt:
                job = replace(job, status=INTERRUPTED, exit_code=INTERRUPTED_CODE)
                if self.place.is_here:
                    raise
            finally:
                job.write(self.place.folder)
        return NoLoss("nan") if math.isnan(job.objective) else job.objective

    def begin(self, arguments: Sequence[str]) -> Sweep:
        """Begin a sweep with Hydra's ``arguments``, and print what will be run.

        Raises:
            HydraException, OmegaConfBaseException, ValueError: The configuration is not valid.
        """
        with own_hydra():
            loader = GlobalHydra.instance().config_loader()
            config = loader.load_configuration(self.command, list(arguments), RunMode.MULTIRUN)
            jobs = planned(config)
            self.hardware = [key for key in swept_keys(jobs or []) if key.split(".")[0] == "hardware"]
            composed = [self._composed(config, job.overrides) for job in jobs or [SweepJob(0, [])]]
            words = [word for job in jobs for word in job.overrides] if jobs else _typed(config.hydra)
            asked = [Asked(settings, self.flags) for settings in composed if settings is not None]
            refuse_unused(self.command, list(dict.fromkeys(words)), asked)
            keys = [self._known(settings) for settings in composed]
        folder = Path(config.hydra.sweep.dir).resolve()
        if jobs is None:
            VOICE.note(
                f"sweep by {config.hydra.runtime.choices['hydra/sweeper']}: jobs that are already done are reused"
            )
        else:
            done = {key for key, is_done in keys if key is not None and is_done}
            VOICE.note(announcement(jobs, [key for key, _ in keys], done))
        sweep = Sweep(folder, jobs or [])
        self.place = sweep.place
        return sweep

    def _composed(self, config: DictConfig, overrides: list[str]) -> Settings | None:
        """Return the settings of a future job; None if they are invalid, which the job itself will report."""
        try:
            cfg = GlobalHydra.instance().config_loader().load_sweep_config(config, overrides)
            return self._settings(cfg, cfg.hydra)
        except UsageError:
            return None

    def _known(self, settings: Settings | None) -> tuple[str | None, bool]:
        """Return the key of a future job, None if its settings are invalid, and whether the job is already done."""
        if settings is None:
            return None, False
        try:
            key = self._key(settings)
            return key, not self.force and known(self.command, settings, self.flags) is not None
        except UsageError:  # the job itself will report it
            return None, False

    def _settings(self, cfg: DictConfig, runtime: HydraConf) -> Settings:
        choices = {group: runtime.runtime.choices.get(group) for group in GROUPS}
        settings = replace(settings_from(cfg, choices, _typed(runtime)), config_dir=self.config_dir)
        words = [word for word in settings.overrides if key_of_word(word) in self.hardware]
        return on_hardware(settings, words) if words else settings

    def _key(self, settings: Settings) -> str:
        """Return 8 hexadecimal digits that identify a job by its results and, if a sweep varies it, by its hardware."""
        key = key_of(self.command, settings, self.flags)
        return identity({"key": key, "output": settings.output}) if self.hardware else key

    def _run(self, cfg: DictConfig, runtime: HydraConf) -> Outcome:
        patched, sys.argv = sys.argv, self.argv
        try:
            settings = self._settings(cfg, runtime)
            check(self.command, settings, self.flags, alone=self.place is None)
            if settings.hardware.cluster and not self.flags.get("dry_run"):
                return self._on_cluster(settings, runtime)
            if self.place is None:
                return Outcome(self._result(settings))
            key = self._key(settings)
            with self.place.alone(key):
                runs = self.force and not self.place.is_done_here(key)
                if not runs and (row := known(self.command, settings, self.flags)) is not None:
                    return Outcome(row, reused=True)
                row = self._result(settings)
                self.place.note_done(key)
                return Outcome(row)
        except Exception as error:  # whatever a job or a user's class raises ends only this job
            failure = failure_of(error, str(cfg.get("output")))
            return Outcome(None, str(failure), failure.exit_code)
        finally:
            sys.argv = patched

    def _on_cluster(self, settings: Settings, runtime: HydraConf) -> Outcome:
        """Collect results if all work is done; otherwise record the rest for submission.

        Raises:
            UsageError: Something else would run the jobs as well, or wait for their results.
        """
        if self.force:
            cluster = settings.hardware.cluster
            raise UsageError(f"--force runs the command again on this machine; drop it, or hardware.cluster={cluster}")
        choices = runtime.runtime.choices
        if self.place and (choices["hydra/launcher"], choices["hydra/sweeper"]) != ("basic", "basic"):
            raise UsageError(
                f"hardware.cluster={settings.hardware.cluster} submits the jobs and returns, so it works only with "
                "Hydra's basic launcher and sweeper; for others use hydra/launcher=submitit_slurm and hardware=cpu"
            )
        from l2l_cli.commands.pieces import left_of

        left = left_of(self.command, settings, self.flags)
        if left.pieces:
            self.elsewhere.leave(left, settings)
            return Outcome(None, sent=True)
        return Outcome(self._result(settings), reused=True)

    def _result(self, settings: Settings) -> Entries:
        return row_of_command(self.command, settings, self.flags, self._key(settings) if self.force else None)


def launch(
    command: str,
    overrides: Sequence[str],
    flags: Entries,
    hydra_flags: Sequence[str],
    config_dir: str | None,
    force: bool = False,
) -> int:
    """Compose and run a command; return its exit code.

    Args:
        command: Name of a file in conf/ and of a module in l2l_cli/commands.
        overrides: Overrides as typed.
        flags: Flags that are passed on to the command.
        hydra_flags: Flags that Hydra itself understands: ``-m``, ``--cfg`` and ``--info``.
        config_dir: Folder with further configuration.
        force: Whether it runs again even if it is done.

    Raises:
        UsageError: The configuration is not valid.
        KeyboardInterrupt: The user interrupted it.
    """
    if "-m" in hydra_flags and "WORLD_SIZE" in os.environ:
        raise UsageError(
            "-m under a distributed launcher would start every job on every rank; start one sweep per rank"
        )
    job = HydraJob(command, flags, config_dir, list(sys.argv), force)
    overrides = opened(on_the_task_of_runs(flags, overrides))
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    folder = quoted(f"${{output}}/multirun/{stamp}-{os.getpid()}")
    arguments = [*QUIET, f"hydra.sweep.dir={folder}", *search_path(config_dir), *overrides]
    try:
        if "-m" in hydra_flags or "hydra.mode=MULTIRUN" in overrides:
            return max(_sweep(job, arguments, hydra_flags), job.elsewhere.send())
        if hydra_flags:
            through_main(job.command, job, [*arguments, *hydra_flags])
        else:
            alone(job.command, job, arguments)
    except ConfigError as error:
        raise usage_error(error, overrides, config_dir) from error
    return max(_finish(job.outcomes), job.elsewhere.send())


def _sweep(job: HydraJob, arguments: Sequence[str], hydra_flags: Sequence[str]) -> int:
    sweep = job.begin(arguments)
    try:
        folder = quoted(str(sweep.place.folder))
        through_main(job.command, job, [*arguments, f"hydra.sweep.dir={folder}", *hydra_flags])
    except KeyboardInterrupt:
        return sweep.finish(interrupted=True)
    except Exception as error:
        # Once a job has begun, the configuration is valid, and any error is the launcher's or the sweeper's.
        if isinstance(error, ConfigError) and not sweep.has_begun:
            sweep.discard()
            raise
        return sweep.finish(error)
    return sweep.finish()


def _typed(runtime: HydraConf) -> list[str]:
    """Return the overrides as typed; reading them one by one would resolve any ``${…}`` in them."""
    typed: Any = OmegaConf.to_container(runtime.overrides.task, resolve=False)
    return [str(item) for item in typed]


def _finish(outcomes: Sequence[Outcome]) -> int:
    for outcome in outcomes:
        if outcome.message:
            print(f"error: {outcome.message}", file=sys.stderr)
        tell_of(outcome.status, outcome.row or {}, outcome.message, outcome.exit_code)
    return max((outcome.exit_code for outcome in outcomes), default=0)
