"""l2l meta-train: train a learner's φ, resumably, into a run folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors

from l2l_cli.build import build
from l2l_cli.commands.interrupt import Interrupt
from l2l_cli.commands.progress import Relay, Reporter
from l2l_cli.config import identity_of, settings_of_run
from l2l_cli.core.errors import L2LError, UsageError
from l2l_cli.meta.train import MetaTraining
from l2l_cli.meta.training import Update, Validation
from l2l_cli.results.frame import Metric, MetricsFile
from l2l_cli.results.run import RunFolder, atomic_write
from l2l_cli.runs import WEIGHTS, build_learner, build_task, prepare, run_facts
from l2l_cli.schema import Settings

CHECKPOINT = "checkpoint.safetensors"
OFFSET = "metrics_bytes"
"""Under this name the checkpoint keeps how long metrics.csv was when it was written."""


def run(settings: Settings, resume: str | None = None, trust: list[str] | None = None) -> dict[str, Any]:
    """Run the command; the result is the run's row in a sweep's summary."""
    if resume is None:
        folder = train(settings)
    else:
        if settings.overrides:
            raise UsageError(f"--resume goes on under the run's own settings; drop {' '.join(settings.overrides)}")
        found = RunFolder.load(Path(resume))
        saved = settings_of_run(found.config(), settings)
        folder = train(saved, trust=trust or [], claimed=found)
    facts = folder.facts()
    print(f"run: {folder.path}")
    print(
        f"best validation loss ({settings.meta.criterion}): {facts['best_validation']:.6g} after {facts['updates']} "
        f"updates, {facts['skipped']} skipped, {facts['seconds']:.0f} s"
    )
    return {
        "best_validation": facts["best_validation"],
        "updates": facts["updates"],
        "skipped": facts["skipped"],
        "seconds": facts["seconds"],
        "run": str(folder.path),
    }


def train(
    settings: Settings,
    trust: list[str] | None = None,
    claimed: RunFolder | None = None,
    relay: Relay | None = None,
) -> RunFolder:
    """Meta-train one configuration, or find that it has been.

    Args:
        settings: The whole configuration.
        trust: See ``build``.
        claimed: The run folder, if it is known already.
        relay: Is told of progress in place of the user.

    Raises:
        UsageError: The configuration does not build.
        RunFailed: Too many updates were not finite.
    """
    prepare(settings.hardware)
    training = _build(settings, trust)
    config = identity_of(settings, "learner", "optimizer", "gradient", "meta", "choices")
    root = Path(settings.output) / "meta-train"
    folder = claimed or RunFolder.claim(root, settings.run_name, config, settings.overrides)
    with folder.lock():
        if folder.status == "done":
            if relay is None:
                print(f"already done, reused: {folder.path}")
            return folder
        _Session(settings, training, folder, relay).run()
    return folder


def _build(settings: Settings, trust: list[str] | None) -> MetaTraining:
    learner = build_learner(settings, build_task(settings, trust), trust)
    if not learner.is_meta_trained:
        choice = settings.choices.get("learner")
        raise UsageError(
            f"learner {choice} is hand-made, with nothing to meta-train; `l2l compare` tunes and scores it"
        )
    estimator = build(settings.gradient, "gradient", trust)
    optimizer = build(settings.optimizer, "optimizer", trust)
    return MetaTraining(learner, estimator, optimizer, settings.meta, settings.seed)


@dataclass
class _Session:
    """One sitting of a run: from its checkpoint, if there is one, to its end or an interruption."""

    settings: Settings
    training: MetaTraining
    folder: RunFolder
    relay: Relay | None

    def run(self) -> None:
        self._restore()
        self.folder.begin(**run_facts(self.settings))
        try:
            self._loop()
        except KeyboardInterrupt:
            self._checkpoint()
            self.folder.end("interrupted", updates=self.training.number)
            raise
        except L2LError as error:
            self.folder.end("failed", message=str(error), updates=self.training.number)
            raise
        self.training.finish()
        weights = {name: value.detach().cpu().contiguous() for name, value in self.training.learner.named_parameters()}
        atomic_write(self.folder.path / WEIGHTS, to_safetensors(weights))
        self.folder.end(
            "done",
            updates=self.training.number,
            skipped=self.training.skipped,
            skipped_updates=self._skipped(),
            best_validation=self.training.best,
            meta_parameters=sum(value.numel() for value in weights.values()),
        )

    @property
    def _metrics(self) -> MetricsFile:
        return MetricsFile(self.folder.path / "metrics.csv")

    def _restore(self) -> None:
        path = self.folder.path / CHECKPOINT
        if path.exists():
            saved = load_file(path)
            self._metrics.truncate(int(saved.pop(OFFSET)))
            self.training.restore(saved)
        else:
            self._metrics.truncate(0)

    def _loop(self) -> None:
        plan, last = self.settings.meta, time.monotonic()
        title = f"meta-train {self.settings.run_name} seed {self.settings.seed}"
        reporting = Reporter(title, plan.updates, self.training.number, self.relay)
        with reporting as reporter, Interrupt() as interrupt:
            for record in self.training.records():
                if isinstance(record, Update):
                    self._note_skip(record)
                    reporter.advance(f"loss {record.loss:.4g}")
                else:
                    self._note_validation(record)
                    if record.best:
                        text = f"update {record.number}: validation {record.mean:.5g}, at its end {record.final:.5g}"
                        reporter.say(text)
                interrupt.check()
                if time.monotonic() - last > plan.checkpoint_every:
                    self._checkpoint()
                    last = time.monotonic()

    def _note_validation(self, record: Validation) -> None:
        rows = [("meta_valid", "mean_loss", record.mean), ("meta_valid", "final_loss", record.final)]
        self._append(record.number, [*rows, ("meta_train", "mean_loss", record.train)])

    def _note_skip(self, record: Update) -> None:
        if record.skipped:
            self._append(record.number, [("meta_train", "skipped", record.norm)])

    def _append(self, number: int, rows: list[tuple[str, str, float]]) -> None:
        name, seed = self.settings.run_name, self.settings.seed
        self._metrics.append(Metric(name, seed, "mean", number, split, metric, value) for split, metric, value in rows)

    def _skipped(self) -> list[int]:
        frame = self._metrics.read()
        return [int(step) for step in frame[frame.metric == "skipped"].step]

    def _checkpoint(self) -> None:
        saved = {name: value.contiguous() for name, value in self.training.checkpoint().items()}
        saved[OFFSET] = torch.tensor(self._metrics.length(), device="cpu")
        atomic_write(self.folder.path / CHECKPOINT, to_safetensors(saved))
