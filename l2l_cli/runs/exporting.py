"""Export of a finished run as one file, with a card that says what the rule is for and how well it performs.

The card is the entry ``card`` of the file's note:

* ``learner``, ``task``: names of the chosen files of conf/.
* ``family``: class of the task; ``horizon``: its steps; ``data``: fingerprints of the code and data that it reads.
* ``updates``, ``seed``, ``meta_parameters``, ``cpu_seconds``: facts of the meta-training.
* ``validation``: best validation loss and its criterion.
* ``untuned``: loss relative to that of an untuned rule on the same episodes, as recorded by the training.
* ``compared``: results of each ``l2l compare`` in the same output folder that has the run among its contenders: number
  of settings that each rival was tuned with, mean losses by contender, the sentence on who leads, and those of the
  certificates.
* ``trust``: packages outside of this program whose classes the run names; the file does not contain their code.
* ``version``, ``commit``, ``command``: origin of the run.
* ``licence``: licence of the weights, as its owner states it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from l2l_cli import __version__
from l2l_cli.config.build import Builder
from l2l_cli.config.compose import settings_of_run
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import L2LError, UsageError
from l2l_cli.core.nodes import Entries, Node, classes_in
from l2l_cli.core.reference import GIVEN
from l2l_cli.results.exported import NOTE, SCHEMA, check_target
from l2l_cli.results.facts import TRAINED
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.run import METRICS, RUN, RunFolder
from l2l_cli.runs.building import build_task
from l2l_cli.runs.folders import check_configuration
from l2l_cli.runs.loading import load_learner, weights_of
from l2l_cli.runs.tensors import write_tensors
from l2l_cli.tasks.base import Task

FACTS = (
    *("status", "results", "identity", "versions", "commit", "command", "criterion", "course", "beside", "closing"),
    *("chosen", "phi_distance", "device", "cpu_seconds", "reused_cpu_seconds", *TRAINED),
)
"""Entries of run.json that the file keeps: what was trained, how well and on what kind of device, but not where."""


def export(run: Path | str, file: Path | str, licence: str | None = None, trust: Sequence[str] | None = ()) -> Path:
    """Export a finished run to one file that this version and every later one can read; the module describes its card.

    Args:
        run: Folder of the run.
        file: File to write; one that an earlier export wrote is replaced.
        licence: Licence of the weights, as in "CC0-1.0"; None states none.
        trust: Packages besides l2l_cli whose classes the run may name; None means any.

    Returns:
        The file.

    Raises:
        UsageError: The run is not done, or is damaged; or the file cannot be written.
    """
    folder, target = RunFolder.load(Path(run)), Path(file)
    check_target(target)
    if folder.status != "done" or not folder.weights.is_file():
        raise UsageError(f"{run} is {folder.status}, not done; finish it by `l2l meta-train --resume {run}`")
    check_configuration(folder)
    config, facts = folder.config(), folder.facts(TRAINED)
    saved, builder = settings_of_run(config, Settings()), Builder(trust)
    task = build_task(saved, builder)
    tensors = weights_of(load_learner(folder, saved, task, builder))
    content = {
        "schema": SCHEMA,
        "card": _card(folder, saved, task, licence),
        "config": config,
        "facts": {name: facts[name] for name in FACTS if name in facts},
    }
    write_tensors(target, tensors, notes={NOTE: json.dumps(content, sort_keys=True, default=str, ensure_ascii=False)})
    return target


def _card(folder: RunFolder, saved: Settings, task: Task, licence: str | None) -> Entries:
    facts = folder.facts()
    named = [*classes_in(saved.task), *classes_in(saved.learner)]
    return {
        "learner": saved.choices["learner"],
        "task": saved.choices["task"],
        "family": saved.task["_target_"],
        "horizon": task.horizon,
        "data": folder.config().get("sources", {}),
        "seed": saved.seed,
        "updates": facts["updates"],
        "meta_parameters": facts["meta_parameters"],
        "cpu_seconds": round(sum(facts.get("cpu_seconds", {}).values()), 3),
        "validation": {"loss": facts["best_validation"], "criterion": facts.get("criterion")},
        "untuned": facts.get("beside"),
        "compared": list(_compared(folder)),
        "trust": sorted({name.split(".")[0] for name in named} - {"l2l_cli", "torch", GIVEN}),
        "version": facts.get("versions", {}).get("l2l", __version__),
        "commit": facts.get("commit"),
        "command": facts.get("command"),
        "licence": licence,
    }


def _compared(run: RunFolder) -> Iterator[Entries]:
    """Yield what finished comparisons in the run's output folder say about it, by the names of their folders."""
    for path in sorted(run.path.resolve().parents[1].glob(f"compare/*/{RUN}")):
        with suppress(L2LError):  # damage to another run is no concern of this one
            folder = RunFolder(path.parent)
            facts = folder.facts()
            parents = [Path(str(parent)).resolve() for parent in facts.get("parents", [])]
            if facts["status"] == "done" and run.path.resolve() in parents and not folder.damaged():
                yield _comparison(folder, facts)


def _comparison(folder: RunFolder, facts: Node) -> Entries:
    config = folder.config()
    frame = MetricsFile(folder.path / METRICS).read()
    means = frame[(frame.metric == "loss") & (frame.statistic == "mean")]
    losses = {}
    for name, rows in means.groupby("contender"):
        by_step = rows.groupby("step").value.mean()
        losses[str(name)] = {"mean": float(by_step.mean()), "final": float(by_step.iloc[-1])}
    evaluation = config.get("evaluation", {})
    return {
        "headline": facts.get("headline"),
        "certificates": [
            str(one["sentence"]) for one in facts.get("certificates", []) if isinstance(one, dict) and "sentence" in one
        ],
        "task": config.get("task"),
        "episodes": evaluation.get("episodes"),
        "seeds": evaluation.get("seeds"),
        "steps": int(means.step.max()) if len(means) else None,
        "tuned_settings": {str(name): len(trials) for name, trials in facts.get("tuning", {}).items()},
        "losses": losses,
    }
