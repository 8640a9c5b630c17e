"""l2l meta-train: train a learner's φ, resumably, into a run folder."""

from __future__ import annotations

from pathlib import Path

from l2l_cli.config.build import Builder
from l2l_cli.config.compose import settings_of_run
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.search import shown
from l2l_cli.runs.training import train


def run(settings: Settings, resume: str | None = None, trust: list[str] | None = None) -> Entries:
    """Run the command and return the run's row in a sweep's summary.

    A run whose folder is ``resume`` goes on, and its configuration may name classes of the packages ``trust``.
    """
    if resume is None:
        folder = train(settings)
    else:
        if changes := [item for item in settings.overrides if not item.startswith("data.")]:
            raise UsageError(f"--resume keeps the run's own settings; drop {' '.join(changes)}")
        claimed = RunFolder.load(Path(resume))
        folder = train(settings_of_run(claimed.config(), settings), Builder(trust or []), claimed)
    facts = folder.facts()
    print(f"run: {folder.path}")
    if "chosen" in facts:
        print(f"search: {shown(facts['chosen'])}, best of {len(facts['search'])} trials")
    print(
        f"best validation loss ({facts.get('criterion', settings.meta.criterion)}): {facts['best_validation']:.6g} "
        f"after {facts['updates']} updates, {facts['skipped']} skipped, {facts['seconds']:.0f} s"
    )
    return {
        "best_validation": facts["best_validation"],
        "updates": facts["updates"],
        "skipped": facts["skipped"],
        "seconds": facts["seconds"],
        "run": str(folder.path),
    }
