"""One run of a training, and what it writes to its folder as the training proceeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from l2l_cli.config.build import Builder
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import RunFailed
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.tree import all_finite, flatten
from l2l_cli.evaluation.score import criterion_for
from l2l_cli.learners.base import phi_of
from l2l_cli.meta.training import Training, Update, Validation
from l2l_cli.results.loggers import Logger
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.results.run import METRICS, WEIGHTS, RunFolder
from l2l_cli.runs.closing import closed
from l2l_cli.runs.following import Follow
from l2l_cli.runs.loading import weights_of
from l2l_cli.runs.movement import never_moved, standstill
from l2l_cli.runs.progress import Reporter
from l2l_cli.runs.tensors import CHECKPOINT, PREVIOUS, read_checkpoint, size_of, write_tensors

OFFSET = "metrics_bytes"
"""Key in the checkpoint of the length of metrics.csv when the checkpoint was written."""

ANEW = "delete it and run again: training then starts from scratch"


@dataclass
class Member:
    """One run: a training, the folder that it writes to, and a logger that also gets its records, if there is one."""

    settings: Settings
    training: Training
    folder: RunFolder
    logger: Logger | None = None
    _warned: bool = False

    def restore(self, builder: Builder) -> None:
        """Restore the checkpoint, if there is one, in the other ranks as well, which take part from here on."""
        ranks = self.training.ranks
        expected = size_of(flatten(self.training.tree())) * (1 if ranks is None else ranks.size)
        saved = read_checkpoint(self.folder.path, expected)
        path = self.folder.path / CHECKPOINT
        try:
            self._metrics.truncate(0 if saved is None else int(saved.pop(OFFSET)))
            if self.logger is not None:
                self.logger.begin(self.folder.path, self._metrics.rows())
            if ranks is not None:
                ranks.begin(Follow(self.settings, builder.trust, saved, saves=True))
            if saved is not None:
                self.training.restore(saved)
        except (KeyError, ValueError, IndexError, TypeError, RuntimeError) as error:
            raise RunFailed(f"{path} belongs to another learner or estimator ({in_one_line(error)}); {ANEW}") from error
        if not all_finite(self.training.phi()):
            raise RunFailed(f"φ in {path} is not finite; {ANEW}")

    def note(self, record: Update | Validation, reporter: Reporter) -> None:
        """Record an update or a validation in metrics.csv."""
        if isinstance(record, Update):
            if record.skipped:
                self._append(record.number, [("meta_train", "skipped", record.norm)])
            return
        rows = [("meta_valid", "mean_loss", record.mean), ("meta_valid", "final_loss", record.final)]
        if record.held_out is not None:
            rows.append(("meta_valid", "held_out", record.held_out))
        rows.append(("meta_train", "mean_loss", record.train))
        if not math.isnan(record.norm):
            rows.append(("meta_train", "meta_gradient_norm", record.norm))
        self._append(record.number, [*rows, ("meta_train", "phi_distance", record.distance)])
        if (warning := standstill(record)) and not self._warned:
            reporter.say(warning)
            self.folder.note(warning=warning)
            self._warned = True
        if record.best:
            end = f"{record.final:.5g} (last step)" if record.held_out is None else f"{record.held_out:.5g} (held out)"
            reporter.say(f"update {record.number}: validation loss {record.mean:.5g} (mean over steps), {end}")

    def checkpoint(self) -> None:
        """Save all that a resumed run needs."""
        # Copies, since a new state may hold one tensor of zeros many times, and the format does not allow sharing.
        saved = {name: value.clone().contiguous() for name, value in self.training.checkpoint().items()}
        self._metrics.sync()  # before its bytes are counted
        saved[OFFSET] = torch.tensor(self._metrics.length(), device="cpu")
        write_tensors(self.folder.path / CHECKPOINT, saved, kept=self.folder.path / PREVIOUS)
        self.folder.note()  # records the costs so far, in case the run is killed

    def finish(self, company: int) -> str | None:
        """Write the trained weights and end the run, one of ``company``; return why it failed, if φ never moved."""
        reason, distance, told = never_moved(self.training, self.settings), self.training.distance(), {}
        if reason is None:
            told = closed(self.settings, self.training, self.folder, company, self.checkpoint)
            # A folder with weights counts as finished.
            write_tensors(self.folder.path / WEIGHTS, weights_of(self.training.learner))
        self.folder.end(
            "failed" if reason else "done",
            **({"message": reason} if reason else told),
            phi_distance=distance,
            updates=self.training.number,
            skipped=self.training.skipped,
            skipped_updates=self._skipped() if self.training.skipped else [],
            best_validation=self.training.best,
            criterion=criterion_for(self.training.learner.task, self.training.plan.criterion),
            meta_parameters=sum(value.numel() for value in phi_of(self.training.learner).values()),
        )
        return reason

    def close(self) -> None:
        """Let the logger write what is still pending."""
        if self.logger is not None:
            self.logger.close()

    @property
    def _metrics(self) -> MetricsFile:
        return MetricsFile(self.folder.path / METRICS)

    def _append(self, number: int, rows: list[tuple[str, str, float]]) -> None:
        name, seed = self.settings.run_name, self.settings.seed
        noted = [
            Metric(name, seed, metric, value, number, statistic="mean", split=split) for split, metric, value in rows
        ]
        self._metrics.append(noted)
        if self.logger is not None:
            self.logger.append(noted)

    def _skipped(self) -> list[int]:
        return [row.step for row in self._metrics.rows() if row.metric == "skipped"]
